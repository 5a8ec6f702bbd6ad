"""What a statement can be: logql's own as types of their own, everything else as the text that DuckDB gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Query:
    """A statement of DuckDB's; it may read relations of logql."""

    sql: str


@dataclass(frozen=True)
class Explain:
    """EXPLAIN [ANALYZE] [(FORMAT JSON)] of a query."""

    sql: str
    query: str
    analyze: bool
    format: str


@dataclass(frozen=True)
class FillColumns:
    """FILL name, ... [WHERE ...]."""

    sql: str
    names: tuple[str, ...]
    where: str | None


@dataclass(frozen=True)
class UnfillColumn:
    """UNFILL name [WHERE ...]."""

    sql: str
    name: str
    where: str | None


@dataclass(frozen=True)
class CreateVirtual:
    """CREATE [OR REPLACE] VIRTUAL COLUMN name AS 'expr' AFTER|BEFORE 'source text' [IN 'file']."""

    sql: str
    name: str
    expression: str
    position: Literal["AFTER", "BEFORE"]
    anchor: str
    file: str | None
    replace: bool


@dataclass(frozen=True)
class DropVirtual:
    """DROP VIRTUAL COLUMN [IF EXISTS] name."""

    sql: str
    name: str
    if_exists: bool


@dataclass(frozen=True)
class Setting:
    """SET, RESET or SHOW of a setting of logql's; `value` is None unless it is set."""

    sql: str
    action: Literal["SET", "RESET", "SHOW"]
    name: str
    value: str | None


@dataclass(frozen=True)
class ShowTables:
    """SHOW TABLES: relations of logql, views that the store keeps, and own tables."""

    sql: str


@dataclass(frozen=True)
class Comment:
    """COMMENT ON COLUMN|RUN|VERSION x IS '...'; `text` is None where the comment is removed."""

    sql: str
    kind: Literal["column", "run", "version"]
    target: str
    text: str | None


@dataclass(frozen=True)
class CreateKept:
    """CREATE [OR REPLACE] VIEW | MACRO: kept in the store. `body` is what follows AS, `table` tells AS TABLE."""

    sql: str
    kind: Literal["view", "macro"]
    name: str
    parameters: tuple[tuple[str, str | None], ...]
    body: str
    table: bool
    replace: bool
    if_not_exists: bool


@dataclass(frozen=True)
class DropKept:
    """DROP VIEW | MACRO [TABLE] [IF EXISTS] name."""

    sql: str
    kind: Literal["view", "macro"]
    name: str
    if_exists: bool


Statement = (
    Query
    | Explain
    | FillColumns
    | UnfillColumn
    | CreateVirtual
    | DropVirtual
    | Setting
    | ShowTables
    | Comment
    | CreateKept
    | DropKept
)
