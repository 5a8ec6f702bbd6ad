"""Every example of the row rule, through binder and engine."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from logql.catalog.history import History
from logql.execute.engine import Database, Engine
from logql.sql.binder import bind_query
from tests.execute.examples import ROWS, Example, read_examples
from tests.execute.traces import parse_traces, snapshot_of
from tests.execute.worlds import TestWorld

EXAMPLES = [example for example in read_examples() if not example.section.startswith(("15.",))]


@pytest.fixture
def engine() -> Iterator[Engine]:
    database = Database("/nowhere")
    found = Engine(database)
    yield found
    found.close()
    database.close()


def test_all_sections_are_read() -> None:
    assert len({example.section for example in read_examples()}) == 21
    queries = [example.query for example in read_examples()]
    assert queries == re.findall(r"^`(SELECT .*?)`", ROWS.read_text(), re.MULTILINE)
    assert len(queries) == 53


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_example(example: Example, engine: Engine) -> None:
    history = History(snapshot_of(parse_traces(example.trace)))
    engine.use(history, {"run": {}, "version": {}, "column": {}})
    answer = engine.run(bind_query(example.query, TestWorld(history, engine)))
    rows = sorted(tuple(_text(value) for value in row.values()) for row in _rows(answer.table))
    if example.query.startswith("SELECT avg"):
        assert rows == [(_average(example),)]
    else:
        assert rows == sorted(example.rows)


def _rows(table: object) -> list[dict[str, object]]:
    found: list[dict[str, object]] = table.to_pylist()  # type: ignore[attr-defined]
    return found


def _average(example: Example) -> str:
    """The text gives the rows that an average is taken over."""
    place = example.columns.index("acc")
    values = [float(row[place]) for row in example.rows]
    return _text(sum(values) / len(values))


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)
