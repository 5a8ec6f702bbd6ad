"""What sqlglot leaves to DuckDB is nobody's concern: nothing of it reaches the user's log or terminal."""

from __future__ import annotations

import logging

import pytest

from logql.sql.macros import parse


@pytest.mark.parametrize("sql", ["VACUUM logs", "EXPLAIN EXPLAIN SELECT 1", "CALL f(logs)"])
def test_nothing_is_told(sql: str, caplog: pytest.LogCaptureFixture) -> None:
    parse(sql)
    assert caplog.records == []
    logging.getLogger("sqlglot").warning("another's")
    assert [record.getMessage() for record in caplog.records] == ["another's"]
