"""Sidecars: values and their fill appear together, with the columns that docs/architecture.md lists."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pyarrow.parquet as pq
import pytest

from logql.errors import StoreError
from logql.model import Enter, Event, Fill, Logged, Path, Step
from logql.store import publish
from logql.store.catalog import Catalog
from logql.store.fills import write_fill
from logql.store.snapshot import forget, read_snapshot
from tests.store.history import epochs, record


@pytest.fixture
def store(tmp_path: FilePath) -> Iterator[str]:
    yield str(tmp_path / ".logql")
    forget()


def a_fill(id_: str = "f1", run: str = "01A", **changes: Any) -> Fill:
    values: dict[str, Any] = {
        "id": id_, "query": "SELECT gnorm FROM logs", "run": run, "version": "a" * 12, "names": {"gnorm": "p"},
        "loop": "epoch", "entry": 0, "first_index": 1, "last_index": 2, "state": "done", "fidelity": "exact",
        "started_at": 5.0, **changes,
    }  # fmt: skip
    return Fill(**values)


def at(epoch: int, step: int | None = None) -> Path:
    path = (Step("epoch", 0, epoch),)
    return path if step is None else (*path, Step("step", 0, step))


def hindsight(store: str, level: str, *columns: str) -> list[tuple[Any, ...]]:
    pieces = read_snapshot(store).hindsight.get(level, ())
    tables = [pq.ParquetFile(piece.path).read() for piece in pieces]
    return [tuple(row.get(name) for name in columns) for table in tables for row in table.to_pylist()]


def test_values_and_fill_appear_together(store: str) -> None:
    record(store, "01A", epochs(3, 2))
    read_snapshot(store)
    write_fill(store, a_fill(), [
        Logged(at(1), "gnorm", 0.5, 9, 1, 1.0), Logged(at(2), "gnorm", None, 15, 1, 1.0),
        Logged(at(1, 0), "z", 7, 7, 1, 1.0),
    ])  # fmt: skip
    snapshot = read_snapshot(store)
    assert snapshot.fills == (a_fill(),)
    columns = ("run", "_fill", "epoch", "epoch_index", "ts", "_seq", "_sub", "_part", "_null", "gnorm")
    assert hindsight(store, "epoch", *columns) == [
        ("01A", "f1", None, 1, None, 9, 1, None, None, 0.5),
        ("01A", "f1", None, 2, None, 15, 1, None, ["gnorm"], None),
    ]
    assert hindsight(store, "epoch.step", "epoch_index", "step_index", "z") == [(1, 0, 7)]
    (piece,) = snapshot.hindsight["epoch"]
    assert piece.path is not None
    assert os.path.relpath(piece.path, store) == "fills/epoch/versions=1-1/epochs=1-2/f1.parquet"


def test_a_name_logged_twice_has_a_row_per_value(store: str) -> None:
    record(store, "01A", epochs(3))
    read_snapshot(store)
    events = [
        Logged(at(1), name, value, 4, sub, 1.0) for sub, (name, value) in enumerate([("a", 1), ("b", 2), ("a", 3)])
    ]
    write_fill(store, a_fill(), events)
    assert hindsight(store, "epoch", "_part", "_sub", "_order", "a", "b") == [
        (0, 0, ["a"], 1, None), (1, 1, ["b"], None, 2), (2, 2, ["a"], 3, None)
    ]  # fmt: skip


def test_where_the_record_has_repeats_every_value_keeps_its_place(store: str) -> None:
    events: list[Event] = [Enter(at(0), 0, 0, 1.0), Logged(at(0), "x", 1, 1, 0, 1.0), Logged(at(0), "x", 2, 2, 0, 1.0)]
    record(store, "01A", events)
    read_snapshot(store)
    write_fill(store, a_fill(), [Logged(at(0), "a", 1, 1, 1, 1.0), Logged(at(0), "b", 2, 2, 1, 1.0)])
    assert hindsight(store, "epoch", "_part", "_seq", "_sub", "a", "b") == [(0, 1, 1, 1, None), (1, 2, 1, None, 2)]


def test_a_run_level_value_and_a_failed_fill(store: str) -> None:
    record(store, "01A", epochs(3))
    read_snapshot(store)
    write_fill(store, a_fill(), [Logged((), "gnorm", 1.5, 3, 1, 1.0)])
    write_fill(store, a_fill("f2", state="failed", error="no place"), [])
    assert hindsight(store, "run", "run", "_fill", "gnorm") == [("01A", "f1", 1.5)]
    assert [fill.state for fill in read_snapshot(store).fills] == ["done", "failed"]


def test_a_fill_of_an_unknown_run_is_refused(store: str) -> None:
    record(store, "01A", epochs(3))
    with pytest.raises(StoreError, match="not in the catalog"):
        write_fill(store, a_fill(run="nobody"), [])


def test_an_attempt_that_failed_leaves_nothing_visible(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record(store, "01A", epochs(3))
    read_snapshot(store)
    events = [Logged(at(1), "gnorm", 0.5, 4, 1, 1.0)]
    with monkeypatch.context() as patch:
        patch.setattr(publish, "publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_fill(store, a_fill(), events)
    assert read_snapshot(store).fills == ()
    assert hindsight(store, "epoch", "gnorm") == []
    write_fill(store, a_fill(), events)
    assert hindsight(store, "epoch", "gnorm") == [(0.5,)]
    with Catalog.open(store) as catalog, catalog.connection.read() as db:
        assert db.execute("SELECT * FROM staged").fetchall() == []
