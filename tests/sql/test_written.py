"""Text of trees where sqlglot's own says something else."""

from __future__ import annotations

from importlib import import_module

import duckdb
import sqlglot

from logql.sql.written import written

PIVOT = (
    "PIVOT (SELECT t.run, t.epoch, t.x FROM a AS t WHERE t.x > (SELECT MIN(u.x) FROM a AS u WHERE u.run = t.run)) "
    "ON epoch IN (0, 1) USING SUM(x) GROUP BY run"
)


def test_queries_below_a_pivot_keep_the_tables_of_their_columns() -> None:
    text = f"SELECT * FROM ({PIVOT}) ORDER BY run"
    tree = sqlglot.parse_one(text, dialect="duckdb")
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE a AS FROM (VALUES (1, 0, 5), (1, 1, 7), (2, 0, 1), (2, 1, 2)) t(run, epoch, x)"
        )
        expected = connection.execute(text).fetchall()
        assert connection.execute(written(tree.copy())).fetchall() == expected
        assert connection.execute(tree.sql(dialect="duckdb")).fetchall() != expected


def test_the_columns_of_a_pivot_itself_stand_without_tables() -> None:
    tree = sqlglot.parse_one("SELECT * FROM a AS s PIVOT (SUM(s.x) FOR s.epoch IN (0, 1)) AS p", dialect="duckdb")
    assert written(tree) == "SELECT * FROM a AS s PIVOT(SUM(x) FOR epoch IN (0, 1)) AS p"


def test_nothing_derives_from_classes_of_sqlglot() -> None:
    """Where it is compiled (`sqlglot[c]`), none can but a tokenizer: a class of ours would fail when it is defined."""
    import_module("logql.session")
    import_module("logql.serve.session")
    bases = [sqlglot.exp.Expr, sqlglot.generator.Generator, sqlglot.parser.Parser]
    while bases:
        found = bases.pop().__subclasses__()
        assert not [kind for kind in found if kind.__module__.startswith("logql")]
        bases += found
