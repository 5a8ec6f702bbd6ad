"""Results as text or bytes: an aligned table, CSV, JSON, JSON lines, Markdown, Parquet, Arrow."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import math
import os
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TextIO, cast
from uuid import UUID

from logql.beyond import bignum, named_infinity, python_values
from logql.rows import bits

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("table", "csv", "json", "jsonl", "markdown", "parquet", "arrow")
BINARY_FORMATS = ("parquet", "arrow")

#: A terminal shows at most so many rows of a longer result, half from its head, half from its end.
TERMINAL_ROWS = 200

_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"


def write_result(reader: pa.RecordBatchReader, form: str, stream: TextIO, types: Sequence[str] = ()) -> int:
    """Write all rows in a format of FORMATS to a text stream (binary formats to its buffer); returns their number.

    `types` are DuckDB's names of the columns' types, for those that Arrow has no type of its own for.
    All but `table` and `markdown`, which must know the widths of their columns, hold one batch in memory at a time.
    """
    if form in BINARY_FORMATS:
        return _BINARY[form](reader, stream.buffer)
    if form == "table":
        return write_table(reader.schema, _rows(reader, types), stream)
    return _TEXT[form](reader.schema, _rows(reader, types), stream)


def write_table(schema: pa.Schema, rows: Iterable[dict[str, Any]], stream: TextIO) -> int:
    """Write an aligned table; a terminal gets one that fits it, with what is left out told at its foot."""
    names = list(schema.names)
    if names == ["explain_key", "explain_value"]:
        return _write_plans(rows, stream)
    cells, count = _shown_cells(rows, len(names), TERMINAL_ROWS if stream.isatty() else None)
    right = [_is_number(field.type) for field in schema]
    styled = use_colour(stream)
    widths = [max([_width(name), *(_width(row[i]) for row in cells)]) for i, name in enumerate(names)]
    shown = _fit(widths, _terminal_width(stream))
    names, widths, right = names[: len(shown)], shown, right[: len(shown)]
    _write_row(stream, names, widths, right, _BOLD if styled else "")
    stream.write("  ".join("-" * width for width in widths) + "\n")
    for row in cells:
        _write_row(stream, row[: len(widths)], widths, right, "", _DIM if styled else "")
    left_out = [f"{len(schema.names) - len(shown)} columns" if len(shown) < len(schema.names) else ""]
    left_out.append(f"{count - len(cells) + 1} of {count} rows" if len(cells) < count else "")
    if any(left_out):
        stream.write(f"({' and '.join(filter(None, left_out))} not shown: use --format csv or a narrower query)\n")
    return count


def _shown_cells(rows: Iterable[dict[str, Any]], columns: int, most: int | None) -> tuple[list[list[str]], int]:
    """The cells of all rows, or of the first and last `most` with a row of dots between; and the number of rows."""
    head: list[list[str]] = []
    tail: deque[dict[str, Any]] = deque(maxlen=most and most // 2)
    count = 0
    for count, row in enumerate(rows, start=1):
        if most is None or count <= most - most // 2:
            head.append([show(value) for value in row.values()])
        else:
            tail.append(row)
    gap = [["..."] * columns] if len(head) + len(tail) < count else []
    return [*head, *gap, *([show(value) for value in row.values()] for row in tail)], count


def _write_plans(rows: Iterable[dict[str, Any]], stream: TextIO) -> int:
    """The plans of EXPLAIN as the texts that they are."""
    count = 0
    for row in rows:
        stream.write(("\n" if count else "") + str(row["explain_value"]).rstrip("\n") + "\n")
        count += 1
    return count


def show(value: object) -> str:
    """A value as a table's cell: floats with six significant digits, control characters escaped."""
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, dict)):
        return _escape(json.dumps(to_json(value), ensure_ascii=False))
    return _escape(_text(value))


def use_colour(stream: IO[str]) -> bool:
    """Whether to style text: on a terminal that can, unless NO_COLOR is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def to_json(value: object) -> object:
    """A value as JSON has it; what JSON lacks (NaN, infinities, times, bytes) becomes text.

    So does a fraction with more digits than a float has.
    """
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(key): to_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        is_map = bool(value) and all(type(inner) is tuple for inner in value)
        return to_json(_map(value)) if is_map else [to_json(inner) for inner in value]
    return _text(value)


def _number(value: Decimal) -> int | float | str:
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (str, int, float, date, time, timedelta, Decimal, UUID)):
        return str(value)
    return _interval(*value) if type(value).__name__ == "MonthDayNano" else repr(value)  # type: ignore[misc]


def _interval(months: int, days: int, nanoseconds: int) -> str:
    """An interval as DuckDB writes it, such as `1 year 2 days 03:04:05.5`."""
    years = int(months / 12)
    parts = [
        f"{count} {unit}{'' if abs(count) == 1 else 's'}"
        for count, unit in ((years, "year"), (months - 12 * years, "month"), (days, "day"))
        if count
    ]
    seconds, microseconds = divmod(abs(nanoseconds) // 1000, 1_000_000)
    if nanoseconds or not parts:
        sign = "-" if nanoseconds < 0 else ""
        time_ = f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        parts.append(time_ + (f".{microseconds:06}".rstrip("0") if microseconds else ""))
    return " ".join(parts)


def _rows(reader: pa.RecordBatchReader, types: Sequence[str]) -> Iterator[dict[str, Any]]:
    names = _unique(reader.schema.names)
    for batch in reader:
        columns = [
            _values(column, type_) for column, type_ in itertools.zip_longest(batch.columns, types, fillvalue="")
        ]
        for values in zip(*columns, strict=True):
            yield dict(zip(names, values, strict=True))


def _values(column: pa.Array, type_: str) -> list[Any]:
    from pyarrow import types

    values = python_values(column, named_infinity)
    convert = bits if type_ == "BIT" else bignum if type_ == "BIGNUM" else _map if types.is_map(column.type) else None
    return [None if value is None else convert(value) for value in values] if convert is not None else values


def _map(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A map as an object, whose keys are text where they are lists or structs."""
    return {
        json.dumps(to_json(key), ensure_ascii=False) if isinstance(key, (list, dict)) else key: value
        for key, value in pairs
    }


