"""What concerns no virtual column means what it means in DuckDB: the same statements, the same Arrow tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from logql import dbapi
from logql.sql.split import split_statements
from logql.store.snapshot import forget
from tests.cases.runner import write_history

STATEMENTS = split_statements((Path(__file__).parent / "duckdb.sql").read_text())
HISTORY = """
run A
epoch 0
  acc = 3
  gap = 1
epoch 1
  acc = 5
epoch 2
  acc = 8
run B
epoch 0
  acc = 2
epoch 1
  acc = 6
  gap = None
"""


@pytest.fixture
def both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[dbapi.Connection, duckdb.DuckDBPyConnection]]:
    """A connection to a store, and plain DuckDB in which the recorded relation is a table."""
    store = str(tmp_path / ".logql")
    write_history(store, HISTORY)
    monkeypatch.chdir(tmp_path)
    plain = duckdb.connect(config={"python_enable_replacements": False})
    with dbapi.connect(store) as connection:
        plain.register("_recorded", connection.execute("SELECT * FROM epoch").arrow())
        plain.execute("CREATE TABLE epoch AS FROM _recorded")
        plain.unregister("_recorded")
        yield connection, plain
    plain.close()
    forget(store)


def plainly(plain: duckdb.DuckDBPyConnection, sql: str) -> pa.Table | str | None:
    """What DuckDB answers: a table, the class of its error, or nothing."""
    try:
        found = plain.sql(sql)
        return found.to_arrow_table() if found is not None else None
    except duckdb.Error as error:
        return f"error: {type(error).__name__}"


def through_logql(connection: dbapi.Connection, sql: str) -> pa.Table | str | None:
    """The same through logql."""
    cursor = connection.cursor()
    try:
        cursor.execute(sql)
    except dbapi.Error:
        return "error"
    return cursor.arrow() if cursor.description is not None else None


def differs(ours: pa.Table | str | None, theirs: pa.Table | str | None) -> str | None:
    """How two answers differ; the counts that DuckDB gives for statements that change rows are no result."""
    if isinstance(ours, str) or isinstance(theirs, str):
        return None if isinstance(ours, str) and isinstance(theirs, str) else f"{ours}\n{theirs}"
    if ours is None:
        return None if theirs is None or theirs.column_names in (["Count"], ["Success"]) else f"nothing\n{theirs}"
    if theirs is None:
        return f"{ours}\nnothing"
    same = ours.schema.equals(theirs.schema) and str(ours.to_pylist()) == str(theirs.to_pylist())
    return None if same else f"{ours.schema}\n{ours.to_pylist()}\n{theirs.schema}\n{theirs.to_pylist()}"


def test_answers_are_duckdbs(both: tuple[dbapi.Connection, duckdb.DuckDBPyConnection]) -> None:
    connection, plain = both
    wrong = []
    for sql in STATEMENTS:
        ours, theirs = through_logql(connection, sql), plainly(plain, sql)
        difference = differs(ours, theirs)
        if difference is not None:
            wrong.append(f"{sql}\n{difference}")
    assert not wrong, "\n\n".join([f"{len(wrong)} of {len(STATEMENTS)} differ", *wrong])


def test_the_list_is_long_and_its_statements_work(both: tuple[dbapi.Connection, duckdb.DuckDBPyConnection]) -> None:
    _, plain = both
    failed = [sql for sql in STATEMENTS if isinstance(plainly(plain, sql), str)]
    assert len(STATEMENTS) - len(failed) >= 150
    assert len(failed) <= 5, failed
