"""How well replays are predicted: `python -m bench.estimates`. Prints predicted seconds against actual ones.

Programs of several shapes are recorded, and parts of them replayed: first, middle and last epochs, with gaps, with and
without checkpoints, several main loops, scripts to their end, and many runs of one version, whose replays start as
forks of one process, with NumPy and with torch, on one worker and on two. DESIGN section 9 asks for 9 of 10 within
25 %: of the wall clock on an idle machine; on a shared one of the CPU time of all processes, scaled by a calibration:
the CPU time of a fixed piece of work, 50 ms on an idle machine, around the replay against around the recording. Name
shapes to see these alone.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bench.steady import ENVIRONMENT
from logql.model import Checkpoint, MainLoop, Run, Segment, Version
from logql.plan.cost import RunCost
from logql.plan.schedule import Schedule, schedule, start_of
from logql.replay.job import Job, Options, Result, new_id
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
TORCH = """\
import numpy as np
import torch
from torch import nn

import logql

seed = logql.arg("seed", 0)
torch.manual_seed(seed)
w = torch.from_numpy(np.random.default_rng(seed).normal(size=({rows}, 64))).float()
net = nn.Sequential(nn.Linear(64, {width}), nn.ReLU(), nn.Linear({width}, 1))
optimizer = torch.optim.Adam(net.parameters())
for epoch in logql.loop("epoch", range({epochs})):
        for step in logql.loop("step", range({steps})):
            loss = (net(w) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        norm = float(loss.detach())
        logql.log("loss", norm)
"""
#: Line before which the statement is put, and the statement: behind an epoch's work, and ahead of it.
BEHIND = ('        logql.log("loss", norm)\n', '        logql.log("norm", norm * 2)\n')
AHEAD = ("        for step in logql", '        logql.log("norm", float(np.abs(w).sum()))\n')


@dataclass(frozen=True)
class Shape:
    """A program: its size, whether checkpoints are taken, and how many runs there are of it."""

    name: str
    epochs: int
    steps: int
    rows: int = 256
    width: int = 64
    folds: int = 1
    every: int = 1
    runs: int = 1
    script: str = SCRIPT


SHAPES = (
    Shape("long epochs", 10, 400),
    Shape("short epochs", 60, 20),
    Shape("no checkpoints", 20, 60, every=0),
    Shape("every 5th", 20, 60, every=5),
    Shape("large state", 8, 60, width=20_000),
    Shape("folds", 6, 80, folds=3),
    Shape("12 runs", 6, 60, runs=12),
    Shape("8 runs of torch", 4, 40, runs=8, script=TORCH),
    Shape("6 runs, no chkp.", 4, 80, every=0, runs=6, script=TORCH),
)


@dataclass(frozen=True)
class Case:
    """What is replayed: the same iterations of the first so many runs; `leads`: the statement is ahead of the work.

    `whole`: the script to its end, with all iterations of its main loops on the way, as for statements whose callers
    are unknown.
    """

    wanted: Sequence[int]
    entry: int = 0
    leads: bool = False
    runs: int = 1
    workers: int = 1
    whole: bool = False

    def __str__(self) -> str:
        if self.whole:
            return "all, and outside of loops"
        where = f"{self.entry}: {self.wanted[0]}..{self.wanted[-1]} ({len(self.wanted)})"
        many = f" of {self.runs}, {self.workers} workers" if self.runs > 1 else ""
        return f"{where}{' ahead' if self.leads else ''}{many}"


@dataclass(frozen=True)
class Recorded:
    """A recorded program, and the CPU seconds of the calibration around its recording."""

    project: str
    version: Version
    runs: tuple[Run, ...]
    main_loops: dict[str, tuple[MainLoop, ...]]
    checkpoints: dict[str, tuple[Checkpoint, ...]]
    speed: float

    def predict(self, case: Case) -> Schedule:
        """What a plan says of a case."""
        found = [(self._estimate(run, case), start_of(run)) for run in self.runs[: case.runs]]
        return schedule(sorted(found, key=lambda one: -one[0]), case.workers)

    def _estimate(self, run: Run, case: Case) -> float:
        if case.whole:
            cost = RunCost(run.id, self)
            loops = self.main_loops[run.id]
            executed = [cost.through(loop.loop, loop.entry, case.wanted).seconds - cost.passing(loop) for loop in loops]
            return cost.segment(None, 0, ()).seconds + sum(executed)
        return RunCost(run.id, self).segment("epoch", case.entry, case.wanted, leads=case.leads).seconds

    def jobs(self, case: Case) -> list[Job]:
        """The replays of a case, with their estimates."""
        source = history.read_files(os.path.join(self.project, ".logql"), self.project, self.version)["train.py"]
        place, inserted = AHEAD if case.leads else BEHIND
        files = {"train.py": source.replace(place, inserted + place)}
        jobs = []
        for run in self.runs[: case.runs]:
            estimate = self._estimate(run, case)
            segment = Segment(
                run.id, run.version, "epoch", case.entry, tuple(case.wanted), {"norm": "bench"}, estimated_s=estimate
            )
            loops, checkpoints = self.main_loops[run.id], self.checkpoints.get(run.id, ())
            job = Job(segment, run, self.version, loops, checkpoints, files, once=True)
            jobs.append(_to_the_end(job) if case.whole else job)
        return jobs


def _to_the_end(job: Job) -> Job:
    """The job of what is outside of main loops, with that of each loop along its way."""
    parts = [replace(job, segment=replace(job.segment, entry=loop.entry), id=new_id()) for loop in job.loops]
    return replace(job, segment=replace(job.segment, loop=None, entry=0, wanted=()), once=False, along=tuple(parts))


def main(shapes: Sequence[Shape]) -> None:
    """Print a line per case, then how many were within 25 %."""
    os.environ.update(ENVIRONMENT)
    ratios: dict[str, list[float]] = {"wall clock": [], "CPU time, calibrated": []}
    print(f"{'shape':16} {'wanted':30}" + f" {'predicted':>9} {'wall s':>8} {'ratio':>6}" * 2 + " (of CPU)")
    for shape in shapes:
        with tempfile.TemporaryDirectory() as project:
            recorded = _record(project, shape)
            _replay(recorded, Case([0]))  # what a session loads once
            for case in _choices(shape):
                predicted, (wall, cpu) = recorded.predict(case), _replay(recorded, case)
                of_wall, of_cpu = wall / predicted.wall, cpu / predicted.cpu
                ratios["wall clock"].append(of_wall)
                ratios["CPU time, calibrated"].append(of_cpu)
                text = f"{predicted.wall:9.2f} {wall:8.2f} {of_wall:6.2f} {predicted.cpu:9.2f} {cpu:8.2f} {of_cpu:6.2f}"
                print(f"{shape.name:16} {case!s:30} {text}", flush=True)
    for name, found in ratios.items():
        good = sum(0.75 <= ratio <= 1.25 for ratio in found)
        print(f"{name}: {good} of {len(found)} within 25 %, median ratio {statistics.median(found):.2f}")


def _choices(shape: Shape) -> Iterator[Case]:
    last = shape.epochs - 1
    every = list(range(shape.epochs))
    if shape.runs > 1:
        for runs in (2, shape.runs // 2, shape.runs):
            for workers in (1, 2):
                for wanted in ([last // 2], [last], every):
                    yield Case(wanted, runs=runs, workers=workers)
        yield Case([last], leads=True, runs=shape.runs, workers=2)
        return
    for entry in range(shape.folds):
        parts = [[0], [last // 2], [last], every]
        if shape.folds == 1:
            parts += [[0, 1, 2], [1, last], [last - 2, last - 1, last]]
            parts += [list(range(0, shape.epochs, 3)), list(range(shape.epochs // 2))]
        for wanted in parts:
            yield Case(wanted, entry)
        for wanted in parts[1:4]:
            yield Case(wanted, entry, leads=True)
    yield Case(every, whole=True)


def _record(project: str, shape: Shape) -> Recorded:
    with open(os.path.join(project, "train.py"), "w", encoding="utf-8") as file:
        file.write(shape.script.format(**vars(shape)))
    taken = {"LOGQL_CHECKPOINT_EVERY": str(shape.every)} if shape.every else {"LOGQL_OVERHEAD": "0"}
    before = _calibrate()
    for seed in range(shape.runs):
        arguments = {"LOGQL_ARGS": f"seed={seed}"} if shape.runs > 1 and shape.script is TORCH else {}
        subprocess.run([sys.executable, "train.py"], cwd=project, env=os.environ | taken | arguments, check=True)
    with Catalog.open(os.path.join(project, ".logql")) as catalog:
        runs, (version,) = tuple(catalog.runs()), catalog.versions()
        loops = {run.id: tuple(catalog.main_loops(run.id)) for run in runs}
        checkpoints = {run.id: tuple(catalog.checkpoints(run.id)) for run in runs}
    return Recorded(project, version, runs, loops, checkpoints, (before + _calibrate()) / 2)


def _replay(recorded: Recorded, case: Case) -> tuple[float, float]:
    """Wall seconds of replays, and the CPU seconds that they take at the speed that the recording had."""
    speed = _calibrate()
    began, worked = time.perf_counter(), _cpu_seconds()
    pool = LocalPool(os.path.join(recorded.project, ".logql"), recorded.project, Options(workers=case.workers))
    for job in recorded.jobs(case):
        pool.submit(job)
    results = [item for item in pool.results() if isinstance(item, Result)]
    assert {item.error for item in results} == {None}, results
    wall, cpu = time.perf_counter() - began, _cpu_seconds() - worked
    return wall, cpu * recorded.speed / ((speed + _calibrate()) / 2)


def _cpu_seconds() -> float:
    """Of this process, and of all that it started and that has ended."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


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
    main([shape for shape in SHAPES if not sys.argv[1:] or shape.name in sys.argv[1:]])
