"""Results as MySQL's protocol has them: types of columns, and values that its encoders take."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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


#: Characters that a number or time of a type takes, and its digits behind the point (31: as many as there are).
_SHAPES = {
    ColumnType.TINY: (1, 0),
    ColumnType.SHORT: (6, 0),
    ColumnType.LONG: (11, 0),
    ColumnType.LONGLONG: (20, 0),
    ColumnType.DOUBLE: (22, 31),
    ColumnType.NEWDECIMAL: (40, 0),
    ColumnType.DATE: (10, 0),
    ColumnType.TIME: (17, 6),
    ColumnType.DATETIME: (26, 6),
}
#: Bytes that a text is said to take where no longer one is known.
_TEXT_BYTES = 1020
_BINARY_FLAG = 0x80


@dataclass(frozen=True)
class Shape:
    """What clients are told of a column beside its type: bytes of a value, digits behind the point, flags."""

    length: int = _TEXT_BYTES
    decimals: int = 0
    flags: int = 0


class Rows(list[tuple[Any, ...]]):
    """The rows of a result, which know the shapes of their columns."""

    def __init__(self, rows: Iterable[tuple[Any, ...]], shapes: Sequence[Shape]) -> None:
        super().__init__(rows)
        self.shapes = tuple(shapes)


def shapes_of(result: ResultSet) -> list[Shape]:
    """The shapes of a result's columns; by their types alone where the result does not know better."""
    if isinstance(result.rows, Rows):
        return list(result.rows.shapes)
    return [_shape("", column.type, 0) for column in result.columns]


def _shape(type_: str, kind: ColumnType, longest: int) -> Shape:
    if type_.startswith("DECIMAL("):
        precision, _, scale = type_.removeprefix("DECIMAL(").rstrip(")").partition(",")
        return Shape(int(precision) + 2, int(scale), _BINARY_FLAG)
    if kind in _SHAPES:
        return Shape(*_SHAPES[kind], _BINARY_FLAG)
    return Shape(max(_TEXT_BYTES, longest), 0, _BINARY_FLAG if kind is ColumnType.BLOB else 0)


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
    columns = [
        ResultColumn(name, ColumnType.DOUBLE, text_encoder=_double_text)
        if _has_special_numbers(values)
        else _result_column(name, type_)
        for name, type_, values in zip(table.column_names, types, table.columns, strict=True)
    ]
    converters = [_converter(type_) for type_ in types]
    rows = python_rows(table, types)
    if any(converters):
        rows = [
            tuple(
                convert(value) if convert is not None and value is not None else value
                for convert, value in zip(converters, row, strict=True)
            )
            for row in rows
        ]
    lengths = [_longest(column) for column in table.columns]
    shapes = [_shape(type_, column.type, most) for type_, column, most in zip(types, columns, lengths, strict=True)]
    return ResultSet(Rows(rows, shapes), columns)


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


def _has_special_numbers(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_floating(column.type) and pc.all(pc.is_finite(column)).as_py() is False)


def _double_text(_: ResultColumn, value: float) -> bytes:
    """A double as text; NaN and infinities as Java and Python both read them."""
    if math.isfinite(value):
        return repr(value).encode()
    return b"NaN" if math.isnan(value) else b"Infinity" if value > 0 else b"-Infinity"


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
    if sum(map(_longest, table.columns)) > LONGEST_ROW:
        raise MysqlError("a row of the result is longer than the 16 MB of a packet: ask for fewer or shorter values")


def _longest(column: pa.ChunkedArray) -> int:
    """The bytes of a column's longest text; about those of an average one, where values become JSON."""
    if not len(column):
        return 0
    if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
        return int(pc.max(pc.binary_length(column)).as_py() or 0)
    return 8 * column.nbytes // len(column) if pa.types.is_nested(column.type) else 0
