"""Old code that fails, hangs, dies or grabs everything: a reason each, in bounded time, and no process left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import closing
from pathlib import Path

import pytest

import logql
from logql.replay.guard import kernel_version
from logql.replay.job import Options
from tests.replay.conftest import ROOT, Project, after, values

GOOD = """\
import os, sys
import logql

for epoch in logql.loop("epoch", range(4)):
    logql.log("a", epoch * 1.0)
    if epoch == 1 and os.environ.get("LOGQL_REPLAY"):
        {bad}
"""
EDIT = after('logql.log("a"', 'logql.log("b", epoch * 2.0)')

BAD = {
    "raise ValueError('no such luck')": "ValueError: no such luck",
    "import not_there_at_all": "ModuleNotFoundError: No module named 'not_there_at_all'",
    "sys.exit(3)": "the script exited (3) before the wanted iterations",
    "os._exit(4)": "exit code 4",
    "os.kill(os.getpid(), 11)": "segmentation fault",
    "import ctypes; ctypes.string_at(0)": "segmentation fault",
    "input('a number: ')": "EOFError",
    "import time; time.sleep(600)": "it took longer than",
    "x = bytearray(100 << 30)": "MemoryError",
    "open('big', 'wb').write(bytes(300 << 20))": "File too large",
    "[open(f'big{i}', 'wb').write(bytes(20 << 20)) for i in range(9)]; import time; time.sleep(600)": "more to disk",
    "[os.fork() for _ in range(4)]; import time; time.sleep(600)": "it took longer than",
}


@pytest.mark.parametrize("bad", BAD, ids=lambda text: text.split("(")[0].replace(" ", "_"))
@pytest.mark.parametrize("isolation", ["strong", "weak"])
def test_a_bad_version_gives_its_reason(project: Project, bad: str, isolation: str) -> None:
    project.write("train.py", GOOD.replace("{bad}", bad))
    project.run(every=None, LOGQL_OVERHEAD="0")
    job = project.job(EDIT, ["b"], (0, 3), timeout_s=4.0 if "longer" in BAD[bad] else 60.0)
    (result,) = project.replay(job, options=Options(isolation=isolation, disk_bytes=100 << 20))  # type: ignore[arg-type]
    assert result.state == "failed"
    assert BAD[bad] in str(result.error)
    assert result.covered == (0,)
    assert values(result.events, "b") == {(0,): 0.0}
    assert not _processes(job.id)


def test_what_a_replay_gave_before_it_died_is_kept(project: Project) -> None:
    project.write("train.py", GOOD.replace("epoch == 1", "epoch == 2").replace("{bad}", "os._exit(4)"))
    project.run(every=None, LOGQL_OVERHEAD="0")
    project.write("train.py", EDIT((project.path / "train.py").read_text()))
    with closing(logql.connect(project.store)) as connection:
        rows = connection.execute("SELECT b, origin(b), fidelity(b), reason(b) FROM logs ORDER BY epoch").fetchall()
        why = "the script ended its process with exit code 4"
        given = [(epoch * 2.0, "hindsight", "exact", None) for epoch in range(2)]
        assert rows == [*given, *[(None, "unfillable", None, why)] * 2]
        told = connection.execute("SELECT first_index, last_index, state, executed FROM fills ORDER BY 1").fetchall()
        assert told == [(0, 1, "done", 2), (2, 3, "failed", 1)]
        again = connection.execute("SELECT b FROM logs ORDER BY epoch").fetchall()
        assert again == [(0.0,), (2.0,), (None,), (None,)]
        assert connection.execute("SELECT count(*) FROM fills").fetchall() == [(2,)]


def test_a_value_within_a_traced_function_is_refused(project: Project) -> None:
    project.write("tracing.py", 'Tracer = type("Tracer", (), {"__module__": "jax._src.core"})\n')
    project.write("train.py", "import tracing\n" + GOOD.replace("{bad}", "logql.log('known', tracing.Tracer())"))
    project.run(every=None, LOGQL_OVERHEAD="0")
    job = project.job(after('logql.log("a"', 'logql.log("b", tracing.Tracer())'), ["b"], (0, 3))
    (result,) = project.replay(job)
    assert result.state == "failed"
    assert "b cannot be told: the function is being traced" in str(result.error)
    assert result.events == ()
    job = project.job(EDIT, ["b"], (0, 3))
    (result,) = project.replay(job)
    assert (result.state, result.fidelity) == ("done", "exact")


def test_checkpoints_that_cannot_be_restored_are_done_without(project: Project) -> None:
    project.write("train.py", GOOD.replace("{bad}", "pass"))
    project.run(every=1)
    for path in Path(project.store, "checkpoints").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    (result,) = project.replay(project.job(EDIT, ["b"], (2, 3)))
    assert (result.state, result.fidelity) == ("done", "exact")
    assert values(result.events, "b") == {(0,): 0.0, (1,): 2.0, (2,): 4.0, (3,): 6.0}
    assert any("no checkpoint can be restored" in note for note in result.notes)


@pytest.mark.skipif(kernel_version() < (6, 14), reason="the kernel counts processes for the whole machine")
def test_a_fork_bomb_is_bounded(project: Project) -> None:
    bomb = "exec('while True: os.fork()')"
    project.write("train.py", GOOD.replace("{bad}", bomb))
    project.run(every=None, LOGQL_OVERHEAD="0")
    job = project.job(EDIT, ["b"], (0, 3))
    (result,) = project.replay(job, options=Options(isolation="strong", max_tasks=400))
    assert result.state == "failed"
    assert "BlockingIOError" in str(result.error)
    assert values(result.events, "b") == {(0,): 0.0}
    assert not _processes(job.id)


def test_a_syntax_error_and_a_missing_script(project: Project) -> None:
    project.write("train.py", GOOD.replace("{bad}", "pass"))
    project.run()
    job = project.job(lambda source: source + "\nthis is no python\n", ["b"], (0,))
    (result,) = project.replay(job)
    assert result.state == "failed"
    assert "SyntaxError" in str(result.error)


def test_the_traceback_has_the_lines_of_the_version(project: Project) -> None:
    project.write("train.py", GOOD.replace("{bad}", "raise ValueError('here')"))
    project.run()
    (result,) = project.replay(project.without_checkpoints(project.job(EDIT, ["b"], (3,))))
    assert 'File "train.py", line 7, in <module>' in str(result.error)
    assert "raise ValueError('here')" in str(result.error)
    assert "logql/replay" not in str(result.error)


def test_an_inserted_statement_that_fails_is_an_error(project: Project) -> None:
    project.write("train.py", GOOD.replace("{bad}", "pass"))
    project.run()
    job = project.job(after('logql.log("a"', 'logql.log("b", epoch.nothing)'), ["b"], (0,))
    (result,) = project.replay(job)
    assert result.state == "failed"
    assert "AttributeError: 'int' object has no attribute 'nothing'" in str(result.error)


def test_others_are_filled_beside_a_bad_one(project: Project) -> None:
    project.write("train.py", GOOD.replace("{bad}", "os.abort()"))
    project.run(every=None, LOGQL_OVERHEAD="0")
    project.write("train.py", GOOD.replace("{bad}", "pass"))
    project.run()
    bad, good = project.job(EDIT, ["b"], (3,), run=0), project.job(EDIT, ["b"], (3,), run=1)
    first, second = project.replay(bad, good, options=Options(workers=2))
    assert (first.state, second.state) == ("failed", "done")
    assert values(second.events, "b") == {(3,): 6.0}


ASK = """\
import sys, time
sys.path.insert(0, {root!r})
from tests.replay.conftest import Project, after
from logql.replay.pool import LocalPool
from logql.replay.guard import kernel_version
from logql.replay.job import Options
from pathlib import Path
project = Project(Path({path!r}))
job = project.job(after('logql.log("a"', 'logql.log("b", epoch * 2.0)'), ["b"], (3,), timeout_s=600)
pool = LocalPool(project.store, str(project.path), Options(isolation={isolation!r}))
pool.submit(job)
print(job.id, flush=True)
for item in pool.results():
    pass
