"""Generated queries said otherwise: values and conditions through queries, structs and lists, sources without a name.

What a variant means is for DuckDB to say: the oracle asks it over the full history, as any other query.
"""

from __future__ import annotations

import random

import sqlglot
from sqlglot import exp

from logql.sql.macros import parse
from logql.sql.pivots import with_pivot_inside

VALUES = (
    "{{'a': {0}}}['a']", "({{'a': {0}, 'b': 1}}).a", "[{0}][1]", "(SELECT {0})", "coalesce({0}, NULL)",
    "CASE WHEN TRUE THEN {0} END", "greatest({0}, {0})", "(SELECT max(v.x) FROM (SELECT unnest([{0}]) AS x) v)",
    "list_transform([{0}], lambda q: q)[1]", "(SELECT max({0}) FROM range(1))", "nullif({0}, NULL)",
    "if({0} IS NULL, NULL, {0})", "list_sort([{0}, {0}])[2]", "(VALUES ({0}))",
)  # fmt: skip
CONDITIONS = (
    "(SELECT ({0}))", "(({0}) IS TRUE)", "(NOT (NOT ({0})))", "(CASE WHEN {0} THEN TRUE ELSE FALSE END)",
    "coalesce({0}, FALSE)", "(({0}) = TRUE)", "EXISTS (SELECT 1 WHERE {0})", "list_contains([TRUE], {0})",
    "(({0}) IN (TRUE))", "(TRUE = ANY (SELECT ({0})))", "(({0}) IS NOT DISTINCT FROM TRUE)", "(({0}), 1) = (TRUE, 1)",
    "(SELECT bool_or({0}) FROM range(1))", "NOT EXISTS (SELECT 1 WHERE NOT coalesce({0}, FALSE))",
)  # fmt: skip
_TESTS = (exp.Predicate, exp.And, exp.Or, exp.Not, exp.In, exp.Between, exp.Is)
_CLAUSES = frozenset({"expressions", "where", "having", "qualify", "joins"})


def vary(sql: str, rng: random.Random) -> str:
    """A query with one to three of its parts said otherwise."""
    tree = parse(with_pivot_inside(sql))
    for _ in range(rng.randint(1, 3)):
        rng.choice((_value, _value, _condition, _condition, _unnamed))(tree, rng)
    return tree.sql(dialect="duckdb")


def _value(tree: exp.Expr, rng: random.Random) -> None:
    """A column through something that gives it back."""
    _replace([node for node in tree.find_all(exp.Column) if not isinstance(node.this, exp.Star)], VALUES, rng)


def _condition(tree: exp.Expr, rng: random.Random) -> None:
    """A condition through something that holds where it does."""
    _replace(list(tree.find_all(*_TESTS)), CONDITIONS, rng)


def _replace(nodes: list[exp.Expr], forms: tuple[str, ...], rng: random.Random) -> None:
    found = [node for node in nodes if _clause(node) in _CLAUSES]
    if not found:
        return
    node = rng.choice(found)
    name = node.alias_or_name if node.parent and isinstance(node.parent, exp.Select) else ""
    said: exp.Expr = sqlglot.parse_one(rng.choice(forms).format(node.sql(dialect="duckdb")), dialect="duckdb")
    node.replace(exp.alias_(said, name) if name else said)


def _clause(node: exp.Expr) -> str | None:
    """The clause of its block that a node is in; None in what must stay a plain column."""
    while node.parent is not None and not isinstance(node.parent, exp.Select):
        node = node.parent
        if isinstance(node, exp.Order | exp.Group | exp.Distinct | exp.Pivot | exp.TableAlias | exp.Lambda):
            return None
    return node.arg_key


def _unnamed(tree: exp.Expr, rng: random.Random) -> None:
    """A subquery in FROM without its alias, and its columns without a table."""
    named = [
        node for node in tree.find_all(exp.Subquery) if node.alias and isinstance(node.parent, exp.From | exp.Join)
    ]
    if not named:
        return
    source = rng.choice(named)
    block, alias = source.find_ancestor(exp.Select), source.alias
    if source.args["alias"].columns or block is None:
        return
    source.set("alias", None)
    for column in list(block.find_all(exp.Column)):
        if column.table == alias:
            column.set("table", None)
