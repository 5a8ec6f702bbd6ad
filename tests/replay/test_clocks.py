"""Times, which no replay can repeat, are no reason to doubt it; what they do not explain is."""

from __future__ import annotations

import copy
import json
import math
import pickle

import pytest

from logql.replay.clocks import gets_readings
from logql.replay.fidelity import Tally
from logql.state.readings import Reading, depends_on_clock, differ_in_time_only, without_readings
from tests.replay.conftest import Project, after, values

TIMED = """\
import datetime
import random
import time
from time import perf_counter
import logql

random.seed(SEED)


class Meter:
    def __init__(self):
        self.sum, self.count, self.history = 0.0, 0, []

    def update(self, value):
        self.sum += value
        self.count += 1
        self.history.append(round(value, 3))

    @property
    def avg(self):
        return self.sum / self.count


meter = Meter()
name = f"runs/{int(time.time())}_{datetime.datetime.now():%Y-%m-%d_%H-%M-%S.%f}"
started = datetime.datetime.now()
began = time.time()
last = perf_counter()
w = 0.0
for epoch in logql.loop("epoch", range(4)):
    w += random.random()
    now = perf_counter()
    meter.update(now - last)
    last = now
    logql.log("w", w)
    logql.log("name", f"{name}/{epoch}")
    logql.log("now", started)
    logql.log("seconds", meter.avg)
    logql.log("stats", {"w": w, "per_second": 1 / (time.time() - began), "times": [now, w]})
"""


def test_a_timed_training_replays_exactly(project: Project) -> None:
    project.write("train.py", TIMED.replace("SEED", "1"))
    project.run()
    (result,) = project.replay(project.job(after("w += ", 'logql.log("v", 2 * w)'), ["v"], (1, 3)))
    assert (result.state, result.fidelity, result.notes) == ("done", "exact", ())
    assert result.compared > 6


def test_a_timed_training_that_is_not_seeded_diverges(project: Project) -> None:
    project.write("train.py", TIMED.replace("SEED", ""))
    project.run(every=None, LOGQL_OVERHEAD="0")
    (result,) = project.replay(project.job(after("w += ", 'logql.log("v", 2 * w)'), ["v"], (1, 3)))
    assert result.fidelity == "diverged"
    assert result.notes[0].startswith("w at epoch=")


def test_a_wanted_time_is_told_to_be_the_replays(project: Project) -> None:
    project.write("train.py", TIMED.replace("SEED", "1"))
    project.run()
    (result,) = project.replay(project.job(after("last = now", 'logql.log("v", [now, meter.sum])'), ["v"], (2,)))
    assert result.fidelity == "exact"
    assert result.notes == ("v depends on the clock: it tells the replay's time, not the run's",)
    (found,) = values(result.events, "v").values()
    assert isinstance(found, list)
    assert [type(item) for item in found] == [float, float]


def test_arithmetic_keeps_readings() -> None:
    reading = Reading(2.5)
    kept = [reading + 1, 1 - reading, reading * 2.0, 1 / reading, reading**2, -reading, abs(reading), round(reading, 1)]
    assert {type(found) for found in [*kept, *divmod(reading, 2), sum([reading, 1]), max(reading, 1.0)]} == {Reading}
    assert [float(found) for found in kept] == [3.5, -1.5, 5.0, 0.4, 6.25, -2.5, 2.5, 2.5]
    assert (round(reading), type(round(reading)), int(reading), f"{reading:.2f}", str(reading)) == (
        2, int, 2, "2.50", "2.5",
    )  # fmt: skip
    assert (reading == 2.5, hash(reading) == hash(2.5), json.dumps([reading]), math.isnan(reading)) == (
        True, True, "[2.5]", False,
    )  # fmt: skip
    assert Reading.__add__(reading, "a") is NotImplemented  # type: ignore[operator]
    assert type(copy.deepcopy(reading)) is Reading
    assert type(pickle.loads(pickle.dumps(reading))) is float


def test_values_with_readings() -> None:
    value = {"a": [1, {"b": Reading(0.5)}], "c": "x"}
    assert depends_on_clock(value)
    assert not depends_on_clock(without_readings(value))
    assert without_readings(value) == {"a": [1, {"b": 0.5}], "c": "x"}
    tally = Tally(0.0, 0.0)
    tally.add_value((), "t", 1.0, Reading(2.0))
    assert (tally.compared, tally.worst) == (0, "equal")
    tally.add_value((), "s", {"t": 1.0, "n": 1}, {"t": Reading(2.0), "n": 2})
    assert tally.worst == "far"


def test_moments_in_names() -> None:
    assert differ_in_time_only("ppo__1__1795220000", "ppo__1__1795230001")
    assert differ_in_time_only("runs/Nov21_00-46-43_host", "runs/Nov22_10-46-43_host")
    assert differ_in_time_only("20261121-004643/x", "20261121-004700/x")
    assert differ_in_time_only("at 2026-11-21 00:46:43.12", "at 2026-11-22 01:46:43.97")
    assert not differ_in_time_only("ppo__1__1795220000", "ppo__2__1795230001")
    assert not differ_in_time_only("loss 0.61234567", "loss 0.71234567")
    assert not differ_in_time_only("epoch 3", "epoch 4")
    assert not differ_in_time_only(1795220000, 1795230000)


@pytest.mark.parametrize(
    ("file", "marked"),
    [
        ("/home/me/project/train.py", True),
        ("/home/me/project/.venv/lib/site-packages/torch/utils/data/dataloader.py", False),
        ("/home/me/project/.venv/lib/site-packages/gymnasium/wrappers/common.py", True),
        ("/usr/lib/python3/site-packages/gymnasium/wrappers/common.py", True),
        ("/usr/lib/python3/threading.py", False),
    ],
)
def test_whose_clocks_give_readings(file: str, marked: bool) -> None:
    """When an episode began stands in an environment's wrapper: it made every replay of such a training diverged."""
    assert gets_readings(file, "/home/me/project/") is marked
