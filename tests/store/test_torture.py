"""Recorders that are killed again and again while readers read: nothing that was handed over is lost or doubled."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from logql.store import compact, doctor, seal
from logql.store.catalog import Catalog
from logql.store.snapshot import forget, read_snapshot
from tests.store.nursery import ROOT, Nursery
from tests.store.test_seal import cells

#: Reads again and again; every run must be a prefix, at least as long as it was before. Tells each snapshot by a byte.
READER = """
import os, sys
from logql.store.snapshot import read_snapshot
from tests.store.test_seal import cells
known = {}
while True:
    snapshot = read_snapshot(sys.argv[1])
    runs, outside = {}, {}
    for run, epoch, x in cells(snapshot, "epoch", "run", "epoch", "x") if "epoch" in snapshot.levels else ():
        runs.setdefault(run, []).append((epoch, x))
    for run, seq, y in cells(snapshot, "run", "run", "_seq", "y") if "epoch" in snapshot.levels else ():
        outside.setdefault(run, []).append((seq, y))
    assert {run.id for run in snapshot.runs} >= set(known)
    for run, found in runs.items():
        found = [pair for pair in sorted(found)]
        # the last iteration may have begun without its value
        assert [epoch for epoch, _ in found] == list(range(len(found))), (run, found)
        assert all(x == epoch / 4 for epoch, x in found[:-1]), (run, found)
        assert len(found) >= known.get(run, 0), (run, len(found), known[run])
        known[run] = len(found)
        values = [y for _, y in sorted(outside[run]) if y is not None]
        assert values == [n / 4 for n in range(len(values))], (run, values)
        assert len(found) - 1 <= len(values) <= len(found), (run, len(found), len(values))
    os.write(1, b".")
"""

#: Seals what is over in the runs that go on, and the dead.
SEALER = """
import sys
from logql.store import partial, seal
from logql.store.catalog import Catalog
partial.PART_BYTES = 1
with Catalog.open(sys.argv[1]) as catalog:
    while True:
        for run in catalog.unsealed_runs():
            seal.seal_run(sys.argv[1], run.id, wait=0.0)
"""


@pytest.fixture
def store(tmp_path: FilePath) -> Iterator[str]:
    path = str(tmp_path / ".logql")
    Catalog.open(path, create=True).close()
    yield path
    forget()


def start(script: str, store: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script, store], cwd=ROOT, stdout=subprocess.PIPE, bufsize=0)


def torture(
    store: str, folder: FilePath, kills: int, recorders: int, reading: list[subprocess.Popen[bytes]], kind: str
) -> dict[str, int]:
    """Keep `recorders` alive, kill one at a time, and sealers; gives how many values each had handed over."""
    chance = random.Random(7)
    live: list[str] = []
    handed: dict[str, int] = {}
    nursery = Nursery(store, folder)
    sealer = start(SEALER, store)
    try:
        for number in range(kills + recorders - 1):
            if number < kills:
                live.append(f"01{number:04}")
                nursery.start(live[-1], kind)
            if number < recorders - 1:
                continue
            time.sleep(chance.random() * 0.05)
            victim = live.pop(chance.randrange(len(live)))
            if number % 2:
                nursery.wait(victim)
            handed[victim] = nursery.kill(victim)
            if number % 40 == 39:
                compact.compact(store)
                stop(sealer)
                sealer = start(SEALER, store)
            assert all(process.poll() is None for process in reading)
    finally:
        nursery.close()
        stop(sealer)
    return handed


def stop(process: subprocess.Popen[bytes]) -> int:
    """Kill a process; gives how many snapshots it said that it took. It must not have ended by itself."""
    failed = process.poll()
    process.kill()
    told, _ = process.communicate()
    assert failed is None
    return len(told)


def took_one(reader: subprocess.Popen[bytes]) -> int:
    """Wait for a reader's first snapshot: on a busy machine, all recorders may have been killed by then."""
    assert reader.stdout is not None
    return len(reader.stdout.read(1))


def check_all_there(store: str, handed: dict[str, int]) -> None:
    """Every value that was handed over is there once; one more may be, whose writer died before it could tell."""
    seal.recover(store)
    snapshot = read_snapshot(store)
    names = {run.id: run.name or run.id for run in snapshot.runs}
    found: dict[str, list[float]] = {}
    for run, _, x in sorted(cells(snapshot, "epoch", "run", "epoch", "x")):
        if x is not None:
            found.setdefault(names[run], []).append(x)
    outside: dict[str, list[float]] = {}
    for run, _, y in sorted(cells(snapshot, "run", "run", "_seq", "y")):
        if y is not None:
            outside.setdefault(names[run], []).append(y)
    for run, count in handed.items():
        assert count <= len(outside.get(run, [])) <= count + 1
        assert outside.get(run, []) == [n / 4 for n in range(len(outside.get(run, [])))]
        values = found.get(run, [])
        assert values == [n / 4 for n in range(len(values))]
        own = [one for one in snapshot.runs if names[one.id] == run]
        assert count <= len(values) <= count + 1, (run, own, len(found))
    assert {run.status for run in snapshot.runs} == {"killed"}


@pytest.mark.parametrize(
    ("kills", "recorders", "readers", "kind"),
    [
        (200, 8, 2, "bare"),
        pytest.param(2000, 8, 4, "bare", marks=[pytest.mark.slow, pytest.mark.timeout(3000)]),
        pytest.param(200, 8, 4, "api", marks=[pytest.mark.slow, pytest.mark.timeout(3000)]),
    ],
)
def test_killed_recorders_lose_and_double_nothing(
    store: str, tmp_path: FilePath, kills: int, recorders: int, readers: int, kind: str
) -> None:
    reading = [start(READER, store) for _ in range(readers)]
    try:
        handed = torture(store, tmp_path, kills, recorders, reading, kind)
    finally:
        taken = [took_one(reader) + stop(reader) for reader in reading]
    assert len(handed) == kills
    assert sum(handed.values()) > kills
    assert min(taken) > 0
    check_all_there(store, handed)
    left = [name for name in os.listdir(os.path.join(store, "wal")) if not name.endswith((".lock", ".main", ".seal"))]
    assert left == []
    forget()
    assert doctor.check(store) == []
