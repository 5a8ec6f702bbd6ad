"""A name that is logged again in its context, asked for alone: a row for each time, read from the parts as they are."""

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


def test_each_time_is_a_row(store: str) -> None:
    events: list[Event] = []
    expected = []
    for epoch in range(3):
        path = (Step("epoch", 0, epoch),)
        events.append(Enter(path, epoch, len(events), 1000.0 + len(events)))
        for time in range(4):
            value = None if time == 2 else "n/a" if time == 3 else epoch + time / 4
            expected.append((epoch, value if time < 2 else None))
            events.append(Logged(path, "loss", value, len(events), 0, 1000.0 + len(events)))
            if time % 2:
                events.append(Logged(path, "acc", 0.5, len(events), 0, 1000.0 + len(events)))
    record(store, "0100", events)
    for _ in range(2):  # as a stream, then as files
        with logql.connect(store, replay="off") as connection:
            found = connection.execute("SELECT epoch, loss FROM logs ORDER BY epoch, loss NULLS LAST").fetchall()
            assert found == expected
            assert connection.execute("SELECT count(*) FROM logs WHERE acc > 0").fetchall() == [(6,)]
            counts = connection.execute("SELECT name, recorded, other_type FROM columns ORDER BY name").fetchall()
            assert counts == [("acc", 6, 0), ("loss", 9, 3)]
        forget()
        seal.recover(store)
