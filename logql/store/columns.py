"""Python values of one column as an Arrow array of one type, and which of them do not fit it.

`pyarrow.array` imports pandas where it is installed (more than a second), so buffers are made by hand.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from operator import eq
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa

_NONE = type(None)
_NUMBERS = frozenset((bool, int, float))
_KNOWN = _NUMBERS | {_NONE, str, bytes, list, dict, datetime.date, datetime.datetime, datetime.time}
_EPOCH = datetime.datetime(1970, 1, 1)
_MICROSECOND = datetime.timedelta(microseconds=1)
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 63) - 1
#: `sys.set_int_max_str_digits` allows no less than 640 digits.
_WRITTEN_BITS = 2048
_MARKED_FLOATS = {math.inf: "Infinity", -math.inf: "-Infinity"}


def column(values: Sequence[object]) -> tuple[pa.Array, dict[int, str]]:
    """The array of `values` in their unified type, and the text of each one that is NULL for want of fitting."""
    if type(values) is array:
        return fixed(values[:], _NAMES[values.typecode]), {}
    types = set(map(type, values))
    if not types <= _KNOWN:
        values = [_plain(value) for value in values]
    type_ = infer(values)
    array_, misfits = encode(values, type_)
    return array_, {position: text(values[position]) for position in sorted(misfits)}


def infer(values: Sequence[Any]) -> pa.DataType:
    """Bool < bigint < double, date < timestamp, lists and structs element-wise; a mix with numbers is numeric."""
    import pyarrow as pa

    types = set(map(type, values))
    types.discard(_NONE)
    if types & _NUMBERS:
        return pa.float64() if float in types else pa.int64() if int in types else pa.bool_()
    if datetime.datetime in types:
        return pa.timestamp("us")
    if datetime.date in types:
        return pa.date32()
    if list in types:
        return pa.list_(infer([item for value in values if type(value) is list for item in value]))
    if dict in types:
        return _infer_struct([value for value in values if type(value) is dict])
    if datetime.time in types:
        return pa.time64("us")
    if bytes in types:
        return pa.binary()
    return pa.string() if types else pa.null()


def encode(values: Sequence[Any], type_: pa.DataType) -> tuple[pa.Array, set[int]]:
    """`values` as an array of `type_`; positions of values that do not fit are NULL and returned."""
    import pyarrow as pa

    if pa.types.is_floating(type_):
        return _encode_numbers(values, "d", _to_double)
    if pa.types.is_integer(type_):
        return _encode_numbers(values, "q" if type_.bit_width == 64 else "i", _to_bigint)
    if pa.types.is_list(type_):
        return _encode_lists(values, type_)
    if pa.types.is_struct(type_):
        return _encode_structs(values, type_)
    if pa.types.is_string(type_) or pa.types.is_binary(type_):
        return _encode_bytes(values, type_)
    if pa.types.is_null(type_):
        return pa.nulls(len(values)), {i for i, value in enumerate(values) if value is not None}
    return _encode_small(values, type_)


def scatter(dense: pa.Array, rows: Sequence[int], count: int) -> pa.Array:
    """`dense[i]` at `rows[i]` of an array of `count` rows, NULL elsewhere."""
    if len(rows) == count and all(map(eq, rows, range(count))):
        return dense
    places = array("q", [0]) * count
    valid = bytearray(count)
    for position, row in enumerate(rows):
        places[row] = position
        valid[row] = 1
    return dense.take(fixed(places, "int64", valid))


def fixed(data: array[Any], type_name: str, valid: bytearray | None = None) -> pa.Array:
    """An array over the machine numbers of `data`; `valid` has a 0 for each NULL."""
    import pyarrow as pa

    return pa.Array.from_buffers(getattr(pa, type_name)(), len(data), [_bitmap(valid), pa.py_buffer(data)])


def repeated(value: str, count: int) -> pa.Array:
    """A text, `count` times."""
    import pyarrow as pa

    data = value.encode("utf-8", "replace")
    large = len(data) * count >= 1 << 31
    offsets = array("q" if large else "i", range(0, len(data) * count + 1, len(data)) if data else [0] * (count + 1))
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data * count)]
    return pa.Array.from_buffers(pa.large_string() if large else pa.string(), count, buffers)


def strings(values: Sequence[str | None]) -> pa.Array:
    """An array of text."""
    import pyarrow as pa

    return _encode_bytes(values, pa.string())[0]


def string_lists(values: Sequence[Sequence[str] | None]) -> pa.Array:
    """An array of lists of text."""
    import pyarrow as pa

    if values.count(None) == len(values):
        return pa.nulls(len(values), pa.list_(pa.string()))
    return _encode_lists([None if value is None else list(value) for value in values], pa.list_(pa.string()))[0]


def text(value: object) -> str:
    """What `"name$text"` shows of a value that does not fit."""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, dict)):
        return to_json(value)
    return str(_digits(value)) if isinstance(value, int) else str(value)


def _digits(value: int) -> int | str:
    """An integer, in hexadecimal if it has more digits than Python writes."""
    return value if value.bit_length() <= _WRITTEN_BITS else hex(value)


def to_json(value: object) -> str:
    """JSON text; numbers that JSON lacks become text."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str, allow_nan=False)
    except (ValueError, TypeError):
        return json.dumps(_jsonable(value), ensure_ascii=False, default=str)


