"""What a replay costs against what it must cost: `python -m bench.replay [EPOCHS ...] [--flor-python PATH]`.

For k epochs at the start, middle and end of a run: the seconds of the replay over its floor, which is a process that
starts, loads what a worker loads and runs the script up to its loop, plus the longest worker's iterations as they were
recorded (restoring counts as nothing). Then a value before the inner loop, with a checkpoint at every epoch, as a share
of an epoch, by the worker's CPU time. Medians; replays and floors in turn, so that both see the same machine. DESIGN
section 9 asks for ratios up to 1.1, and for 5 %. With interpreters that have FlorDB, its replays of the same script.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.flor import FlorProject, truth
from bench.steady import ENVIRONMENT
from logql.model import MainLoop, Segment
from logql.replay.job import Job, Options, Result
from logql.replay.pool import LocalPool
from logql.store.catalog import Catalog
from logql.versions import history

SCRIPT = """\
import numpy as np
import logql

rng = np.random.default_rng(0)
x = rng.normal(size=(256, 64))
y = rng.normal(size=(256, 1))
w1, w2 = rng.normal(size=(64, 128)) * 0.1, rng.normal(size=(128, 1)) * 0.1
m1, m2 = np.zeros_like(w1), np.zeros_like(w2)
for epoch in logql.loop("epoch", range({epochs})):
    lr = 0.01 / (1 + epoch / 100)
    for step in logql.loop("step", range({steps})):
        h = np.tanh(x @ w1)
        e = h @ w2 - y
        g2 = h.T @ e / len(x)
        g1 = x.T @ (e @ w2.T * (1 - h * h)) / len(x)
        m1 = 0.9 * m1 + g1
        m2 = 0.9 * m2 + g2
        w1 -= lr * m1
        w2 -= lr * m2
    logql.log("loss", float((e * e).mean()))
"""
REPEATS = 3
STEPS = 1200
LAST = '    logql.log("loss", float((e * e).mean()))\n'
FIRST = "    lr = 0.01 / (1 + epoch / 100)\n"
#: where, name, and the inserted statement
AT_END = (LAST, "norm", '    logql.log("norm", float(np.abs(w1).sum()))\n')
AT_START = (FIRST, "first", '    logql.log("first", float(np.abs(w1).sum()))\n')


def main(sizes: Sequence[int], flor: Sequence[str]) -> None:
    """Print one line per case."""
    os.environ.update(ENVIRONMENT)
    workers = len(os.sched_getaffinity(0))
    print(f"{'case':44} {'replay s':>9} {'floor s':>9} {'ratio':>7} {'of CPU':>7}")
    for epochs in sizes:
        with tempfile.TemporaryDirectory() as project:
            loop = _record(project, epochs, STEPS)
            _replay(project, [[0]], 1, AT_END)  # what a session loads once
            print(f"{epochs} epochs of {1000 * loop.seconds / loop.iterations:.0f} ms", flush=True)
            for place, first in (("start", 0), ("middle", epochs // 2), ("end", epochs - 1)):
                _report(f"{epochs} epochs, 1 at the {place}, 1 worker", project, loop, [(first,)], 1, AT_END)
            count = min(epochs, 4 * workers)
            parts = [tuple(range(epochs - count, epochs))[at::workers] for at in range(workers)]
            _report(f"{epochs} epochs, {count} at the end, {workers} workers", project, loop, parts, workers, AT_END)
            _report_before(project, epochs)
            if flor:
                _report_beside(flor, project, epochs)


def _record(project: str, epochs: int, steps: int) -> MainLoop:
    with open(os.path.join(project, "train.py"), "w", encoding="utf-8") as file:
        file.write(SCRIPT.format(epochs=epochs, steps=steps))
    environment = {**os.environ, "LOGQL_CHECKPOINT_EVERY": "1"}
    subprocess.run([sys.executable, "train.py"], cwd=project, env=environment, check=True)
    with Catalog.open(os.path.join(project, ".logql")) as catalog:
        return catalog.main_loops()[0]


def _job(project: str, wanted: Sequence[int], statement: tuple[str, str, str]) -> Job:
    store = os.path.join(project, ".logql")
    place, name, inserted = statement
    with Catalog.open(store) as catalog:
        run, version = catalog.runs()[0], catalog.versions()[0]
        loops, checkpoints = catalog.main_loops(), catalog.checkpoints()
    source = history.read_files(store, project, version)["train.py"]
    files = {"train.py": source.replace(place, place + inserted)}
    segment = Segment(run.id, version.id, "epoch", 0, tuple(wanted), {name: "bench"})
    return Job(segment, run, version, tuple(loops), tuple(checkpoints), files, once=True)


@dataclass(frozen=True)
class _Took:
    """What something took: of the wall's clock, and of processors on its longest way (pool and one worker)."""

    wall: float
    cpu: float

    def over(self, floor: _Took) -> str:
        return f"{self.wall / floor.wall:7.2f} {self.cpu / floor.cpu:7.2f}"


