"""Text of syntax trees, as DuckDB reads it.

sqlglot drops the tables of all columns in a PIVOT, also in the queries below it, where names then mean other columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from sqlglot import exp, transforms
from sqlglot.generators.duckdb import DuckDBGenerator


def _without_tables(pivot: exp.Expr) -> exp.Expr:
    """PIVOT's own columns stand without a table; those of queries below keep theirs."""
    for column in pivot.find_all(exp.Column):
        if column.find_ancestor(exp.Pivot, exp.Query) is pivot:
            for part in column.parts[:-1]:
                part.pop()
    return pivot


class _Generator(DuckDBGenerator):
    TRANSFORMS: ClassVar[dict[type[exp.Expr], Callable[..., str]]] = {
        **DuckDBGenerator.TRANSFORMS,
        exp.Pivot: transforms.preprocess([_without_tables]),
    }


def written(tree: exp.Expr, **options: Any) -> str:
    """SQL of a tree; `options` are sqlglot's."""
    return _Generator(dialect="duckdb").generate(tree, **options)
