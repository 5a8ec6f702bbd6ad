"""Small pieces of SQL text."""

from __future__ import annotations

from collections.abc import Iterable

from logql.model import Level
from logql.store.levels import loop_names


def ident(name: str) -> str:
    """`name` as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """`value` as a string literal."""
    return "'" + value.replace("'", "''") + "'"


def texts(values: Iterable[str]) -> str:
    """A parenthesised list of string literals."""
    return "(" + ", ".join(text(value) for value in values) + ")"


def key_columns(level: Level) -> list[str]:
    """Columns that tell the contexts of one run and rank at a level apart."""
    return [f"{name}_{part}" for name in loop_names(level) for part in ("entry", "index")]


def loop_column_names(level: Level) -> list[str]:
    """All columns of a level's loops."""
    return [name + part for name in loop_names(level) for part in ("", "_index", "_entry")]


def same_context(left: str, right: str, level: Level, ranks: bool) -> str:
    """Condition that two rows are in the same context of `level`; of runs of one rank, `ranks` may be left out."""
    columns = ["run", *(["rank"] if ranks else []), *key_columns(level)]
    return " AND ".join(f"{left}.{ident(column)} = {right}.{ident(column)}" for column in columns)
