"""Trackers in a replay: silent whatever the script asks of them, and the trajectory is the recorded one."""

from __future__ import annotations

from pathlib import Path

import pytest

from logql.replay.job import Isolation, Options
from tests.replay.conftest import Project, after, values

#: Stand-ins with the names, arguments and habits of the real packages.
WANDB = """\
import os

class Run:
    mode = "online"

class NoopRun:
    mode = "disabled"

def init(project=None, mode=None, settings=None):
    return NoopRun() if (mode or os.environ.get("WANDB_MODE")) == "disabled" else Run()

def login(key=None):
    raise ConnectionError("no network")
"""
MLFLOW = """\
import os

uri = os.environ.get("MLFLOW_TRACKING_URI")

def set_tracking_uri(new):
    global uri
    uri = new
"""
WRITER = """\
import os

class FileWriter:
    def __init__(self, logdir, max_queue=10):
        os.makedirs(logdir, exist_ok=True)
        self.logdir = logdir
        self.file = open(os.path.join(logdir, "events"), "ab")

    def get_logdir(self):
        return self.logdir

    def add_summary(self, summary, step):
        self.file.write(summary)

    def close(self):
        self.file.close()

class SummaryWriter:
    def __init__(self, logdir):
        self.file_writer = FileWriter(logdir=logdir)

    def add_scalar(self, name, value, step):
        self.file_writer.add_summary(f"{name} {float(value)} {step};".encode(), step)

    def close(self):
        self.file_writer.close()
"""
SCRIPT = """\
import logql
import mlflow
import wandb
from tensorboardX.writer import SummaryWriter

mlflow.set_tracking_uri("https://mlflow.example.org")
run = wandb.init(project="p", mode="online")
writer = SummaryWriter(logdir="{runs}")
x = 0.0
for epoch in logql.loop("epoch", range(4)):
    x += epoch
    writer.add_scalar("x", x, epoch)
    logql.log("x", x)
    run.last = x
writer.close()
"""


@pytest.mark.parametrize("isolation", ["strong", "weak"])
def test_trackers_are_silent_whatever_the_script_says(project: Project, tmp_path: Path, isolation: Isolation) -> None:
    packages, runs = tmp_path / "packages", tmp_path / "elsewhere" / "runs"
    stand_ins = {"wandb": WANDB, "mlflow": MLFLOW, "tensorboardX.writer": WRITER}
    for name, source in stand_ins.items():
        path = packages / Path(*name.split("."))
        (path.parent if "." in name else path).mkdir(parents=True, exist_ok=True)
        (path.with_suffix(".py") if "." in name else path / "__init__.py").write_text(source)
    (packages / "tensorboardX" / "__init__.py").write_text("")
    project.environment = {"PYTHONPATH": f"{packages}:{Path(__file__).parents[2]}"}
    project.write("train.py", SCRIPT.replace("{runs}", str(runs)))
    project.run()
    written = (runs / "events").read_bytes()
    assert written.count(b";") == 4
    job = project.job(
        after("x += epoch", 'logql.log("said", f"{run.mode} {mlflow.uri} {wandb.login()}")'),
        ["said"],
        (1, 3),
    )
    (result,) = project.replay(job, options=Options(isolation=isolation))
    assert (result.state, result.error, result.fidelity) == ("done", None, "exact")
    assert values(result.events, "said") == dict.fromkeys([(1,), (3,)], "disabled file:mlruns True")
    assert (runs / "events").read_bytes() == written
