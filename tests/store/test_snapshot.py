"""A reader's snapshot while others commit, end, die and seal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest

from logql.store import live, seal, snapshot
from logql.store.catalog import Catalog
from logql.store.snapshot import forget, read_snapshot
from tests.store.history import Recorder, epochs, record
from tests.store.test_seal import cells


@pytest.fixture
def store(tmp_path: FilePath) -> Iterator[str]:
    yield str(tmp_path / ".logql")
    forget()


def test_a_reader_seals_few_of_many_runs_and_reads_the_streams_of_the_rest(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "SEALING_S", 0.0)
    for number in range(4):
        record(store, f"01{number}", epochs(2, seed=number))
    for sealed in (1, 2, 3, 4, 4):
        found = read_snapshot(store)
        assert sum(piece.path is not None for piece in found.levels["epoch"]) == sealed
        assert len(cells(found, "epoch", "run", "acc")) == 8
        assert {run.status for run in found.runs} == {"finished"}


def test_commits_of_others_keep_no_reader_from_its_snapshot(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = Recorder(store, "01A")
    dead.append(epochs(2))
    dead.abandon()
    busy = Recorder(store, "01B")
    original = live.LiveRuns.read

    def read(self: live.LiveRuns, *arguments: Any) -> live.Live:
        busy.catalog.update_run("01B", name="busy")
        return original(self, *arguments)

    monkeypatch.setattr(live.LiveRuns, "read", read)
    found = read_snapshot(store, read_only=True)
    assert [run.status for run in found.runs] == ["killed", "running"]
    busy.abandon()


def test_a_run_that_ends_while_it_is_read_was_not_killed(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(store, "01A")
    recorder.append(epochs(2))
    original = live.LiveRuns.read

    def read(self: live.LiveRuns, *arguments: Any) -> live.Live:
        found = original(self, *arguments)
        if recorder.lock is not None and recorder.writer._descriptor >= 0:
            recorder.finish()
        return found

    monkeypatch.setattr(live.LiveRuns, "read", read)
    assert [run.status for run in read_snapshot(store, read_only=True).runs] == ["running"]
    assert [run.status for run in read_snapshot(store, read_only=True).runs] == ["finished"]


def test_a_run_that_is_sealed_while_it_is_read_is_there_once(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record(store, "01A", epochs(3))
    original = live.LiveRuns.read

    def read(self: live.LiveRuns, *arguments: Any) -> live.Live:
        seal.seal_run(store, "01A")
        return original(self, *arguments)

    monkeypatch.setattr(live.LiveRuns, "read", read)
    found = read_snapshot(store, read_only=True)
    assert len(cells(found, "epoch", "acc")) == 3
    with Catalog.open(store) as catalog:
        assert found.counter <= catalog.change_counter()


def test_a_run_that_just_ended_is_left_to_its_own_sealer(store: str) -> None:
    for number in range(3):
        record(store, f"01{number}", epochs(2, seed=number))
        with Catalog.open(store) as catalog:
            catalog.update_run(f"01{number}", ended_at=time.time())
    found = read_snapshot(store)
    assert [piece.path for piece in found.levels["epoch"]] == [None]
    assert found.levels["epoch"][0].rows == 6
    assert {run.status for run in found.runs} == {"finished"}
    with Catalog.open(store) as catalog:
        catalog.update_run("011", ended_at=time.time() - snapshot.OWN_SEALER_S - 1)
    found = read_snapshot(store)
    assert [piece.path is None for piece in found.levels["epoch"]] == [False, True]
    assert sorted(cells(found, "epoch", "run", "acc")) == [
        (f"01{number}", (number + epoch) / 64) for number in range(3) for epoch in range(2)
    ]
    with Catalog.open(store) as catalog:
        catalog.update_run("012", ended_at=time.time() + 1e6)  # a clock that went back keeps no run from its files
    assert sorted(piece.rows for piece in read_snapshot(store).levels["epoch"] if piece.path is not None) == [2, 2]
