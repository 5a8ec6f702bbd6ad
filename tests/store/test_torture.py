"""Recorders that are killed again and again while readers read: nothing that was handed over is lost or doubled."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from logql.store import compact, doctor
from logql.store.catalog import Catalog
from logql.store.snapshot import forget, read_snapshot
from tests.store.test_seal import cells

ROOT = FilePath(__file__).parents[2]

#: Appends one event at a time and says, after each, how many it has handed over.
RECORDER = """
import itertools, os, sys
from logql.model import Enter, Logged, Step
from tests.store.history import Recorder
recorder = Recorder(sys.argv[1], sys.argv[2], chunk_bytes=2000)
for n in itertools.count():
    path = (Step("epoch", 0, n),)
    recorder.append([Enter(path, n, 2 * n, 1.0 + n), Logged(path, "x", n / 4, 2 * n + 1, 0, 1.0 + n)])
    os.write(1, b".")
"""

#: Reads again and again; every run must be a prefix, at least as long as it was before.
READER = """
import sys
from logql.store.snapshot import read_snapshot
from tests.store.test_seal import cells
known = {}
while True:
    snapshot = read_snapshot(sys.argv[1])
    runs = {}
    for run, epoch, x in cells(snapshot, "epoch", "run", "epoch", "x") if "epoch" in snapshot.levels else ():
        runs.setdefault(run, []).append((epoch, x))
    assert {run.id for run in snapshot.runs} >= set(known)
    for run, found in runs.items():
        found = [pair for pair in sorted(found)]
        # the last iteration may have begun without its value
        assert [epoch for epoch, _ in found] == list(range(len(found))), (run, found)
        assert all(x == epoch / 4 for epoch, x in found[:-1]), (run, found)
        assert len(found) >= known.get(run, 0), (run, len(found), known[run])
        known[run] = len(found)
"""


@pytest.fixture
def store(tmp_path: FilePath) -> Iterator[str]:
    path = str(tmp_path / ".logql")
    Catalog.open(path, create=True).close()
    yield path
    forget()


def start(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script, *arguments], cwd=ROOT, stdout=subprocess.PIPE, bufsize=0)


def count(process: subprocess.Popen[bytes]) -> int:
    """How many events a dead recorder had handed over."""
    assert process.stdout is not None
    with process.stdout:
        return len(process.stdout.read())


@pytest.mark.parametrize(
    ("kills", "recorders", "readers"), [(16, 3, 1), pytest.param(200, 8, 4, marks=pytest.mark.slow)]
)
def test_killed_recorders_lose_and_double_nothing(store: str, kills: int, recorders: int, readers: int) -> None:
    chance = random.Random(7)
    live: dict[str, subprocess.Popen[bytes]] = {}
    handed: dict[str, int] = {}
    reading = [start(READER, store) for _ in range(readers)]
    try:
        for number in range(kills + recorders):
            if number < kills:
                live[f"01{number:04}"] = start(RECORDER, store, f"01{number:04}")
            if len(live) < recorders and number < kills:
                continue
            time.sleep(chance.random() * 0.5)
            victim = chance.choice(sorted(live)) if live else None
            if victim is not None:
                process = live.pop(victim)
                process.send_signal(signal.SIGKILL)
                process.wait()
                handed[victim] = count(process)
            if number % 8 == 7:
                compact.compact(store)
            assert all(process.poll() is None for process in reading)
    finally:
        for process in (*live.values(), *reading):
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    snapshot = read_snapshot(store)
    found: dict[str, list[float]] = {}
    for run, _, x in sorted(cells(snapshot, "epoch", "run", "epoch", "x")):
        if x is not None:
            found.setdefault(run, []).append(x)
    for run, events in handed.items():
        values = found.get(run, [])
        assert values == [n / 4 for n in range(len(values))]
        assert events <= len(values) <= events + 1
    assert {run.status for run in snapshot.runs} == {"killed"}
    assert len(handed) == kills
    assert [name for name in os.listdir(os.path.join(store, "wal")) if not name.endswith((".lock", ".seal"))] == []
    forget()
    assert doctor.check(store) == []
