"""Every aggregate of the engine counts as one, whatever sqlglot makes of its name."""

from __future__ import annotations

import itertools

import duckdb
import pytest
from sqlglot import exp

from logql.errors import ParseError
from logql.plan.aggregates import holds_aggregate
from logql.sql.macros import parse

FOUND = duckdb.execute(
    "SELECT DISTINCT function_name AS name FROM duckdb_functions() WHERE function_type = 'aggregate' "
    "OR function_type = 'macro' AND regexp_matches(macro_definition, '\\b(sum|avg|list|string_agg|count)\\(')"
).fetchall()


@pytest.mark.parametrize("name", sorted(itertools.chain(*FOUND)))
def test_every_aggregate_is_known(name: str) -> None:
    for arguments in ("x", "x, 1", "x, 1, 2"):
        try:
            call = parse(f"SELECT {name}({arguments})")
        except ParseError:
            continue
        assert holds_aggregate(call)
        return
    raise AssertionError("no call was read")


@pytest.mark.parametrize("call", ["abs(x)", "list_sum(x)", "x + 1", "epoch(x)"])
def test_other_calls_are_no_aggregates(call: str) -> None:
    query = parse(f"SELECT {call}")
    assert isinstance(query, exp.Select)
    assert not holds_aggregate(query)
