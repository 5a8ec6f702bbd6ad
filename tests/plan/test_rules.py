"""Every rule: its example, its fixtures, and that it can be switched off."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlglot

from logql.plan.demand import RULES, Demand, demand
from tests.plan.show import example
from tests.plan.stand_in import COLUMNS, StandIn, bind

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.sql"))
NAMES = [rule.__name__ for rule in RULES]


def test_rules_have_names_of_their_own() -> None:
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_the_example_of_a_rule_holds(rule: object) -> None:
    module = importlib.import_module(rule.__module__)
    finder = doctest.DocTestFinder(recurse=False)
    tests = [t for t in finder.find(rule, module=module, globs=vars(module)) if t.examples]  # type: ignore[arg-type]
    assert tests, "a rule's docstring holds an example"
    for test in tests:
        assert doctest.DocTestRunner().run(test).failed == 0


def _pairs(path: Path) -> list[tuple[str, str]]:
    """Queries, each followed by one that says which epochs the first round demands."""
    statements = [part.strip() for part in path.read_text().split(";") if part.strip()]
    return list(zip(statements[::2], statements[1::2], strict=True))


PAIRS = [(path.stem, *pair) for path in FIXTURES for pair in _pairs(path)]


@pytest.mark.parametrize(("rule", "query", "expected"), PAIRS, ids=[f"{p[0]}-{n}" for n, p in enumerate(PAIRS)])
def test_a_query_demands_what_its_fixture_says(rule: str, query: str, expected: str) -> None:
    sql = _statement(query)
    with StandIn(example(sql)) as engine:
        demands = demand(bind(sql), engine).demands
        whole = demand(bind(sql), engine, frozenset({rule})).demands
        cells = sqlglot.parse_one(_statement(expected), read="duckdb")
        wanted = {(row["run"], row["epoch"]) for row in engine.run(bind_cells(cells)).to_pylist()}
    assert {(run, index) for run, index, _ in cells_of(demands)} == wanted
    if query.startswith("-- raises"):
        assert len(cells_of(whole)) > len(cells_of(demands)), "without the rule more is demanded"


def cells_of(demands: Sequence[Demand]) -> set[tuple[str, int | None, str]]:
    """Every cell that is demanded, with its run and iteration."""
    return {(item.run, *cell) for item in demands for cell in item.cells()}


def bind_cells(tree: sqlglot.exp.Expr) -> sqlglot.exp.Expr:
    """`cells` is the history that the expected query asks about."""
    for table in tree.find_all(sqlglot.exp.Table):
        if table.name == "cells":
            table.replace(
                sqlglot.parse_one("(SELECT logs.run, logs.epoch, logs.val_acc FROM logs) AS cells", read="duckdb")
            )
    return bind(tree.sql("duckdb")).tree


def test_each_rule_has_a_query_that_demands_more_without_it() -> None:
    assert {rule for rule, query, _ in PAIRS if query.startswith("-- raises")} == set(NAMES)


def _statement(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("--"))


def test_the_fixtures_use_known_columns() -> None:
    assert {"run", "epoch", "val_acc", "gn"} <= set(COLUMNS)
    assert {path.stem for path in FIXTURES} <= set(NAMES)
