"""Tables drawn for a terminal: they fit its width and height, and tell what they leave out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prompt_toolkit.utils import get_cwidth

from logql.beyond import named_infinity, python_values
from logql.formats import show

if TYPE_CHECKING:
    import pyarrow as pa

_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
#: A column is not narrowed below this; columns in the middle go first.
_NARROWEST = 10
_NUMBERS = "TINYINT SMALLINT INTEGER BIGINT HUGEINT UTINYINT USMALLINT UINTEGER UBIGINT UHUGEINT FLOAT DOUBLE DECIMAL"


@dataclass(frozen=True)
class View:
    """What a result has to fit: `width` columns and `rows` rows of text, None for as many as there are."""

    width: int | None = None
    rows: int | None = None
    styled: bool = False
    null: str = "NULL"


@dataclass(frozen=True)
class Border:
    """The characters of a grid: left, cross and right of its top, middle and bottom rule, the rule, the bar."""

    top: str
    middle: str
    bottom: str
    rule: str
    bar: str
    outer: bool = True
    types: bool = False


BORDERS: Mapping[str, Border] = {
    "duckbox": Border("┌┬┐", "├┼┤", "└┴┘", "─", "│", types=True),
    "box": Border("┌┬┐", "├┼┤", "└┴┘", "─", "│"),
    "table": Border("+++", "+++", "+++", "-", "|"),
    "column": Border("", "  ", "", "-", " ", outer=False),
}


def draw(reader: pa.RecordBatchReader, types: Sequence[str], style: str, view: View) -> Iterator[str]:
    """The lines of a table in a style of BORDERS, with a foot where something is left out or the style has types."""
    border = BORDERS[style]
    head, tail, count = _ends(reader, view)
    rows = head + tail
    names = [show(name) for name in reader.schema.names]
    kinds = [type_.lower() for type_ in types]
    headers = [[name, kind] if border.types else [name] for name, kind in zip(names, kinds, strict=True)]
    widths = [max(map(text_width, [*headers[i], *(row[i] for row in rows)])) for i in range(len(names))]
    shown = _choose(widths, _room(view.width, border))
    grid = _Grid(border, shown, [is_number(type_) for type_ in types], view)
    yield from grid.header(headers)
    for number, row in enumerate(rows):
        if number == len(head):
            yield from grid.gap()
        yield grid.row(row)
    yield from grid.end()
    columns = len(names), sum(i is not None for i in shown)
    yield from _foot(count, len(rows), columns, border)


class _Grid:
    """Draws rows of the columns `shown`; None stands for columns left out."""

    def __init__(self, border: Border, shown: Mapping[int | None, int], right: Sequence[bool], view: View) -> None:
        self._border = border
        self._shown = shown
        self._right = right
        self._view = view

    def header(self, headers: Sequence[Sequence[str]]) -> Iterator[str]:
        """The names and, in some styles, the types of the columns."""
        yield from self._rule(self._border.top)
        for line in range(len(headers[0]) if headers else 0):
            style = _BOLD if line == 0 else _DIM
            yield self.row([texts[line] for texts in headers], style if self._view.styled else "")
        yield from self._rule(self._border.middle)

    def row(self, cells: Sequence[str], style: str = "") -> str:
        """One row of cells."""
        return self._join([self._cell(i, cells, width, style) for i, width in self._shown.items()])

    def gap(self) -> Iterator[str]:
        """Rows that stand for those left out."""
        for _ in range(3):
            yield self._join(["·".center(width) for width in self._shown.values()])

    def end(self) -> Iterator[str]:
        """The rule below the last row."""
        yield from self._rule(self._border.bottom)

    def _cell(self, number: int | None, cells: Sequence[str], width: int, style: str) -> str:
        if number is None:
            return "…"
        text = pad(cut(cells[number], width), width, self._right[number])
        code = style or (_DIM if self._view.styled and cells[number] == self._view.null else "")
        return f"{code}{text}{_PLAIN}" if code else text

    def _join(self, cells: Sequence[str]) -> str:
        bar = self._border.bar
        if not self._border.outer:
            return (bar * 2).join(cells).rstrip()
        return f"{bar} " + f" {bar} ".join(cells) + f" {bar}"

    def _rule(self, ends: str) -> Iterator[str]:
        rule = self._border.rule
        if not ends:
            return
        if not self._border.outer:
            yield "  ".join(rule * width for width in self._shown.values())
        else:
            yield ends[0] + ends[1].join(rule * (width + 2) for width in self._shown.values()) + ends[2]


def cells_of(table: pa.Table | pa.RecordBatch) -> list[list[object]]:
    """The rows of a table as lists of values."""
    columns = [python_values(column, named_infinity) for column in table.columns]
    return [list(values) for values in zip(*columns, strict=True)] if columns else []


def cell_text(value: object, null: str = "NULL") -> str:
    """A value as a cell; a text that reads like the mark of a NULL is quoted, so that the two are told apart."""
    if value is None:
        return null
    text = show(value)
    return f"'{text}'" if isinstance(value, str) and text == null else text


def is_number(type_: str) -> bool:
    """Whether a DuckDB type is one of numbers, which stand at the right."""
    return type_.partition("(")[0] in _NUMBERS.split()


def text_width(text: str) -> int:
    """Columns that a text takes in a terminal."""
    return len(text) if text.isascii() else get_cwidth(text)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` columns, with an ellipsis where it is cut."""
    if text_width(text) <= width:
        return text
    kept, used = [], 0
    for char in text:
        used += get_cwidth(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…"


def cut_lines(text: str, width: int | None) -> str:
    """A text whose lines are at most `width` columns wide; a line at its end tells that some are cut."""
    lines = text.splitlines()
    if width is None or all(text_width(line) <= width for line in lines):
        return text
    return "\n".join([*(cut(line, width) for line in lines), "(lines cut to fit: .output FILE writes them whole)", ""])


def pad(text: str, width: int, right: bool) -> str:
    """`text` filled with spaces to `width` columns."""
    space = " " * (width - text_width(text))
    return space + text if right else text + space


def _ends(reader: pa.RecordBatchReader, view: View) -> tuple[list[list[str]], list[list[str]], int]:
    """The cells of the first and of the last rows shown (none of these, if all are), and how many rows there are.

    Of a long result, memory has one batch at a time, and what is shown.
    """
    kept = 0 if view.rows is None else view.rows // 2
    head: list[list[str]] = []
    tail: deque[list[object]] = deque(maxlen=kept)
    count = 0
    for batch in reader:
        begin = batch.num_rows if view.rows is None else max(0, view.rows - kept - count)
        head += _cells(batch.slice(0, begin), view)
        tail.extend(cells_of(batch.slice(max(begin, batch.num_rows - kept))))
        count += batch.num_rows
    last = [[cell_text(value, view.null) for value in row] for row in tail]
    return (head, last, count) if len(head) + len(last) < count else (head + last, [], count)


def _cells(table: pa.RecordBatch, view: View) -> list[list[str]]:
    return [[cell_text(value, view.null) for value in row] for row in cells_of(table)]


def _room(width: int | None, border: Border) -> int | None:
    return None if width is None else width - (4 if border.outer else 0)


def _choose(widths: Sequence[int], room: int | None) -> dict[int | None, int]:
    """Columns and their widths that fit: the widest shrink first, then columns in the middle go."""
    if room is None:
        return dict(enumerate(widths))
    shown: dict[int | None, int] = {i: max(1, min(width, room)) for i, width in enumerate(widths)}
    while _total(shown) > room:
        widest = max((i for i in shown if i is not None), key=shown.__getitem__)
        if shown[widest] > _NARROWEST:
            shown[widest] -= 1
        elif len([i for i in shown if i is not None]) > 1:
            shown = _without_middle(shown, widths)
        else:
            shown[widest] = max(1, shown[widest] - (_total(shown) - room))
            break
    return _widen(shown, widths, room)


def _without_middle(shown: Mapping[int | None, int], widths: Sequence[int]) -> dict[int | None, int]:
    """One column less; the others get their own widths back."""
    numbers = [i for i in shown if i is not None]
    head = (len(numbers) + 1) // 2
    gone = head - 1 if len(numbers) % 2 else head
    left = [i for i in numbers if i != numbers[gone]]
    place = sum(i < numbers[gone] for i in left)
    found: dict[int | None, int] = {}
    for number, i in enumerate(left):
        if number == place:
            found[None] = 1
        found[i] = min(widths[i], _NARROWEST)
    return found if None in found else {**found, None: 1}


def _widen(shown: dict[int | None, int], widths: Sequence[int], room: int) -> dict[int | None, int]:
    """Give room that is left to columns narrower than their text, from the left."""
    for i in shown:
        if i is not None:
            shown[i] += max(0, min(widths[i] - shown[i], room - _total(shown)))
    return shown


def _total(shown: Mapping[int | None, int]) -> int:
    return sum(shown.values()) + 3 * (len(shown) - 1)


def _foot(rows: int, shown: int, columns: tuple[int, int], border: Border) -> Iterator[str]:
    """How many rows and columns there are, and how many are shown."""
    width, seen = columns
    parts = [f"{rows:,} row{'' if rows == 1 else 's'}" + (f" ({shown:,} shown)" if shown < rows else "")]
    if seen < width:
        parts.append(f"{width} columns ({seen} shown)")
    if border.types or shown < rows or seen < width:
        yield "  ".join(parts)
