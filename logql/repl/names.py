"""What completion knows: relations with their columns, logged names, settings, functions, keywords."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from logql.catalog.relations import FIXED_NAMES, RUN_TYPES, SYSTEM_TYPES
from logql.model import level_text
from logql.sql.parser import SETTINGS

if TYPE_CHECKING:
    from logql.catalog.history import History
    from logql.catalog.schema import Column
    from logql.dbapi import Connection

#: Words to start with, until DuckDB has told its own.
_KEYWORDS = (
    "ALL ANALYZE AND AS ASC ASOF AT BETWEEN BY CASE COLUMN COMMENT COPY CREATE CROSS DELETE DESC DESCRIBE DISTINCT "
    "DROP ELSE END EXCEPT EXCLUDE EXISTS EXPLAIN FILL FILTER FROM FULL GROUP HAVING IN INNER INSERT INTERSECT INTO "
    "IS JOIN LEFT LIKE LIMIT MACRO NOT NULL OFFSET ON OR ORDER OUTER OVER PARTITION PIVOT QUALIFY REPLACE RESET "
    "RIGHT ROLLBACK SELECT SET SHOW SUMMARIZE TABLE THEN UNFILL UNION UNPIVOT UPDATE USING VALUES VERSION VIEW "
    "VIRTUAL WHEN WHERE WINDOW WITH"
)
KEYWORDS = tuple(_KEYWORDS.split())
#: Words that mean something else as a bare name.
_RESERVED = (
    "all analyze and any as asc at between both by case cast check collate column create cross default desc "
    "distinct do else end except exists false fetch for foreign from full grant group having in initially inner "
    "intersect into is join lateral left like limit not null offset on only or order outer pivot primary qualify "
    "references returning right select show some summarize table then to trailing true union unique unpivot using "
    "variadic when where window with"
)
RESERVED = frozenset(_RESERVED.split())
#: Functions of logql's own over a row's cell.
FUNCTIONS = ("fidelity", "origin", "reason")

SETTING_VALUES: Mapping[str, tuple[str, ...]] = {
    "replay": ("'ask'", "'auto'", "'off'"),
    "replay_budget": ("60", "300", "3600"),
    "replay_fidelity": ("'strict'", "'warn'"),
    "replay_isolation": ("'auto'", "'strong'", "'weak'"),
    "replay_threads": ("'auto'",),
    "replay_workers": ("'auto'",),
}

_OWN = """
SELECT table_name, column_name, data_type FROM duckdb_columns()
WHERE NOT internal AND schema_name = 'main' ORDER BY table_name, column_index
"""


@dataclass(frozen=True)
class Name:
    """Something that can stand in a statement. `kind` is a word for people; `detail` its type and place."""

    text: str
    kind: str
    detail: str = ""


@dataclass(frozen=True)
class Names:
    """All names at one instant; relations by name, each with its columns."""

    relations: Mapping[str, tuple[Name, ...]] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    logged: tuple[Name, ...] = ()
    functions: tuple[str, ...] = FUNCTIONS
    keywords: tuple[str, ...] = KEYWORDS
    versions: tuple[str, ...] = ()
    settings: tuple[str, ...] = SETTINGS

    @property
    def virtual(self) -> frozenset[str]:
        """Logged names that were recorded nowhere, in lower case."""
        return frozenset(name.text.lower() for name in self.logged if name.kind == "virtual")


def names_of(history: History) -> Names:
    """The names of a history: its relations and what was logged, recorded and virtual told apart."""
    schema = history.schema
    recorded = {name: column for name, column in schema.columns.items() if not column.virtual}
    virtual = [c for c in history.sources.names().values() if c.virtual and schema.find(c.name) is None]
    logged = tuple(sorted([*map(_logged, recorded.values()), *map(_logged, virtual)], key=lambda name: name.text))
    kinds = dict.fromkeys(FIXED_NAMES, "relation") | dict.fromkeys(schema.loops, "loop")
    relations: dict[str, tuple[Name, ...]] = {}
    for relation in kinds:
        columns = schema.relation(relation)
        found = [_column(name, type_, relation, history) for name, type_ in columns.items()]
        has_virtual = relation == "logs" or relation in schema.loops
        relations[relation] = (*found, *(map(_logged, virtual) if has_virtual else ()))
    return Names(relations, kinds, logged, versions=tuple(version.id for version in history.snapshot.versions))


def engine_names(connection: Connection) -> Mapping[str, tuple[str, ...]]:
    """DuckDB's functions, keywords, reserved words and settings."""
    return {
        "functions": _column_of(connection, "SELECT DISTINCT function_name FROM duckdb_functions()"),
        "keywords": _column_of(connection, "SELECT upper(keyword_name) FROM duckdb_keywords()"),
        "settings": _column_of(connection, "SELECT name FROM duckdb_settings()"),
    }


def own_names(connection: Connection) -> tuple[dict[str, tuple[Name, ...]], dict[str, str]]:
    """The user's own tables and views with their columns, and their kinds."""
    relations: dict[str, list[Name]] = {}
    for row in connection.execute(_OWN).arrow().to_pylist():
        column = Name(row["column_name"], "column", row["data_type"])
        relations.setdefault(row["table_name"], []).append(column)
    views = connection.session.catalog.items("view")
    kinds = dict.fromkeys(relations, "table") | dict.fromkeys(views, "view")
    return {name: tuple(relations.get(name, ())) for name in kinds}, kinds


def _column_of(connection: Connection, sql: str) -> tuple[str, ...]:
    table = connection.execute(sql).arrow()
    return tuple(sorted(str(value) for value in table.column(0).to_pylist() if _is_word(str(value))))


def _is_word(text: str) -> bool:
    return text.isidentifier() and not text.startswith(("_", "collate_"))


def _logged(column: Column) -> Name:
    if column.virtual:
        return Name(column.name, "virtual", "in today's source")
    return Name(column.name, "recorded", f"{column.type} {_levels(column)}".strip())


def _levels(column: Column) -> str:
    return ", ".join(level_text(level) for level in sorted(column.levels))


def _column(name: str, type_: str, relation: str, history: History) -> Name:
    schema = history.schema
    column = schema.columns.get(name)
    if relation in FIXED_NAMES - {"logs", "runs", "output"}:
        return Name(name, "column", type_)
    if column is not None and name not in SYSTEM_TYPES:
        return _logged(column)
    kinds: Iterable[tuple[str, Mapping[str, str]]] = (
        ("system", SYSTEM_TYPES),
        ("system", RUN_TYPES if relation == "runs" else {}),
        ("arg", schema.args),
        ("loop", schema.loop_columns),
    )
    kind = next((kind for kind, names in kinds if name in names), "column")
    return Name(name, kind, type_)
