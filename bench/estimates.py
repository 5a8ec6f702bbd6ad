"""How well replays are predicted: `python -m bench.estimates`. Prints predicted seconds against actual ones.

Programs of several shapes are recorded, and parts of them replayed: first, middle and last epochs, with gaps, with and
without checkpoints, several main loops. DESIGN section 9 asks for 9 of 10 within 25 %: of the wall clock on an idle
machine; on a shared one of the CPU time that pool and worker take, scaled by a calibration: the CPU time of a fixed
piece of work, 50 ms on an idle machine, around the replay against around the recording.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.steady import ENVIRONMENT
from logql.model import Checkpoint, MainLoop, Segment
from logql.plan.cost import RunCost
from logql.replay.job import Job, Options, Result
from logql.replay.pool import LocalPool
from logql.store.catalog import Catalog
from logql.versions import history

SCRIPT = """\
import numpy as np
import logql

rng = np.random.default_rng(0)
x = rng.normal(size=({rows}, 64))


def train(epochs, w):
    for epoch in logql.loop("epoch", range(epochs)):
        for step in logql.loop("step", range({steps})):
            w = 0.99 * w + 0.01 * np.tanh(x @ w[:64])[:64].mean() * w
        norm = float(np.abs(w).sum())
        logql.log("loss", norm)


for fold in range({folds}):
    train({epochs}, rng.normal(size=({width}, 64)))
end = 1.0
logql.log("end", end)
"""
#: Line before which the statement is put, and the statement: behind an epoch's work, and ahead of it.
BEHIND = ('        logql.log("loss", norm)\n', '        logql.log("norm", norm * 2)\n')
AHEAD = ("        for step in logql", '        logql.log("norm", float(np.abs(w).sum()))\n')


@dataclass(frozen=True)
class Shape:
    """A program: its size, and whether checkpoints are taken."""

    name: str
    epochs: int
    steps: int
    rows: int = 256
    width: int = 64
    folds: int = 1
    every: int = 1


SHAPES = (
    Shape("long epochs", 10, 400),
    Shape("short epochs", 60, 20),
    Shape("no checkpoints", 20, 60, every=0),
    Shape("every 5th", 20, 60, every=5),
    Shape("large state", 8, 60, width=20_000),
    Shape("folds", 6, 80, folds=3),
)


@dataclass(frozen=True)
class Recorded:
    """A recorded program, and the CPU seconds of the calibration around its recording."""

    project: str
    loops: tuple[MainLoop, ...]
    checkpoints: tuple[Checkpoint, ...]
    speed: float

    @property
    def main_loops(self) -> dict[str, tuple[MainLoop, ...]]:
        """As the cost model reads it."""
        return {self.loops[0].run: self.loops}

    @property
    def checkpoints_of(self) -> dict[str, tuple[Checkpoint, ...]]:
        """Checkpoints by run."""
        return {self.loops[0].run: self.checkpoints}


class _Timings:
    def __init__(self, recorded: Recorded) -> None:
        self.main_loops = recorded.main_loops
        self.checkpoints = recorded.checkpoints_of


def main() -> None:
    """Print a line per replay, then how many were within 25 %."""
    os.environ.update(ENVIRONMENT)
    wall, cpu = [], []
    print(f"{'shape':16} {'wanted':24} {'predicted':>9} {'wall s':>8} {'cpu s':>8} {'ratio':>6}")
    for shape in SHAPES:
        with tempfile.TemporaryDirectory() as project:
            recorded = _record(project, shape)
            _replay(recorded, 0, [0], False)  # what a session loads once
            for entry, wanted, leads in _choices(shape):
                costs = RunCost(recorded.loops[0].run, _Timings(recorded))
                predicted = costs.segment("epoch", entry, wanted, leads=leads).seconds
                seconds, used = _replay(recorded, entry, wanted, leads)
                wall.append(seconds / predicted)
                cpu.append(used / predicted)
                text = f"{entry}: {wanted[0]}..{wanted[-1]} ({len(wanted)}){' ahead' if leads else ''}"
                print(
                    f"{shape.name:16} {text:24} {predicted:9.2f} {seconds:8.2f} {used:8.2f} {cpu[-1]:6.2f}", flush=True
                )
    for name, ratios in (("wall clock", wall), ("CPU time, calibrated", cpu)):
        good = sum(0.75 <= ratio <= 1.25 for ratio in ratios)
        print(f"{name}: {good} of {len(ratios)} within 25 %, median ratio {statistics.median(ratios):.2f}")


def _choices(shape: Shape) -> Iterator[tuple[int, Sequence[int], bool]]:
    """Entry, wanted iterations, and whether the statement stands ahead of an epoch's work."""
    last = shape.epochs - 1
    for entry in range(shape.folds):
        parts = [[0], [last // 2], [last], list(range(shape.epochs))]
        if shape.folds == 1:
            parts += [[0, 1, 2], [1, last], [last - 2, last - 1, last]]
            parts += [list(range(0, shape.epochs, 3)), list(range(shape.epochs // 2))]
        for wanted in parts:
            yield entry, wanted, False
        for wanted in parts[1:4]:
            yield entry, wanted, True


def _record(project: str, shape: Shape) -> Recorded:
    with open(os.path.join(project, "train.py"), "w", encoding="utf-8") as file:
        file.write(SCRIPT.format(**vars(shape)))
    taken = {"LOGQL_CHECKPOINT_EVERY": str(shape.every)} if shape.every else {"LOGQL_OVERHEAD": "0"}
    before = _calibrate()
    subprocess.run([sys.executable, "train.py"], cwd=project, env=os.environ | taken, check=True)
    with Catalog.open(os.path.join(project, ".logql")) as catalog:
        loops, checkpoints = tuple(catalog.main_loops()), tuple(catalog.checkpoints())
    return Recorded(project, loops, checkpoints, (before + _calibrate()) / 2)


def _replay(recorded: Recorded, entry: int, wanted: Sequence[int], leads: bool) -> tuple[float, float]:
    """Wall seconds of a replay, and the CPU seconds that it takes at the speed that the recording had."""
    store = os.path.join(recorded.project, ".logql")
    with Catalog.open(store) as catalog:
        run, version = catalog.runs()[0], catalog.versions()[0]
    source = history.read_files(store, recorded.project, version)["train.py"]
    place, inserted = AHEAD if leads else BEHIND
    files = {"train.py": source.replace(place, inserted + place)}
    segment = Segment(run.id, version.id, "epoch", entry, tuple(wanted), {"norm": "bench"})
    speed = _calibrate()
    began, worked = time.perf_counter(), time.process_time()
    pool = LocalPool(store, recorded.project, Options(workers=1))
    pool.submit(Job(segment, run, version, recorded.loops, recorded.checkpoints, files, once=True))
    (result,) = [item for item in pool.results() if isinstance(item, Result)]
    assert result.state == "done", result.error
    wall, cpu = time.perf_counter() - began, time.process_time() - worked + result.cpu_s
    return wall, cpu * recorded.speed / ((speed + _calibrate()) / 2)


def _calibrate() -> float:
    """CPU seconds of a fixed piece of work, 50 ms on an idle machine: what else runs slows caches and cores down."""
    import numpy as np  # after `main` has told BLAS to use one thread: others that wait for it would count as well

    x = np.random.default_rng(0).normal(size=(256, 64))
    w = np.ones((64, 64))
    began = time.process_time()
    for _ in range(900):
        w = 0.99 * w + 0.01 * np.tanh(x @ w)[:64].mean() * w
    return time.process_time() - began


if __name__ == "__main__":
    main()