def _unique(names: Sequence[str]) -> list[str]:
    """Names of a result's columns, the second `x` as `x_1`: rows are written as objects."""
    found: list[str] = []
    for name in names:
        number, free = 0, name
        while free in found:
            number += 1
            free = f"{name}_{number}"
        found.append(free)
    return found


def _write_csv(schema: pa.Schema, rows: Iterable[dict[str, Any]], stream: TextIO) -> int:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(schema.names)
    count = 0
    for row in rows:
        writer.writerow([_csv_cell(value) for value in row.values()])
        count += 1
    return count


def _csv_cell(value: object) -> str | float | int | None:
    if isinstance(value, (list, dict)):
        return json.dumps(to_json(value), ensure_ascii=False)
    return value if isinstance(value, float) or value is None else _text(value)


def _write_json(_: pa.Schema, rows: Iterable[dict[str, Any]], stream: TextIO) -> int:
    count = 0
    for row in rows:
        stream.write("[\n" if count == 0 else ",\n")
        stream.write("  " + json.dumps(to_json(row), ensure_ascii=False))
        count += 1
    stream.write("\n]\n" if count else "[]\n")
    return count


def _write_jsonl(_: pa.Schema, rows: Iterable[dict[str, Any]], stream: TextIO) -> int:
    count = 0
    for row in rows:
        stream.write(json.dumps(to_json(row), ensure_ascii=False) + "\n")
        count += 1
    return count


def _write_markdown(schema: pa.Schema, rows: Iterable[dict[str, Any]], stream: TextIO) -> int:
    cells = [[show(value).replace("|", "\\|") for value in row.values()] for row in rows]
    names = [name.replace("|", "\\|") for name in schema.names]
    right = [_is_number(field.type) for field in schema]
    widths = [max([3, _width(name), *(_width(row[i]) for row in cells)]) for i, name in enumerate(names)]
    rules = ["-" * (width - 1) + (":" if side else "-") for width, side in zip(widths, right, strict=True)]
    for row in (names, rules, *cells):
        padded = (_pad(text, width, side) for text, width, side in zip(row, widths, right, strict=True))
        stream.write("| " + " | ".join(padded) + " |\n")
    return len(cells)


def _write_parquet(reader: pa.RecordBatchReader, stream: BinaryIO) -> int:
    import pyarrow.parquet as pq

    if not _is_arrows_to_write(reader.schema):
        from logql.execute.parquetfile import write_parquet

        return write_parquet(reader, stream)
    count = 0
    with pq.ParquetWriter(stream, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def _is_arrows_to_write(schema: pa.Schema) -> bool:
    """Whether Arrow's writer of Parquet knows all types of a result."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.write_table(schema.empty_table(), io.BytesIO())
    except pa.ArrowException:
        return False
    return True


def _write_arrow(reader: pa.RecordBatchReader, stream: BinaryIO) -> int:
    import pyarrow as pa

    count = 0
    with pa.ipc.new_stream(stream, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            count += batch.num_rows
    return count


_TEXT: dict[str, Callable[[Any, Iterable[dict[str, Any]], TextIO], int]] = {
    "csv": _write_csv,
    "json": _write_json,
    "jsonl": _write_jsonl,
    "markdown": _write_markdown,
}
_BINARY: dict[str, Callable[[Any, BinaryIO], int]] = {"parquet": _write_parquet, "arrow": _write_arrow}


def _write_row(
    stream: TextIO, cells: Sequence[str], widths: Sequence[int], right: Sequence[bool], style: str, null: str = ""
) -> None:
    parts = []
    for text, width, side in zip(cells, widths, right, strict=True):
        code = style or (null if text == "NULL" else "")
        padded = _pad(_cut(text, width), width, side)
        parts.append(f"{code}{padded}{_PLAIN}" if code else padded)
    stream.write("  ".join(parts).rstrip(" ") + "\n")


def _fit(widths: Sequence[int], room: int | None) -> list[int]:
    """Widths that fit the terminal: the widest shrink first, to 12 at least, then columns at the end go."""
    fitted = list(widths)
    if room is None:
        return fitted
    while sum(fitted) + 2 * (len(fitted) - 1) > room:
        widest = max(range(len(fitted)), key=fitted.__getitem__)
        if fitted[widest] > 12:
            fitted[widest] -= 1
        elif len(fitted) > 1:
            fitted.pop()
        else:
            break
    return fitted


def _terminal_width(stream: TextIO) -> int | None:
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def _is_number(type_: object) -> bool:
    from pyarrow import types

    checks = (types.is_integer, types.is_floating, types.is_decimal)
    return any(check(cast("Any", type_)) for check in checks)


def _escape(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _width(text: str) -> int:
    """Columns that a text takes in a terminal."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while _width(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
