"""logql's own statements, and that all others stay as they were written."""

from __future__ import annotations

import pytest

from logql.errors import ParseError
from logql.sql.parser import parse_statement
from logql.sql.statements import (
    Comment,
    CreateKept,
    CreateVirtual,
    DropKept,
    DropVirtual,
    Explain,
    FillColumns,
    Query,
    Setting,
    Statement,
    UnfillColumn,
)


@pytest.mark.parametrize(
    ("sql", "statement"),
    [
        ("EXPLAIN SELECT 1", Explain("", "SELECT 1", False, "text")),
        ("explain analyze SELECT 1", Explain("", "SELECT 1", True, "text")),
        ("EXPLAIN (FORMAT json) SELECT 1", Explain("", "SELECT 1", False, "json")),
        ("EXPLAIN (SELECT 1) UNION (SELECT 2)", Explain("", "(SELECT 1) UNION (SELECT 2)", False, "text")),
        ("EXPLAIN (ANALYZE, FORMAT JSON) SELECT 1", Explain("", "SELECT 1", True, "json")),
        ("FILL a", FillColumns("", ("a",), None)),
        ('FILL a, "b c" WHERE epoch > 3;', FillColumns("", ("a", "b c"), "epoch > 3")),
        ("UNFILL a WHERE x = ';'", UnfillColumn("", "a", "x = ';'")),
        (
            "CREATE VIRTUAL COLUMN g AS 'x + 1' AFTER 'loss.backward()' IN 'train.py'",
            CreateVirtual("", "g", "x + 1", "AFTER", "loss.backward()", "train.py", False),
        ),
        (
            "CREATE OR REPLACE VIRTUAL COLUMN g AS $$d['a']$$ BEFORE 'it''s'",
            CreateVirtual("", "g", "d['a']", "BEFORE", "it's", None, True),
        ),
        ("DROP VIRTUAL COLUMN IF EXISTS g", DropVirtual("", "g", True)),
        ("SET replay = 'off'", Setting("", "SET", "replay", "off")),
        ("SET replay_budget TO 10.5", Setting("", "SET", "replay_budget", "10.5")),
        ("SET SESSION replay_workers = auto", Setting("", "SET", "replay_workers", "auto")),
        ("RESET replay", Setting("", "RESET", "replay", None)),
        ("SHOW Replay", Setting("", "SHOW", "replay", None)),
        ("COMMENT ON COLUMN loss IS 'x'", Comment("", "column", "loss", "x")),
        ("COMMENT ON RUN '01AB' IS NULL", Comment("", "run", "01AB", None)),
        ("CREATE VIEW v AS SELECT 1", CreateKept("", "view", "v", (), "SELECT 1", True, False, False)),
        (
            "CREATE OR REPLACE MACRO m(a, b := 2) AS TABLE SELECT a",
            CreateKept("", "macro", "m", (("a", None), ("b", "2")), "SELECT a", True, True, False),
        ),
        ("CREATE MACRO IF NOT EXISTS f(a) AS a + 1",
         CreateKept("", "macro", "f", (("a", None),), "a + 1", False, False, True)),
        ("DROP MACRO TABLE m", DropKept("", "macro", "m", False)),
        ("DROP VIEW IF EXISTS v", DropKept("", "view", "v", True)),
    ],
)  # fmt: skip
def test_own_statements(sql: str, statement: Statement) -> None:
    found = parse_statement(sql)
    assert type(found) is type(statement)
    assert {**vars(found), "sql": ""} == vars(statement)


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1", "SET threads = 2", "SHOW DATABASES", "RESET threads", "COMMENT ON TABLE t IS 'x'", "DROP TABLE t",
     "CREATE TABLE t AS SELECT 1", "CREATE TEMP VIEW v AS SELECT 1", "SELECT fill FROM t", "CREATE SECURE VIEW v AS x",
     "CREATE VIEW s.v AS SELECT 1", "COMMENT ON COLUMN t.a IS 'x'", "SET VARIABLE x = 1"],
)  # fmt: skip
def test_everything_else_is_duckdbs(sql: str) -> None:
    assert parse_statement(sql) == Query(sql)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("FILL", "expected a name, found the end"),
        ("FILL a b", 'expected WHERE, found "b"'),
        ("EXPLAIN", "expected a query"),
        ("CREATE VIRTUAL COLUMN g AS x", 'expected a string in quotes, found "x"'),
        ("SET replay 'off'", "expected = or TO"),
        ("COMMENT ON COLUMN a 'x'", "expected IS"),
    ],
)
def test_wrong_statements(sql: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse_statement(sql)
