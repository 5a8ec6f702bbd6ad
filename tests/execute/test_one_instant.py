"""A query over missing cells is planned, filled and answered over one state of own tables and of the clock."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from logql import session as session_module
from logql.catalog.history import History
from logql.errors import Error
from logql.filling import Filled
from logql.model import Segment
from logql.options import Options
from logql.session import Session
from logql.store.fills import write_fill
from logql.store.snapshot import forget
from tests.execute.traces import parse_traces
from tests.plan.histories import Past, Placed, fill_of
from tests.store.history import record

TRACE = """
run A
epoch 0
  acc = 7
  gn = 1
epoch 1
  acc = 8
  gn = 2
"""


class Changes:
    """A filler that looks values up, while somebody else changes an own table."""

    def __init__(self, store: str, hidden: Past) -> None:
        self.store = store
        self.past = hidden
        self.other: Session | None = None
        self.filled: list[int] = []

    def fill(self, segments: Sequence[Segment], history: History, query: str, options: Options) -> Filled:  # noqa: ARG002
        if self.other is not None:
            self.other.execute("INSERT INTO mine VALUES (1)")
        found = []
        for segment in segments:
            fill, events = fill_of(segment, self.past.hidden[segment.run], len(self.filled))
            write_fill(self.store, fill, events)
            self.filled += segment.wanted
            found.append(fill)
        return Filled(tuple(found))


@pytest.fixture
def changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Changes:
    (trace,) = parse_traces(TRACE)
    kept, hidden = [], []
    for event in trace.events[0]:
        if getattr(event, "name", None) == "gn":
            hidden.append(event._replace(seq=len(kept) - 1, sub=1))
        else:
            kept.append(event._replace(seq=len(kept)))
    store = str(tmp_path / ".logql")
    record(store, "A", kept, "old")
    sources = Placed({"gn": (("epoch",),)}, frozenset({"gn"}))
    monkeypatch.setattr(session_module, "ProjectSources", lambda *_: sources)
    return Changes(store, Past([], [], {"A": hidden}, sources))


def test_own_tables_stand_still_while_a_query_is_filled(changes: Changes, tmp_path: Path) -> None:
    asking = Session(changes.store, str(tmp_path), filler=changes)
    changes.other = Session(changes.store, str(tmp_path))
    try:
        changes.other.execute("CREATE TABLE mine AS SELECT 0 AS e")
        sql = "SELECT epoch, gn FROM logs WHERE epoch IN (SELECT e FROM mine)"
        assert asking.execute(sql).answer.table.to_pylist() == [{"epoch": 0, "gn": 1}]
        assert changes.filled == [0]
        assert asking.execute("SELECT count(*) AS n FROM mine").answer.table.to_pylist() == [{"n": 2}]
    finally:
        asking.close()
        changes.other.close()
        forget(changes.store)


def test_an_error_leaves_no_transaction_behind(changes: Changes, tmp_path: Path) -> None:
    asking = Session(changes.store, str(tmp_path), filler=changes)
    try:
        asking.execute("CREATE TABLE mine AS SELECT 'x' AS e")
        with pytest.raises(Error):
            asking.execute("SELECT gn, (SELECT CAST(e AS INTEGER) FROM mine) FROM logs")
        asking.execute("BEGIN")
        rows = asking.execute("SELECT gn, now() = now() AS same FROM logs WHERE epoch = 1").answer.table.to_pylist()
        assert rows == [{"gn": 2, "same": True}]
        asking.execute("COMMIT")
    finally:
        asking.close()
        forget(changes.store)
