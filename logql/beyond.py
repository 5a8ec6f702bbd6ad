"""Values of Arrow's as Python's, also those that Python has no type for: as DuckDB's client gives and writes them.

A date or time outside of Python's years, and `24:00:00`, are text; the infinities are the last and first of their kind.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

#: Days from the first of January of the year 1 to that of 1970, and days after which the calendar repeats itself.
_BEFORE_1970, _DAYS_OF_400_YEARS = 719_162, 146_097
_INFINITE_DAYS = 2**31 - 1
_INFINITE_UNITS = 2**63 - 1
_DAY_S = 86_400
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def python_values(
    column: pa.ChunkedArray | pa.Array, infinity: Callable[[Any], Any] = lambda value: value
) -> list[Any]:
    """The values of a column; `infinity` may make something else of the infinite dates, the first or last ones."""
    from pyarrow import types

    if not types.is_time(column.type) or not _has_midnight(column):
        try:
            found: list[Any] = column.to_pylist()
        except (OverflowError, ValueError):
            pass
        else:
            return found
    return [_value(scalar, infinity) for scalar in column]


def named_infinity(value: datetime.date) -> str:
    """An infinite date or time as DuckDB writes it."""
    return "infinity" if value.year > 1 else "-infinity"


def bignum(value: bytes) -> int:
    """A number of DuckDB's BIGNUM: three bytes of sign and length, then its digits, all inverted below zero."""
    negative = not value[0] & 0x80
    digits = bytes(byte ^ 0xFF for byte in value[3:]) if negative else value[3:]
    return -int.from_bytes(digits, "big") if negative else int.from_bytes(digits, "big")


def _has_midnight(column: pa.ChunkedArray | pa.Array) -> bool:
    """Whether a time is 24:00:00."""
    import pyarrow as pa
    import pyarrow.compute as pc

    last = pc.max(column.cast(pa.int64() if column.type.bit_width == 64 else pa.int32())).as_py()
    return last is not None and last >= _DAY_S * _UNITS[column.type.unit]


def _value(scalar: Any, infinity: Callable[[Any], Any]) -> Any:
    """A value, or what is in it."""
    import pyarrow as pa
    from pyarrow import types

    if not scalar.is_valid:
        return None
    kind = scalar.type
    if isinstance(scalar, pa.UnionScalar):
        return _value(scalar.value, infinity)
    if types.is_map(kind):
        pairs = scalar.values
        return [(_value(each[0], infinity), _value(each[1], infinity)) for each in zip(*_children(pairs), strict=True)]
    if types.is_nested(kind) and not types.is_struct(kind):
        return [_value(each, infinity) for each in scalar.values]
    if types.is_struct(kind):
        return {name: _value(each, infinity) for name, each in scalar.items()}
    if types.is_date32(kind):
        return _day(scalar.value, infinity)
    if types.is_timestamp(kind):
        return _moment(scalar, infinity)
    if types.is_time(kind) and scalar.value >= _DAY_S * _UNITS[kind.unit]:
        return "24:00:00"
    return scalar.as_py()


def _children(pairs: pa.Array) -> list[pa.Array]:
    return [pairs.field(0), pairs.field(1)]


def _day(days: int, infinity: Callable[[Any], Any]) -> Any:
    if abs(days) == _INFINITE_DAYS:
        return infinity(datetime.date.max if days > 0 else datetime.date.min)
    cycles, rest = divmod(days + _BEFORE_1970, _DAYS_OF_400_YEARS)
    day = datetime.date.fromordinal(rest + 1)
    year = day.year + 400 * cycles
    if datetime.MINYEAR <= year <= datetime.MAXYEAR:
        return day.replace(year=year)
    era = "" if year > 0 else " (BC)"
    return f"{year if year > 0 else 1 - year:04}-{day.month:02}-{day.day:02}{era}"


def _moment(scalar: Any, infinity: Callable[[Any], Any]) -> Any:
    if abs(scalar.value) == _INFINITE_UNITS:
        return infinity(datetime.datetime.max if scalar.value > 0 else datetime.datetime.min)
    seconds, fraction = divmod(scalar.value, _UNITS[scalar.type.unit])
    days, seconds = divmod(seconds, _DAY_S)
    day = _day(days, infinity)
    if isinstance(day, datetime.date) and scalar.type.unit != "ns":
        return scalar.as_py()
    digits = len(str(_UNITS[scalar.type.unit])) - 1
    part = f".{fraction:0{digits}}".rstrip("0") if fraction else ""
    zone = "+00" if scalar.type.tz else ""
    return f"{day} {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{part}{zone}"
