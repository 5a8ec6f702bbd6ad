"""What PEP 249 wants of a module besides connections: constructors of values, and type objects."""

from __future__ import annotations

import datetime
import time

Date = datetime.date
Time = datetime.time
Timestamp = datetime.datetime
Binary = bytes


def DateFromTicks(ticks: float) -> datetime.date:  # noqa: N802
    """The date of a time in seconds since the epoch (PEP 249)."""
    return Date(*time.localtime(ticks)[:3])


def TimeFromTicks(ticks: float) -> datetime.time:  # noqa: N802
    """The time of day of a time in seconds since the epoch (PEP 249)."""
    return Time(*time.localtime(ticks)[3:6])


def TimestampFromTicks(ticks: float) -> datetime.datetime:  # noqa: N802
    """The local time of a time in seconds since the epoch (PEP 249)."""
    return Timestamp(*time.localtime(ticks)[:6])


class TypeCode:
    """A PEP 249 type object: equal to the names of the DuckDB types that belong to it."""

    def __init__(self, *names: str) -> None:
        self._names = frozenset(names)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TypeCode):
            return self._names == other._names
        return isinstance(other, str) and not other.endswith("]") and other.partition("(")[0] in self._names

    def __hash__(self) -> int:
        return hash(self._names)


STRING = TypeCode("VARCHAR", "UUID", "JSON", "ENUM")
BINARY = TypeCode("BLOB", "BIT")
NUMBER = TypeCode(
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL",
)  # fmt: skip
DATETIME = TypeCode("DATE", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "INTERVAL")
ROWID = TypeCode("ROWID")
