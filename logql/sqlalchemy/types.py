"""Types: DuckDB's names as SQLAlchemy's types, and how values of some of them go in and out."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sqlalchemy import types
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql import sqltypes, type_api

_Processor = Callable[[Any], Any]
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_ENUM_VALUE = re.compile(r"'((?:[^']|'')*)'")


class Nested(types.UserDefinedType[Any]):
    """A STRUCT, MAP, UNION or other type that SQLAlchemy has no word for; values come as dicts, lists and the like."""

    cache_ok = True

    def __init__(self, text: str) -> None:
        self.text = text

    def get_col_spec(self, **_: Any) -> str:
        """The type as DuckDB writes it."""
        return self.text


class Interval(type_api.NativeForEmulated, sqltypes._AbstractInterval):
    """DuckDB's INTERVAL, which comes and goes as a timedelta."""

    __visit_name__ = "INTERVAL"
    native = True

    def __init__(self, second_precision: int | None = None, day_precision: int | None = None) -> None:
        self.second_precision, self.day_precision = second_precision, day_precision

    @classmethod
    def adapt_emulated_to_native(cls, impl: Any, **_: Any) -> Interval:
        """The native type behind a generic Interval."""
        return cls(impl.second_precision, impl.day_precision)

    @property
    def python_type(self) -> type[datetime.timedelta]:
        """What values are."""
        return datetime.timedelta

    def literal_processor(self, dialect: Dialect) -> _Processor:  # noqa: ARG002
        """An interval as a literal."""
        return lambda value: f"to_microseconds({value // datetime.timedelta(microseconds=1)})"


class Numeric(types.Numeric[Any]):
    """A decimal, also where DuckDB computes with doubles, as it does in a division."""

    def result_processor(self, dialect: Dialect, coltype: object) -> _Processor:  # noqa: ARG002
        """Decimals, or floats where the type asks for them."""
        if not self.asdecimal:
            return lambda value: None if value is None else float(value)
        return lambda value: Decimal(repr(value)) if isinstance(value, float) else value


class JsonIndex(types.JSON.JSONIndexType):
    """A key or an index into a JSON value, as a path of DuckDB's."""

    def bind_processor(self, dialect: Dialect) -> _Processor:
        """The path of a key or an index."""
        return _processor(self.string_bind_processor(dialect), lambda value: "$" + _step(value))

    def literal_processor(self, dialect: Dialect) -> _Processor:
        """The path as a literal."""
        return _processor(self.string_literal_processor(dialect), lambda value: "$" + _step(value))


class JsonPath(types.JSON.JSONPathType):
    """A sequence of keys and indices into a JSON value, as a path of DuckDB's."""

    def bind_processor(self, dialect: Dialect) -> _Processor:
        """The path of the keys and indices."""
        return _processor(self.string_bind_processor(dialect), lambda value: "$" + "".join(map(_step, value)))

    def literal_processor(self, dialect: Dialect) -> _Processor:
        """The path as a literal."""
        return _processor(self.string_literal_processor(dialect), lambda value: "$" + "".join(map(_step, value)))


def _processor(then: Callable[[str], Any] | None, path: Callable[[Any], str]) -> _Processor:
    return (lambda value: then(path(value))) if then is not None else path


def _step(value: object) -> str:
    return f"[{value}]" if isinstance(value, int) else f'."{value}"'


COLUMN_SPECS: dict[Any, Any] = {
    types.Interval: Interval,
    types.Numeric: Numeric,
    types.JSON.JSONIndexType: JsonIndex,
    types.JSON.JSONPathType: JsonPath,
}

_TYPES: dict[str, Callable[[], types.TypeEngine[Any]]] = {
    "BOOLEAN": types.BOOLEAN,
    "TINYINT": types.SMALLINT,
    "SMALLINT": types.SMALLINT,
    "INTEGER": types.INTEGER,
    "BIGINT": types.BIGINT,
    "UTINYINT": types.SMALLINT,
    "USMALLINT": types.INTEGER,
    "UINTEGER": types.BIGINT,
    "UBIGINT": lambda: types.NUMERIC(20, 0),
    "HUGEINT": lambda: types.NUMERIC(38, 0),
    "UHUGEINT": lambda: types.NUMERIC(38, 0),
    "FLOAT": types.REAL,
    "DOUBLE": types.DOUBLE,
    "VARCHAR": types.VARCHAR,
    "BLOB": types.BLOB,
    "DATE": types.DATE,
    "TIME": types.TIME,
    "TIME WITH TIME ZONE": lambda: types.TIME(timezone=True),
    "TIMESTAMP": types.TIMESTAMP,
    "TIMESTAMP_S": types.TIMESTAMP,
    "TIMESTAMP_MS": types.TIMESTAMP,
    "TIMESTAMP_NS": types.TIMESTAMP,
    "TIMESTAMP WITH TIME ZONE": lambda: types.TIMESTAMP(timezone=True),
    "INTERVAL": Interval,
    "UUID": types.UUID,
    "JSON": types.JSON,
}


def type_of(text: str) -> types.TypeEngine[Any]:
    """SQLAlchemy's type of a column whose type DuckDB writes as `text`."""
    if text in _TYPES:
        return _TYPES[text]()
    if found := _DECIMAL.fullmatch(text):
        return types.NUMERIC(int(found[1]), int(found[2]))
    if text.startswith("ENUM("):
        return types.Enum(*(value.replace("''", "'") for value in _ENUM_VALUE.findall(text)))
    item = text.rpartition("[")[0] if text.endswith("]") else ""
    if item and not item.endswith("]"):
        return types.ARRAY(type_of(item))
    return Nested(text)
