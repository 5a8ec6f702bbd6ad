"""The forms of a result that `.mode` offers, under DuckDB's names."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, TextIO, cast

from logql.errors import ProgrammingError
from logql.formats import write_result
from logql.repl.grid import BORDERS, View, cell_text, cells_of, draw

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of a result that are text at a time.
_BATCH = 10_000
_SHARED = {"csv": "csv", "json": "json", "jsonlines": "jsonl", "markdown": "markdown"}
#: Forms for people, which leave out what does not fit a terminal.
FITTED = frozenset(BORDERS)


def write(reader: pa.RecordBatchReader, types: Sequence[str], mode: str, stream: IO[str], view: View) -> None:
    """Write a result in a mode of MODES; those not in FITTED have every row."""
    if mode in BORDERS:
        for line in draw(reader, types, mode, view):
            stream.write(line + "\n")
    elif mode in _SHARED:
        write_result(reader, _SHARED[mode], cast("TextIO", stream), types)
    else:
        for line in _LINES[mode](reader, view):
            stream.write(line + "\n")


def check_mode(name: str) -> str:
    """The mode of this name; ProgrammingError with the known ones if there is none."""
    if name.lower() not in MODES:
        raise ProgrammingError(f"there is no mode {name!r}", candidates=MODES)
    return name.lower()


def _rows(reader: pa.RecordBatchReader) -> Iterator[list[object]]:
    for batch in reader:
        for start in range(0, batch.num_rows, _BATCH):
            yield from cells_of(batch.slice(start, _BATCH))


def _line(reader: pa.RecordBatchReader, view: View) -> Iterator[str]:
    width = max((len(name) for name in reader.schema.names), default=0)
    for number, row in enumerate(_rows(reader)):
        if number:
            yield ""
        for name, value in zip(reader.schema.names, row, strict=True):
            yield f"{name.rjust(width)} = {cell_text(value, view.null)}"


def _separated(by: str) -> Callable[[pa.RecordBatchReader, View], Iterator[str]]:
    def lines(reader: pa.RecordBatchReader, view: View) -> Iterator[str]:
        yield by.join(reader.schema.names)
        for row in _rows(reader):
            yield by.join("" if value is None else cell_text(value, view.null) for value in row)

    return lines


def _list(reader: pa.RecordBatchReader, view: View) -> Iterator[str]:
    yield from _separated("|")(reader, view)


def _html(reader: pa.RecordBatchReader, view: View) -> Iterator[str]:
    yield "<table>"
    yield "<tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in reader.schema.names) + "</tr>"
    for row in _rows(reader):
        yield "<tr>" + "".join(f"<td>{html.escape(cell_text(value, view.null))}</td>" for value in row) + "</tr>"
    yield "</table>"


def _latex(reader: pa.RecordBatchReader, view: View) -> Iterator[str]:
    yield "\\begin{tabular}{" + "l" * len(reader.schema) + "}"
    for row in ([*reader.schema.names], *_rows(reader)):
        yield " & ".join(_latex_cell(cell_text(value, view.null)) for value in row) + " \\\\"
    yield "\\end{tabular}"


def _latex_cell(text: str) -> str:
    text = text.replace("\\", "\0").replace("{", "\\{").replace("}", "\\}").replace("\0", "\\textbackslash{}")
    for char in "&%$#_":
        text = text.replace(char, "\\" + char)
    return text.replace("~", "\\textasciitilde{}").replace("^", "\\textasciicircum{}")


def _insert(reader: pa.RecordBatchReader, view: View) -> Iterator[str]:  # noqa: ARG001
    names = ", ".join('"' + name.replace('"', '""') + '"' for name in reader.schema.names)
    for row in _rows(reader):
        yield f"INSERT INTO result ({names}) VALUES ({', '.join(map(_literal, row))});"


def _quote(reader: pa.RecordBatchReader, view: View) -> Iterator[str]:  # noqa: ARG001
    yield ",".join(map(_literal, reader.schema.names))
    for row in _rows(reader):
        yield ",".join(map(_literal, row))


def _literal(value: object) -> str:
    """A value as SQL has it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value) if value == value and abs(value) != float("inf") else f"'{value}'::DOUBLE"
    if isinstance(value, bytes):
        return "'" + "".join(f"\\x{byte:02X}" for byte in value) + "'::BLOB"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(str(key))}: {_literal(inner)}" for key, inner in value.items()) + "}"
    return "'" + str(value).replace("'", "''") + "'"


def _trash(reader: pa.RecordBatchReader, view: View) -> Iterator[str]:  # noqa: ARG001
    yield from ()


_LINES: Mapping[str, Callable[[pa.RecordBatchReader, View], Iterator[str]]] = {
    "ascii": _separated("\x1f"),
    "html": _html,
    "insert": _insert,
    "latex": _latex,
    "line": _line,
    "list": _list,
    "quote": _quote,
    "tabs": _separated("\t"),
    "trash": _trash,
}

MODES: tuple[str, ...] = tuple(sorted([*BORDERS, *_SHARED, *_LINES]))