def _jsonable(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else _MARKED_FLOATS.get(value, "NaN")
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    return _digits(value) if type(value) is int else value


def _plain(value: object) -> object:
    """Subclasses as their base types; what is none of ours as its text."""
    for base in (bool, int, float, str, bytes, datetime.datetime, datetime.date, datetime.time):
        if isinstance(value, base):
            return base(value) if base in (int, float, str, bytes) else value  # type: ignore[arg-type]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if value is None else repr(value)


def _infer_struct(values: list[dict[Any, Any]]) -> pa.DataType:
    import pyarrow as pa

    names = list(values[0])
    same = all(value.keys() == values[0].keys() for value in values)
    folded = {str(name).lower() for name in names}
    usable = all(isinstance(name, str) and name and name.isprintable() for name in names)
    if not names or not same or len(folded) < len(names) or not usable:
        return pa.string()
    return pa.struct([pa.field(name, infer([value[name] for value in values])) for name in names])


def _bitmap(valid: bytearray | None) -> Any:
    import pyarrow as pa

    if valid is None or 0 not in valid:
        return None
    flags = pa.Array.from_buffers(pa.int8(), len(valid), [None, pa.py_buffer(valid)])
    return flags.cast(pa.bool_()).buffers()[1]


def _encode_numbers(values: Sequence[Any], code: Literal["d", "q", "i"], convert: Any) -> tuple[pa.Array, set[int]]:
    types = set(map(type, values))
    if types <= ({float} if code == "d" else {int, bool}):
        with contextlib.suppress(OverflowError):
            return fixed(array(code, values), _NAMES[code]), set()
    out: array[Any] = array(code, [0]) * len(values)
    valid, bad = bytearray(len(values)), set()
    for position, value in enumerate(values):
        if value is None:
            continue
        number = convert(value)
        if number is None:
            bad.add(position)
        else:
            out[position] = number
            valid[position] = 1
    return fixed(out, _NAMES[code], valid), bad


_NAMES = {"d": "float64", "q": "int64", "i": "int32"}


def _to_double(value: object) -> float | None:
    if type(value) is float:
        return value
    if isinstance(value, int):
        try:
            return float(value) if int(float(value)) == value else None
        except OverflowError:
            return None
    return None


def _to_bigint(value: object) -> int | None:
    return int(value) if isinstance(value, int) and _INT_MIN <= value <= _INT_MAX else None


def _encode_bytes(values: Sequence[Any], type_: pa.DataType) -> tuple[pa.Array, set[int]]:
    import pyarrow as pa

    is_text = pa.types.is_string(type_)
    if is_text and (plain := _encode_plain_text(values)) is not None:
        return plain, set()
    encoded: list[bytes] = []
    valid, bad = bytearray(len(values)), set()
    for position, value in enumerate(values):
        if is_text and isinstance(value, dict):
            value = to_json(value)
        fits = isinstance(value, str if is_text else bytes)
        valid[position] = fits
        if not fits and value is not None:
            bad.add(position)
        encoded.append(b"" if not fits else value.encode("utf-8", "replace") if is_text else value)
    large = sum(map(len, encoded)) >= 1 << 31
    offsets = array("q" if large else "i", accumulate(map(len, encoded), initial=0))
    kind = (pa.large_string() if is_text else pa.large_binary()) if large else type_
    buffers = [_bitmap(valid), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(kind, len(encoded), buffers), bad


def _encode_plain_text(values: Sequence[Any]) -> pa.Array | None:
    """Text of ASCII alone, without a step of Python's for each value; None where some value is something else."""
    import pyarrow as pa

    try:
        data = "".join(values).encode("ascii")
    except (TypeError, UnicodeEncodeError):
        return None
    if len(data) >= 1 << 31:
        return None
    buffers = [None, pa.py_buffer(array("i", accumulate(map(len, values), initial=0))), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def _encode_lists(values: Sequence[Any], type_: pa.DataType) -> tuple[pa.Array, set[int]]:
    import pyarrow as pa

    lists = [value if type(value) is list else () for value in values]
    flat = [item for value in lists for item in value]
    items, bad_items = encode(flat, type_.value_type)
    offsets = array("i", accumulate(map(len, lists), initial=0))
    owner = [row for row, value in enumerate(lists) for _ in value] if bad_items else []
    bad = {owner[item] for item in bad_items}
    bad |= {row for row, value in enumerate(values) if value is not None and type(value) is not list}
    valid = bytearray(value is not None and row not in bad for row, value in enumerate(values))
    buffers = [_bitmap(valid), pa.py_buffer(offsets)]
    return pa.Array.from_buffers(type_, len(lists), buffers, children=[items]), bad


def _encode_structs(values: Sequence[Any], type_: pa.DataType) -> tuple[pa.Array, set[int]]:
    import pyarrow as pa

    children, bad = [], {row for row, value in enumerate(values) if value is not None and type(value) is not dict}
    for field in type_:
        items = [value.get(field.name) if type(value) is dict else None for value in values]
        child, misfits = encode(items, field.type)
        children.append(child)
        bad |= misfits
    valid = bytearray(value is not None and row not in bad for row, value in enumerate(values))
    return pa.Array.from_buffers(type_, len(values), [_bitmap(valid)], children=children), bad


def _encode_small(values: Sequence[Any], type_: pa.DataType) -> tuple[pa.Array, set[int]]:
    """Booleans, dates, timestamps and times, through the integers that stand for them."""
    import pyarrow as pa

    convert: Callable[[object], int | None]
    if pa.types.is_boolean(type_):
        code, name, convert = "b", "int8", _flag
    elif pa.types.is_date(type_):
        code, name, convert = "i", "int32", _days
    else:
        code, name = "q", "int64"
        convert = _microseconds if pa.types.is_timestamp(type_) else _time_of_day
    out: array[Any] = array(code, [0]) * len(values)
    valid, bad = bytearray(len(values)), set()
    for position, value in enumerate(values):
        number = None if value is None else convert(value)
        if number is not None:
            out[position], valid[position] = number, 1
        elif value is not None:
            bad.add(position)
    numbers = fixed(out, name, valid)
    return (numbers.cast(type_) if name == "int8" else numbers.view(type_)), bad


def _flag(value: object) -> int | None:
    return int(value) if type(value) is bool else None


def _days(value: object) -> int | None:
    return (value - _EPOCH.date()).days if type(value) is datetime.date else None


def _microseconds(value: object) -> int | None:
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(datetime.UTC).replace(tzinfo=None)
        return (value - _EPOCH) // _MICROSECOND
    return None if not isinstance(value, datetime.date) else (value - _EPOCH.date()).days * 86_400_000_000


def _time_of_day(value: object) -> int | None:
    if not isinstance(value, datetime.time):
        return None
    return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond


def timestamps(seconds: Iterable[float | None]) -> pa.Array:
    """UTC timestamps (us) from seconds since the epoch; None and NaN are NULL."""
    import pyarrow as pa

    values = list(seconds)
    with contextlib.suppress(TypeError, ValueError):
        return fixed(array("q", [round(value * 1e6) for value in values]), "int64").view(pa.timestamp("us"))  # type: ignore[operator]
    valid = bytearray(value is not None and not math.isnan(value) for value in values)
    micros = array("q", [round(value * 1e6) if there else 0 for value, there in zip(values, valid, strict=True)])  # type: ignore[operator]
    return fixed(micros, "int64", valid).view(pa.timestamp("us"))
