"""What references need: N, L, the columns that are used, stars, views, and what stays of the original text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from logql.catalog.history import History
from logql.execute.engine import Database, Engine
from logql.sql.binder import bind_query
from logql.sql.bound import STAR_META, BoundQuery
from logql.sql.parser import parse_statement
from logql.sql.statements import CreateKept
from tests.execute.traces import parse_traces, snapshot_of
from tests.execute.worlds import TestWorld

TRACE = """
arg lr = 0.1
size = 3
epoch 0
  step 0
    loss = 5
  acc = 7
"""


@pytest.fixture(scope="module")
def world() -> Iterator[TestWorld]:
    database = Database("/nowhere-binder")
    engine = Engine(database)
    engine.execute("CREATE TABLE mine (a INTEGER, epoch INTEGER)")
    found = TestWorld(History(snapshot_of(parse_traces(TRACE))), engine)
    for sql in (
        "CREATE VIEW good AS SELECT run, acc FROM logs",
        "CREATE MACRO above(x) AS TABLE SELECT epoch FROM logs WHERE acc > x",
        "CREATE MACRO twice(x) AS x * 2",
        "CREATE MACRO big() AS loss > 3",
    ):
        statement = parse_statement(sql)
        assert isinstance(statement, CreateKept)
        found.statements[statement.kind, statement.name] = statement
    yield found
    engine.execute("DROP TABLE mine")
    engine.close()
    database.close()


def needs(bound: BoundQuery) -> list[tuple[str, str, str]]:
    """(relation, N, L) of each reference."""
    return [(ref.relation, " ".join(sorted(ref.names)), " ".join(sorted(ref.loops))) for ref in bound.refs]


ALL = "acc loss size"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) FROM logs", [("logs", "", "")]),
        ("SELECT run, lr FROM logs", [("logs", "", "")]),
        ("SELECT acc FROM logs ORDER BY loss", [("logs", "acc loss", "")]),
        ("SELECT epoch_index FROM logs", [("logs", "", "epoch")]),
        ("SELECT acc AS loss FROM logs ORDER BY loss", [("logs", "acc", "")]),
        ("SELECT acc AS x FROM logs GROUP BY x, step", [("logs", "acc", "step")]),
        ("SELECT * FROM logs", [("logs", ALL, "epoch step")]),
        ("SELECT l.* FROM logs l", [("logs", ALL, "epoch step")]),
        ("SELECT * EXCLUDE (loss) FROM logs", [("logs", "acc size", "epoch step")]),
        ("SELECT * REPLACE (acc + 1 AS acc) FROM logs", [("logs", ALL, "epoch step")]),
        ("SELECT COLUMNS('l') FROM logs", [("logs", "loss", "")]),
        ("SELECT max(COLUMNS(*)) FROM logs", [("logs", ALL, "epoch step")]),
        ("SELECT l FROM logs l", [("logs", ALL, "epoch step")]),
        ("SELECT \"acc@epoch\" FROM logs", [("logs", "acc@epoch", "")]),
        ("SELECT a.acc, b.loss FROM logs a JOIN logs b USING (run, epoch)",
         [("logs", "acc", "epoch"), ("logs", "loss", "epoch")]),
        ("SELECT a FROM mine JOIN logs USING (epoch)", [("logs", "", "epoch")]),
        ("SELECT a, acc FROM mine, logs", [("logs", "acc", "")]),
        ("SELECT acc FROM logs l WHERE EXISTS (SELECT 1 FROM logs m WHERE m.loss > l.size)",
         [("logs", "acc size", ""), ("logs", "loss", "")]),
        ("SELECT acc FROM logs WHERE loss IN (SELECT size FROM runs)",
         [("logs", "acc loss", ""), ("runs", "size", "")]),
        ("WITH c AS (SELECT acc, epoch FROM logs) SELECT acc FROM c", [("logs", "acc", "epoch")]),
        ("WITH logs AS (SELECT 1 AS x) SELECT x FROM logs", []),
        ("SELECT acc FROM (SELECT * FROM logs)", [("logs", ALL, "epoch step")]),
        ("SELECT run FROM logs UNION SELECT version FROM logs", [("logs", "", ""), ("logs", "", "")]),
        ("SELECT acc FROM epoch e", [("epoch", "acc", "")]),
        ("SELECT acc, avg(acc) OVER (PARTITION BY run ORDER BY step) FROM logs", [("logs", "acc", "step")]),
        ("SELECT acc FROM logs QUALIFY row_number() OVER (ORDER BY loss) = 1", [("logs", "acc loss", "")]),
        ("PIVOT logs ON epoch USING avg(acc) GROUP BY run", [("logs", "acc", "epoch")]),
        ("PIVOT logs ON epoch USING avg(acc)", [("logs", ALL, "epoch step")]),
        ("FROM logs", [("logs", ALL, "epoch step")]),
        ("SELECT * FROM good", [("logs", "acc", "")]),
        ("SELECT run FROM good", [("logs", "acc", "")]),
        ("SELECT * FROM above(3)", [("logs", "acc", "epoch")]),
        ("SELECT twice(acc) FROM logs", [("logs", "acc", "")]),
        ("SELECT acc FROM logs WHERE big()", [("logs", "acc loss", "")]),
        ("SELECT acc FROM logs, LATERAL (SELECT loss + 1 AS y) t", [("logs", "acc loss", "")]),
        ("SELECT list_transform([1], lambda q: q + acc) FROM logs", [("logs", "acc", "")]),
        ("SELECT ACC FROM LOGS", [("logs", "acc", "")]),
        ("SELECT DISTINCT ON (loss) acc FROM logs", [("logs", "acc loss", "")]),
        ("CREATE TABLE t AS SELECT acc FROM logs", [("logs", "acc", "")]),
        ("COPY (SELECT acc FROM logs) TO 'x.csv'", [("logs", "acc", "")]),
        ("DESCRIBE epoch", [("epoch", "acc size", "epoch")]),
    ],
)  # fmt: skip
def test_what_references_need(world: TestWorld, sql: str, expected: list[tuple[str, str, str]]) -> None:
    assert needs(bind_query(sql, world)) == expected


def test_written_trees_warn_of_nothing(world: TestWorld, caplog: pytest.LogCaptureFixture) -> None:
    bound = bind_query("SELECT any_value(loss), any_value(loss) FILTER (loss > 0) FROM logs", world)
    assert bound.tree.sql(dialect="duckdb").count("ANY_VALUE(") == 2
    assert not caplog.records


def test_the_text_stays_as_it_was_written(world: TestWorld) -> None:
    sql = "SELECT /* all */ acc::DECIMAL(9, 3) FROM logs WHERE acc >= 1e3 -- end"
    bound = bind_query(sql, world)
    assert bound.patches is not None
    (patch,) = bound.patches
    assert (sql[patch.start : patch.end], patch.suffix) == ("logs", ' AS "logs"')


def test_stars_are_marked_in_the_tree(world: TestWorld) -> None:
    bound = bind_query("SELECT run AS r, * FROM (SELECT acc, * EXCLUDE (acc) FROM logs)", world)
    marks = {column.name: bool(column.meta.get(STAR_META)) for column in bound.tree.expressions}
    assert marks["acc"] is False
    assert marks["loss"] is True


def test_columns_carry_their_source(world: TestWorld) -> None:
    tree = bind_query("SELECT acc, m.a FROM logs l JOIN mine m USING (epoch) WHERE loss > 1", world).tree
    assert tree.sql(dialect="duckdb") == (
        'SELECT "l"."acc", "m"."a" FROM logs AS l JOIN mine AS m USING (epoch) WHERE "l"."loss" > 1'
    )
