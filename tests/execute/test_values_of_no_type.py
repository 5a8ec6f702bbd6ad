"""Values that have no type of their own: empty lists, and None inside of lists and structs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

import logql
from logql.model import Enter, Event, Logged, Step
from logql.store import seal
from logql.store.snapshot import forget
from tests.store.history import record


@pytest.fixture
def store(tmp_path: FilePath) -> Iterator[str]:
    path = str(tmp_path / ".logql")
    yield path
    forget()


def _run(store: str, run: str, names: dict[str, object]) -> None:
    path = (Step("epoch", 0, 0),)
    events: list[Event] = [Enter(path, 0, 0, 1.0)]
    events += [Logged(path, name, value, seq, 0, 2.0) for seq, (name, value) in enumerate(names.items(), 1)]
    record(store, run, events)


@pytest.mark.parametrize("sealed", [False, True])
def test_they_are_read_beside_runs_that_lack_them(store: str, sealed: bool) -> None:
    _run(store, "0100", {"acc": 0.5, "none": [], "part": {"a": None, "b": "x"}, "deep": [[None]]})
    _run(store, "0101", {"acc": 0.25})
    if sealed:
        seal.recover(store)
    with logql.connect(store, replay="off") as connection:
        found = connection.execute("SELECT acc, none, part, deep FROM logs ORDER BY run").fetchall()
        assert found == [(0.5, [], {"a": None, "b": "x"}, [[None]]), (0.25, None, None, None)]
        assert connection.execute("SELECT count(*) FROM logs WHERE none IS NOT NULL").fetchall() == [(1,)]


def test_a_later_value_gives_them_its_type(store: str) -> None:
    _run(store, "0100", {"many": [], "part": {"a": None}})
    _run(store, "0101", {"many": ["x"], "part": {"a": 2}})
    for _ in range(2):
        with logql.connect(store, replay="off") as connection:
            found = connection.execute("SELECT many, part.a FROM logs ORDER BY run").fetchall()
            assert found == [([], None), (["x"], 2)]
        seal.recover(store)
