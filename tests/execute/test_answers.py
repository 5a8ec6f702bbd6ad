"""What columns are called that a query gives no name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import logql
from logql.dbapi import Connection
from logql.model import Enter, Logged, Step
from logql.store.snapshot import forget
from tests.store.history import record


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    path = (Step("epoch", 0, 0),)
    record(str(tmp_path / ".logql"), "0100", [Enter(path, 0, 0, 1.0), Logged(path, "acc", 2, 1, 0, 2.0)])
    with logql.connect(str(tmp_path / ".logql")) as found:
        yield found
    forget()


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT acc, max(acc) AS m FROM logs GROUP BY acc", ["acc", "m"]),
        ("SELECT sum(acc), origin(acc) FROM logs GROUP BY ALL", ["sum(acc)", "origin(acc)"]),
        ("SELECT upper(origin(acc)) FROM logs", ["upper(origin(acc))"]),
        ("SELECT (SELECT acc FROM epoch) + 1", ["(SELECT acc FROM epoch) + 1"]),
        ("SELECT epoch, acc IN (SELECT acc FROM logs) FROM logs", ["epoch", "acc IN (SELECT acc FROM logs)"]),
        ("SELECT (SELECT 1), (SELECT count(*) FROM logs) AS n", ["(SELECT 1)", "n"]),
    ],
)
def test_columns_are_called_what_was_written(connection: Connection, sql: str, names: list[str]) -> None:
    assert [column[0] for column in connection.execute(sql).description or ()] == names
