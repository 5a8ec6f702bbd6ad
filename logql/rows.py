"""Results as rows of Python values, the types being those that DuckDB's own client gives."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_DAYS_OF_A_MONTH = 30


def python_rows(table: pa.Table, types: Sequence[str]) -> list[tuple[Any, ...]]:
    """The rows of a result whose columns have these types of DuckDB's."""
    columns = [_values(column, type_) for column, type_ in zip(table.columns, types, strict=True)]
    return list(zip(*columns, strict=True)) if columns else []


def _values(column: pa.ChunkedArray, type_: str) -> list[Any]:
    if type_ == "TIMESTAMP_NS":
        column = column.cast("timestamp[us]", safe=False)
    values: list[Any] = column.to_pylist()
    convert = _CONVERTERS.get(type_) or (dict if type_.startswith("MAP(") and type_.endswith(")") else None)
    return [None if value is None else convert(value) for value in values] if convert else values


def _interval(value: Any) -> datetime.timedelta:
    days = value.months * _DAYS_OF_A_MONTH + value.days
    return datetime.timedelta(days=days, microseconds=value.nanoseconds // 1000)


def _bits(value: bytes) -> str:
    """Text of a BIT, whose first byte counts the bits that pad the second."""
    return "".join(f"{byte:08b}" for byte in value[1:])[value[0] :]


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "HUGEINT": int,
    "UHUGEINT": int,
    "UUID": uuid.UUID,
    "INTERVAL": _interval,
    "BIT": _bits,
}
