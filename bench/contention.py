"""Many recorders and readers on one catalog at once.

    python bench/contention.py [--recorders 64] [--rate 5] [--seconds 30] [--readers 2]

Each recorder is a process that registers a run, holds its locks and changes its rows in the catalog `rate` times a
second. A reader asks for what changed in the catalog; another one takes whole snapshots, which also looks whether each
of the runs is alive and reads its stream. Told are failed commits, and how long commits and reads took; the last line
says whether it passes: no commit failed, each is there, and 99 of 100 reads took less than 10 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from logql.model import MainLoop, Run, Version
from logql.store import liveness
from logql.store.catalog import Catalog
from logql.store.snapshot import forget, read_snapshot
from logql.store.state import State

READ_P99_MS = 10.0
#: What a process does `beat` by `beat`; gives one measured action.
Action = Callable[[int], None]


@dataclass
class Storm:
    """What came out: milliseconds of each commit and read, errors, and the last commit of each run."""

    commits: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    snapshots: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)


def storm(store: str, recorders: int, beats: int, interval: float, readers: int) -> Storm:
    """Let `recorders` processes commit `beats` times each, `interval` seconds apart, while `readers` of each kind read.

    Readers go on until the last recorder is done.
    """
    Catalog.open(store, create=True).close()
    found = Storm()
    start = time.monotonic() + 0.02 * recorders
    with tempfile.TemporaryDirectory() as folder:
        writing = [_start(folder, lambda n=n: _recorder(store, n), start, beats, interval) for n in range(recorders)]
        reading = [_start(folder, lambda: _reader(store), start, None, 0.01) for _ in range(readers)]
        looking = [_start(folder, lambda: _looker(store), start, None, 0.1) for _ in range(readers)]
        for pid in writing:
            os.waitpid(pid, 0)
        for pid in (*reading, *looking):
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
        for pids, times in ((writing, found.commits), (reading, found.reads), (looking, found.snapshots)):
            for pid in pids:
                with open(f"{folder}/{pid}", encoding="utf-8") as file:
                    own, errors = json.load(file)
                times += own
                found.errors += errors
    with Catalog.open(store, read_only=True) as catalog:
        found.kept = {loop.run: loop.iterations for loop in catalog.main_loops()}
    return found


def _start(folder: str, prepare: Callable[[], Action], start: float, beats: int | None, interval: float) -> int:
    """Fork a process that acts at its beats (or until it is told to stop) and leaves its times in `folder`."""
    pid = os.fork()
    if pid:
        return pid
    times: list[float] = []
    errors: list[str] = []
    try:
        stopped: list[int] = []
        signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
        action = prepare()
        number = 0
        while not stopped and (beats is None or number < beats):
            time.sleep(max(0.0, start + interval * number - time.monotonic()))
            times.append(_timed(action, number))
            number += 1
    except BaseException as exc:
        errors.append(f"{type(exc).__name__}: {exc}")
    with contextlib.suppress(BaseException), open(f"{folder}/{os.getpid()}", "w", encoding="utf-8") as file:
        json.dump((times, errors), file)
    os._exit(0)


def _timed(action: Action, number: int) -> float:
    start = time.perf_counter()
    action(number)
    return (time.perf_counter() - start) * 1000


def _recorder(store: str, number: int) -> Action:
    catalog = Catalog.open(store)
    run = f"01{number:04}"
    locks = liveness.hold_run(store, run), liveness.hold_main(store, run)
    catalog.add_version(Version("a" * 12, "a" * 40))
    catalog.add_run(Run(run, "a" * 12, "train.py", ("train.py",), "running", 1.0, "/p", "/p", pid=os.getpid()))

    def commit(beat: int) -> None:
        assert locks
        catalog.put_main_loop(MainLoop(run, "epoch", 0, "train.py", 3, None, beat + 1, False, 0.1 * beat, 0.0, 0))

    return commit


def _reader(store: str) -> Action:
    catalog, state = Catalog.open(store, read_only=True), State(store)
    seen: dict[str, int] = {}

    def read(_: int) -> None:
        with catalog.connection.read() as db:
            state.update(db)
            found = {loop.run: loop.iterations for loop in state.main_loops(db)}
        assert all(found[run] >= before for run, before in seen.items()), "went back"
        seen.update(found)

    return read


def _looker(store: str) -> Action:
    def look(_: int) -> None:
        read_snapshot(store, read_only=True)

    return look


def _told(title: str, times: list[float]) -> str:
    return (
        f"  {title:14} {len(times):7,}  median {_quantile(times, 0.5):7.2f} ms  p99 {_quantile(times, 0.99):7.2f} ms  "
        f"longest {max(times):8.2f} ms"
    )


def _quantile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def _verdict(found: Storm, recorders: int, beats: int) -> str:
    whole = not found.errors and list(found.kept.values()) == [beats] * recorders
    late = _quantile(found.reads, 0.99)
    return (
        f"{'pass' if whole and late < READ_P99_MS else 'FAIL'}: {len(found.errors)} failed, "
        f"{sum(found.kept.values()):,} of {recorders * beats:,} commits there, reads {late:.2f} ms at p99 "
        f"(bound {READ_P99_MS:.0f})"
    )


def main() -> None:
    """Run the storm and tell what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recorders", type=int, default=64)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--readers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="logql-bench-") as folder:
        beats = round(arguments.rate * arguments.seconds)
        found = storm(f"{folder}/.logql", arguments.recorders, beats, 1 / arguments.rate, arguments.readers)
    print(f"{arguments.recorders} recorders, {len(found.commits):,} commits, {len(found.errors)} failed")
    print(_told("commits", found.commits))
    print(_told("reads", found.reads))
    print(_told("snapshots", found.snapshots))
    for error in found.errors[:5]:
        print(" ", error)
    print(_verdict(found, arguments.recorders, beats))
    forget()


if __name__ == "__main__":
    main()