def _replay(
    project: str, parts: Sequence[Sequence[int]], workers: int, statement: tuple[str, str, str]
) -> tuple[_Took, list[Result]]:
    began, worked = time.perf_counter(), time.process_time()
    pool = LocalPool(os.path.join(project, ".logql"), project, Options(workers=workers))
    for part in parts:
        pool.submit(_job(project, part, statement))
    found = [item for item in pool.results() if isinstance(item, Result)]
    assert all(result.state == "done" for result in found), [result.error for result in found]
    longest = max(result.cpu_s for result in found)
    return _Took(time.perf_counter() - began, time.process_time() - worked + longest), found


def _report(
    text: str,
    project: str,
    loop: MainLoop,
    parts: Sequence[Sequence[int]],
    workers: int,
    statement: tuple[str, str, str],
) -> None:
    actual, floors = [], []
    for _ in range(REPEATS):
        took, results = _replay(project, parts, workers, statement)
        actual.append(took)
        executed = max(result.executed for result in results)
        floors.append(_begin(project, loop.seconds / loop.iterations * executed))
    replay, floor = _median(actual), _median(floors)
    print(f"{text:44} {replay.wall:9.2f} {floor.wall:9.2f} {replay.over(floor)}", flush=True)


def _begin(project: str, more: float) -> _Took:
    """What a process takes that loads what a worker loads and runs the script up to its loop; and `more` seconds."""
    prologue = SCRIPT.partition("for epoch")[0]
    began, before = time.perf_counter(), _children()
    command = [sys.executable, "-c", "import logql.replay.worker\n" + prologue]
    subprocess.run(command, cwd=project, check=True)
    return _Took(time.perf_counter() - began + more, _children() - before + more)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _median(found: Sequence[_Took]) -> _Took:
    return _Took(statistics.median(one.wall for one in found), statistics.median(one.cpu for one in found))


def _report_before(project: str, epochs: int) -> None:
    """CPU seconds that each further epoch costs when only a value before its inner loop is wanted."""
    few = statistics.median(_cpu(project, [0, 1], AT_START) for _ in range(REPEATS))
    many = statistics.median(_cpu(project, range(epochs), AT_START) for _ in range(REPEATS))
    whole = statistics.median(_cpu(project, [0, 1, 2, 3], AT_END) for _ in range(REPEATS))
    each, epoch = (many - few) / (epochs - 2), (whole - few) / 4
    print(
        f"{epochs} epochs, before the inner loop: {1000 * each:.1f} ms an epoch, {each / epoch:.1%} of it", flush=True
    )


def _report_beside(pythons: Sequence[str], project: str, epochs: int) -> None:
    """CPU seconds of single epochs, and whether the value is right: ours, then FlorDB's of the same script."""
    script = SCRIPT.format(epochs=epochs, steps=STEPS)
    expected = truth(script)
    chosen = {"start": 0, "middle": epochs // 2, "end": epochs - 1}
    for place, epoch in chosen.items():
        took, (result,) = _replay(project, [[epoch]], 1, AT_END)
        value = next(event.value for event in result.events if event.path[0].index == epoch)
        _line(f"  logql, 1 at the {place}", took.wall, took.cpu, value, expected[epoch])
    for python in pythons:
        with tempfile.TemporaryDirectory() as directory:
            other = FlorProject(python, directory, script, STEPS)
            for place, epoch in chosen.items():
                found = other.replay(epoch)
                name = f"  FlorDB {other.version}, 1 at the {place}"
                _line(name, found.wall, found.cpu, found.value, expected[epoch])


def _line(text: str, wall: float, cpu: float, value: object, expected: float) -> None:
    right = "right" if value == expected else f"wrong: {value}, not {expected}"
    print(f"{text:44} {wall:9.2f}  {cpu:6.2f} s of CPU; {right}", flush=True)


def _cpu(project: str, wanted: Sequence[int], statement: tuple[str, str, str]) -> float:
    return sum(result.cpu_s for result in _replay(project, [list(wanted)], 1, statement)[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What a replay costs against what it must cost.")
    parser.add_argument("epochs", nargs="*", type=int)
    parser.add_argument("--flor-python", action="append", default=[], help="an interpreter that has FlorDB; repeatable")
    given = parser.parse_args()
    main(given.epochs or [10, 50, 200], given.flor_python)
