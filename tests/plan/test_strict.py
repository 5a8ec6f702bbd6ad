"""The functions that the planner takes to be NULL wherever an operand is: DuckDB does so."""

from __future__ import annotations

import itertools

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from logql.plan.formulas import STRICT

VALUES = {"x": "2::DOUBLE", "y": "3::BIGINT", "s": "'ab'", "t": "'b'", "d": "TIMESTAMP '2024-01-02'"}
EXAMPLES = (
    "x + y", "x - y", "x * y", "x / y", "x // y", "x % y", "mod(x, y)", "-x", "x ** y", "power(x, y)", "y & y",
    "abs(x)", "round(x, y::INT)", "floor(x)", "ceil(x)", "sign(x)", "sqrt(x)", "exp(x)", "ln(x)", "log(x)", "log10(x)",
    "isnan(x)", "x::INT", "TRY_CAST(s AS INT)", "lower(s)", "upper(s)", "length(s)", "substring(s, y, y)", "trim(s)",
    "ltrim(s, t)",
    "starts_with(s, t)", "contains(s, t)", "regexp_matches(s, t)", "strpos(s, t)", "extract(year FROM d)", "year(d)",
    "month(d)", "date_trunc('day', d)", "date_diff('day', d, d)", "epoch(d)", "strftime(d, '%Y')", "d + INTERVAL 1 DAY",
)  # fmt: skip


@pytest.mark.parametrize("sql", EXAMPLES)
def test_a_strict_function_is_null_wherever_an_operand_is(sql: str) -> None:
    tree = sqlglot.parse_one(sql, read="duckdb")
    assert isinstance(tree, STRICT)
    names = sorted({column.name for column in tree.find_all(exp.Column)})
    for given in itertools.product((True, False), repeat=len(names)):
        shown = ", ".join(
            f"{VALUES[name] if there else f'if(true, NULL, {VALUES[name]})'} AS {name}"
            for name, there in zip(names, given, strict=True)
        )
        ((value,),) = duckdb.sql(f"SELECT {sql} FROM (SELECT {shown})").fetchall()
        assert (value is None) == (not all(given)) or sql.startswith("TRY_CAST")


def test_every_strict_function_has_an_example() -> None:
    assert {type(sqlglot.parse_one(sql, read="duckdb")) for sql in EXAMPLES} >= {*STRICT}
