"""Faults at every step of a seal, a fill and a compaction: it fails there, or the process dies there.

After reopening, the answers equal those before or those after, and trying again gives those after. A step is a sync, a
rename, a new directory, an unlink, a Parquet file (then half of it is there), and the begin and end of a transaction.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import pyarrow.parquet as pq
import pytest

from logql.errors import StoreError
from logql.model import Logged, Step
from logql.store import compact, connection, doctor, layout, partial, seal, wal
from logql.store.fills import write_fill
from logql.store.snapshot import forget, read_snapshot
from tests.store.history import Recorder, epochs, record
from tests.store.test_compact import everything
from tests.store.test_fills import a_fill
from tests.store.test_partial import check
from tests.store.test_seal import files

STEPS = 60
#: Every step takes minutes; the usual run takes one in eleven, beginning elsewhere where the process dies.
EVERY = pytest.mark.parametrize("stride", [11, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])


class Fault:
    """Counts steps and at one of them fails with EIO, or dies."""

    def __init__(self, at: int, dies: bool) -> None:
        self.at = at
        self.dies = dies
        self.count = 0

    def step(self) -> None:
        self.count += 1
        if self.count != self.at:
            return
        if self.dies:
            os._exit(9)
        raise OSError(errno.EIO, "injected")

    @contextlib.contextmanager
    def injected(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("fsync", "replace", "mkdir", "unlink", "rmdir"):
                patch.setattr(os, name, self._around(getattr(os, name)))
            patch.setattr(pq, "write_table", self._around(pq.write_table, self._tear))
            patch.setattr(connection.Connection, "write", self._write())
            yield

    def _around(self, function: Callable[..., Any], spoil: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.step()
            found = function(*args, **kwargs)
            if spoil is not None:
                spoil(*args)
            self.step()
            return found

        return wrapped

    def _tear(self, _: object, path: str) -> None:
        """Leave half of a file where the next step fails."""
        if self.count + 1 == self.at:
            os.truncate(path, os.path.getsize(path) // 2)

    def _write(self) -> Callable[..., Any]:
        original = connection.Connection.write

        @contextlib.contextmanager
        def wrapped(own: connection.Connection, *, durable: bool = False) -> Iterator[connection.Transaction]:
            self.step()
            with original(own, durable=durable) as txn:
                yield txn
                self.step()
            self.step()

        return wrapped


@pytest.fixture
def store(tmp_path: FilePath) -> Iterator[str]:
    yield str(tmp_path / ".logql")
    forget()


def attempt(action: Callable[[], object], at: int, dies: bool) -> bool:
    """Do `action` with a fault at step `at`; whether the fault was reached."""
    fault = Fault(at, dies)
    if not dies:
        with fault.injected(), contextlib.suppress(OSError, StoreError):
            action()
        return fault.count >= at
    forget()
    child = os.fork()
    if child == 0:
        try:
            with fault.injected():
                action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def answers(store: str) -> tuple[Any, Any]:
    forget()
    snapshot = read_snapshot(store, read_only=True)
    tables = [pq.ParquetFile(piece.path).read(["run", "gnorm"]) for piece in snapshot.hindsight.get("epoch", ())]
    found = sorted(tuple(row.values()) for table in tables for row in table.to_pylist())
    forget()
    return everything(snapshot), found


@EVERY
@pytest.mark.parametrize("dies", [False, True])
def test_a_seal_that_meets_a_fault(store: str, dies: bool, stride: int) -> None:
    record(store, "00", epochs(2, 1))
    before = answers(store)
    reached = 0
    for at in range(1 + (stride // 2) * dies, STEPS * 2, stride):
        run = f"{at:02}"
        record(store, run, epochs(2, 1, seed=at))
        expected = answers(store)[0]
        if not attempt(lambda: seal.seal_run(store, run), at, dies):  # noqa: B023
            break
        reached += 1
        assert answers(store)[0] == expected
        seal.seal_run(store, run)
        assert answers(store)[0] == expected
        assert doctor.check(store) == []
        assert [name for name in os.listdir(os.path.join(store, layout.WAL)) if run in name] == []
    assert 20 // stride < reached
    assert before[0]["epoch"] == answers(store)[0]["epoch"][:2]


@EVERY
@pytest.mark.parametrize("dies", [False, True])
def test_a_seal_of_a_run_that_goes_on_and_meets_a_fault(
    store: str, dies: bool, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial, "PART_BYTES", 4000)
    recorder = Recorder(store, "01A", chunk_bytes=1200)
    events = epochs(600, 5, outside=True)
    there = 0
    for at in range(1 + (stride // 2) * dies, STEPS * 3, stride):
        while len(wal.list_chunks(store)) < 7:
            recorder.append(events[there : there + 30])
            there += 30
        hit = attempt(lambda: seal.seal_run(store, "01A"), at, dies)
        check(store, events[:there])
        seal.seal_run(store, "01A")
        assert len(wal.list_chunks(store)) < 7
        check(store, events[:there])
        assert doctor.check(store) == []
        if not hit:
            break
    assert 30 < at < STEPS * 3 - stride
    recorder.finish()
    check(store, events[:there])
    assert os.listdir(os.path.join(store, layout.WAL)) == []


@EVERY
@pytest.mark.parametrize("dies", [False, True])
def test_a_fill_that_meets_a_fault(store: str, dies: bool, stride: int) -> None:
    record(store, "0100", epochs(3, 1))
    seal.recover(store)
    path = (Step("epoch", 0, 1),)
    for at in range(1 + (stride // 2) * dies, STEPS, stride):
        before = answers(store)
        fill = a_fill(f"f{at}", run="0100")
        events = [Logged(path, "gnorm", float(at), 5, 1, 1.0)]
        after = before[0], [*before[1], ("0100", float(at))]
        hit = attempt(lambda: write_fill(store, fill, events), at, dies)  # noqa: B023
        found = answers(store)
        assert found in (before, after)
        assert (fill.id in {one.id for one in read_snapshot(store).fills}) == (found == after)
        forget()
        if not hit:
            break
        if found == before:
            write_fill(store, fill, events)
        assert answers(store) == after
        assert doctor.check(store) == []
    assert 10 < at < STEPS - stride


@EVERY
@pytest.mark.parametrize("dies", [False, True])
def test_a_compaction_that_meets_a_fault(store: str, dies: bool, stride: int) -> None:
    record(store, "0000", epochs(3, 2))
    seal.recover(store)
    for at in range(1 + (stride // 2) * dies, STEPS * 4, stride):
        record(store, f"{at:04}", epochs(1, 1, seed=at))
        seal.recover(store)
        before = answers(store)
        hit = attempt(lambda: compact.compact(store), at, dies)
        assert answers(store) == before
        compact.compact(store)
        assert answers(store) == before
        assert len(files(store)) == 4
        assert doctor.check(store) == []
        if not hit:
            break
    assert 30 < at < STEPS * 4 - stride
