"""What SHOW, DESCRIBE and information_schema tell, answered by the engine over small tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from mysql_mimic.constants import INFO_SCHEMA
from mysql_mimic.errors import ErrorCode, MysqlError
from mysql_mimic.schema import BaseInfoSchema, Column, info_schema_tables
from sqlglot import exp

from logql.catalog.relations import FIXED_NAMES
from logql.dbapi import Connection
from logql.serve.results import type_name

#: The one database that clients see.
DATABASE = "logql"
_NUMBERS = {"INT", "BIGINT"}


def columns_of(connection: Connection) -> list[Column]:
    """The columns of all relations that can be asked, and of the views that the store keeps."""
    schema = connection.session.world().schema
    comments = connection.session.catalog.items("comment")
    found = [
        Column(name, type_name(type_), relation, comment=_text(comments.get(f"column:{name}")), schema=DATABASE)
        for relation in sorted(FIXED_NAMES | set(schema.loops))
        for name, type_ in schema.relation(relation).items()
    ]
    for view in sorted(connection.session.catalog.items("view")):
        cursor = connection.execute(f"SELECT * FROM {_quoted(view)} LIMIT 0")
        found += [
            Column(name, type_name(str(type_)), view, schema=DATABASE) for name, type_, *_ in cursor.description or ()
        ]
    return found


def create_table(connection: Connection, relation: str) -> str:
    """The statement that SHOW CREATE TABLE gives: SQLAlchemy reads the columns from it."""
    columns = [column for column in columns_of(connection) if column.table == relation]
    if not columns:
        raise MysqlError(f"Table '{DATABASE}.{relation}' doesn't exist", ErrorCode.PARSE_ERROR)
    lines = ",\n".join(f"  {_backticks(column.name)} {column.type} DEFAULT NULL" for column in columns)
    return f"CREATE TABLE {_backticks(relation)} (\n{lines}\n) ENGINE=logql DEFAULT CHARSET=utf8mb4"


class InfoSchema(BaseInfoSchema):  # type: ignore[misc]
    """`information_schema` and its like, as tables that DuckDB reads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def query(self, expression: exp.Expr) -> Any:
        """Rows and names of columns of a query over them."""
        data = info_schema_tables(columns_of(self._connection))
        tables: dict[str, pa.Table] = {}
        tree = expression.copy()
        for collation in list(tree.find_all(exp.Collate)):
            collation.replace(collation.this)
        for node in list(tree.find_all(exp.Table)):
            database = (node.text("db") or "information_schema").lower()
            name = node.name.lower()
            if name not in INFO_SCHEMA.get(database, {}):
                raise MysqlError(f"Unknown table '{node.name}' in {database}", ErrorCode.PARSE_ERROR)
            key = f"_lq_{database}_{name}"
            tables[key] = _arrow(data[database][name].rows, INFO_SCHEMA[database][name])
            alias = node.alias or node.name
            node.replace(exp.alias_(exp.to_table(key), alias, table=True))
        for column in tree.find_all(exp.Column):
            column.set("db", None)
        answer = self._connection.session.engine.execute(tree.sql(dialect="duckdb"), None, tables)
        rows = list(zip(*(column.to_pylist() for column in answer.table.columns), strict=True))
        return rows, answer.table.column_names


def _arrow(rows: list[tuple[object, ...]], types: Mapping[str, str]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(types)
    arrays = {
        name: pa.array(
            [value if value is None or type_ in _NUMBERS else str(value) for value in values],
            pa.int64() if type_ in _NUMBERS else pa.string(),
        )
        for (name, type_), values in zip(types.items(), columns, strict=True)
    }
    return pa.table(arrays)


def _text(comment: object) -> str | None:
    return None if comment is None else str(comment)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _backticks(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