"""


@pytest.mark.parametrize("isolation", ["strong", "weak"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_orphans_when_the_asking_process_dies(project: Project, isolation: str, how: signal.Signals) -> None:
    nap = f"600.{uuid.uuid4().int % 10**9}"
    bad = f"subprocess.Popen(['sleep', '{nap}'], start_new_session=True); os.fork(); time.sleep(600)"
    project.write("train.py", GOOD.replace("{bad}", bad).replace("import os, sys", "import os, sys, subprocess, time"))
    project.run(every=None, LOGQL_OVERHEAD="0")
    text = ASK.format(root=ROOT, path=str(project.path), isolation=isolation)
    asking = subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert asking.stdout is not None
    name = asking.stdout.readline().strip()
    deadline = time.monotonic() + 30
    while (
        not (_processes(name) and any(f"sleep {nap}" in line for line in _commands())) and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    assert _processes(name)
    asking.send_signal(how)
    asking.communicate(timeout=30)
    deadline = time.monotonic() + 10
    while (_processes(name) or any(f"sleep {nap}" in line for line in _commands())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _processes(name)
    assert not any(f"sleep {nap}" in line for line in _commands())


def _processes(job: str) -> list[str]:
    """Live processes of a job, which all have its specification on their command line."""
    return [line for line in _commands() if job in line and "supervise" in line]


def _commands() -> list[str]:
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            try:
                state = (directory / "stat").read_bytes().rpartition(b")")[2].split()[0]
                line = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if state != b"Z":
                found.append(line)
    return found
