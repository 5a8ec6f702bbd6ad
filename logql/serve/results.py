"""Results as MySQL's protocol has them: types of columns, and values that its encoders take."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from mysql_mimic.charset import CharacterSet
from mysql_mimic.errors import MysqlError
from mysql_mimic.results import ResultColumn, ResultSet
from mysql_mimic.types import ColumnType

from logql.dbapi import Cursor
from logql.rows import python_rows

#: A row is one packet of the protocol, which cannot be longer.
LONGEST_ROW = 0xFFFFFF - 0xFFFF

_INTEGERS = {
    "TINYINT": ColumnType.SHORT,
    "SMALLINT": ColumnType.SHORT,
    "INTEGER": ColumnType.LONG,
    "UTINYINT": ColumnType.SHORT,
    "USMALLINT": ColumnType.LONG,
    "UINTEGER": ColumnType.LONGLONG,
    "BIGINT": ColumnType.LONGLONG,
}
_COLUMN_TYPES = {
    **_INTEGERS,
    "BOOLEAN": ColumnType.TINY,
    "FLOAT": ColumnType.DOUBLE,
    "DOUBLE": ColumnType.DOUBLE,
    "HUGEINT": ColumnType.NEWDECIMAL,
    "UHUGEINT": ColumnType.NEWDECIMAL,
    "UBIGINT": ColumnType.NEWDECIMAL,
    "DECIMAL": ColumnType.NEWDECIMAL,
    "DATE": ColumnType.DATE,
    "TIME": ColumnType.TIME,
    "TIMESTAMP": ColumnType.DATETIME,
    "TIMESTAMP_S": ColumnType.DATETIME,
    "TIMESTAMP_MS": ColumnType.DATETIME,
    "TIMESTAMP_NS": ColumnType.DATETIME,
    "TIMESTAMP WITH TIME ZONE": ColumnType.DATETIME,
    "BLOB": ColumnType.BLOB,
}
#: The names of types in SHOW COLUMNS and the like.
_TYPE_NAMES = {
    ColumnType.SHORT: "smallint",
    ColumnType.LONG: "int",
    ColumnType.LONGLONG: "bigint",
    ColumnType.TINY: "tinyint(1)",
    ColumnType.DOUBLE: "double",
    ColumnType.NEWDECIMAL: "decimal(38,0)",
    ColumnType.DATE: "date",
    ColumnType.TIME: "time(6)",
    ColumnType.DATETIME: "datetime(6)",
    ColumnType.BLOB: "longblob",
    ColumnType.VAR_STRING: "text",
}


def type_name(type_: str) -> str:
    """MySQL's name of a type of DuckDB's."""
    if type_.startswith("DECIMAL("):
        return type_.lower().replace(" ", "")
    return _TYPE_NAMES[_column_type(type_)]


def result_of(cursor: Cursor, most_rows: int) -> ResultSet:
    """The result of a statement. Raises MysqlError for more rows than `most_rows`, or a row too long for a packet."""
    if cursor.description is None:
        return ResultSet([], [])
    table = _first_rows(cursor, most_rows)
    _check_rows(table)
    types = [str(column[1]) for column in cursor.description]
    columns = [_result_column(column[0], type_) for column, type_ in zip(cursor.description, types, strict=True)]
    converters = [_converter(type_) for type_ in types]
    rows = python_rows(table, types)
    if not any(converters):
        return ResultSet(rows, columns)
    converted = [
        tuple(
            convert(value) if convert is not None and value is not None else value
            for convert, value in zip(converters, row, strict=True)
        )
        for row in rows
    ]
    return ResultSet(converted, columns)


def _first_rows(cursor: Cursor, most: int) -> pa.Table:
    """The whole result, no more of which is read than is allowed."""
    reader = cursor.fetch_record_batch()
    batches, count = [], 0
    for batch in reader:
        batches.append(batch)
        count += batch.num_rows
        if count > most:
            cursor.close()
            raise MysqlError(f"the result has more rows than the {most} that the server gives: add a LIMIT")
    return pa.Table.from_batches(batches, reader.schema)


def _column_type(type_: str) -> ColumnType:
    return _COLUMN_TYPES.get("DECIMAL" if type_.startswith("DECIMAL(") else type_, ColumnType.VAR_STRING)


def _result_column(name: str, type_: str) -> ResultColumn:
    kind = _column_type(type_)
    return ResultColumn(name, kind, CharacterSet.binary if kind is ColumnType.BLOB else CharacterSet.utf8mb4)


def _converter(type_: str) -> Callable[[Any], Any] | None:
    if type_ == "TIME":
        return _duration
    if type_ == "TIMESTAMP WITH TIME ZONE":
        return _utc
    nested = type_.endswith("]") or type_.startswith(("STRUCT(", "MAP(", "UNION("))
    return _json if nested else None


def _duration(value: datetime.time) -> datetime.timedelta:
    return datetime.datetime.combine(datetime.date.min, value) - datetime.datetime.min


def _utc(value: datetime.datetime) -> datetime.datetime:
    return value.astimezone(datetime.UTC).replace(tzinfo=None)


def _json(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def _check_rows(table: pa.Table) -> None:
    """Refuse rows that could be longer than a packet, by the longest value of each column."""
    longest = 0
    for column in table.columns:
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            longest += 4 * (pc.max(pc.binary_length(column)).as_py() or 0) if len(column) else 0
        elif pa.types.is_nested(column.type) and len(column):
            longest += 32 * column.nbytes // len(column)
    if longest // 4 > LONGEST_ROW:
        raise MysqlError("a row of the result is longer than the 16 MB of a packet: ask for fewer or shorter values")
