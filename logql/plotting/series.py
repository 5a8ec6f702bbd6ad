"""Which columns of a result become axes and lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from logql.errors import NotSupportedError, ProgrammingError

if TYPE_CHECKING:
    import pyarrow as pa

#: More rows than this are not drawn: nobody could tell them apart, and each takes memory.
MOST_ROWS = 1_000_000
MOST_LINES = 40
#: Columns that name lines, the first that tell lines apart.
_NAMING = ("version", "run", "name", "rank")
Kind = Literal["number", "time", "text", "other"]


@dataclass(frozen=True)
class Line:
    """One line: its label, and its points in the order of x; a y of None is a gap."""

    label: str
    x: list[Any]
    y: list[float | None]


@dataclass(frozen=True)
class Series:
    """Lines over one axis. `x_kind` tells numbers from times."""

    x: str
    x_kind: Literal["number", "time"]
    y: str
    lines: tuple[Line, ...]


def choose_series(table: pa.Table, roles: Mapping[str, str] | None = None) -> Series:
    """The lines of a result: numeric columns over an ordered one, a line per version, run or other text.

    `roles` may name `x`, `y` (several, with commas) and `by`. Raises ProgrammingError where nothing fits.
    """
    if table.num_rows > MOST_ROWS:
        raise NotSupportedError(
            f"{table.num_rows:,} rows are too many to draw", hint=f"aggregate or sample to {MOST_ROWS:,} at most"
        )
    columns = _Columns(table)
    roles = dict(roles or {})
    by = [columns.find(name) for name in roles["by"].split(",")] if "by" in roles else columns.naming()
    x = columns.find(roles["x"]) if "x" in roles else columns.ordered(by)
    ys = [columns.find(name) for name in roles["y"].split(",")] if "y" in roles else columns.measured(x, by)
    if not ys:
        raise ProgrammingError("no numeric column is left to draw", hint="a plot needs an ordered column and numbers")
    for name in ys:
        if columns.kinds[name] != "number":
            raise ProgrammingError(f"{name} has no numbers to draw")
    lines = _lines(columns, x, ys, by)
    if len(lines) > MOST_LINES:
        raise ProgrammingError(
            f"{len(lines)} lines are too many to tell apart", hint="filter or aggregate, or name by=COLUMN"
        )
    kind: Literal["number", "time"] = "time" if x is not None and columns.kinds[x] == "time" else "number"
    return Series(x or "row", kind, ys[0] if len(ys) == 1 else "value", tuple(lines))


class _Columns:
    """A result's columns by name, with what each can be."""

    def __init__(self, table: pa.Table) -> None:
        values = {name: table.column(i).to_pylist() for i, name in reversed(list(enumerate(table.column_names)))}
        self.values: dict[str, list[Any]] = {name: values[name] for name in dict.fromkeys(table.column_names)}
        self.kinds = {field.name: _kind(field.type) for field in table.schema}
        self.whole = {field.name for field in table.schema if _is_whole(field.type)}

    def find(self, name: str) -> str:
        """The column of this name, whatever its case."""
        found = next((column for column in self.values if column.lower() == name.lower()), None)
        if found is None:
            raise ProgrammingError(f"the result has no column {name!r}", candidates=list(self.values)[:10])
        return found

    def naming(self) -> list[str]:
        """Columns that tell lines apart: version, run, else the first text with few values."""
        texts = [name for name, kind in self.kinds.items() if kind == "text"]
        known = [name for name in _NAMING if name in self.values and self._several(name)]
        if "version" in known and "run" in known and self._determines("version", "run"):
            known.remove("run")
        others = [name for name in texts if name not in _NAMING and self._several(name)]
        return known or others[:1]

    def ordered(self, by: Sequence[str]) -> str | None:
        """The column to draw over: a time or whole number that does not repeat in a line, the innermost such."""
        candidates = [name for name in self.values if self.kinds[name] == "time" or name in self.whole]
        candidates = [name for name in candidates if name not in by]
        unique = [name for name in candidates if not self._repeats(name, by)]
        plain = [name for name in unique if not name.endswith(("_index", "_entry"))]
        found = plain or unique
        return found[0] if found else None

    def measured(self, x: str | None, by: Sequence[str]) -> list[str]:
        """Numeric columns to draw: those that change, without loops' columns, if there are others."""
        names = [n for n, kind in self.kinds.items() if kind == "number" and n != x and n not in by and n != "rank"]
        changing = [name for name in names if self._changes(name, by)]
        fractions = [name for name in changing if name not in self.whole]
        return fractions or changing or names

    def keys(self, by: Sequence[str]) -> list[tuple[Any, ...]]:
        """The line that each row belongs to."""
        count = len(next(iter(self.values.values()), []))
        return list(zip(*(self.values[name] for name in by), strict=True)) if by else [()] * count

    def _several(self, name: str) -> bool:
        return len(set(map(str, self.values[name]))) > 1

    def _determines(self, one: str, other: str) -> bool:
        pairs = set(zip(self.values[one], self.values[other], strict=True))
        return len(pairs) == len({pair[0] for pair in pairs})

    def _repeats(self, name: str, by: Sequence[str]) -> bool:
        seen = set()
        for key in zip(self.keys(by), self.values[name], strict=True):
            if key in seen:
                return True
            seen.add(key)
        return False

    def _changes(self, name: str, by: Sequence[str]) -> bool:
        first: dict[tuple[Any, ...], Any] = {}
        pairs = zip(self.keys(by), self.values[name], strict=True)
        return any(value is not None and first.setdefault(key, value) != value for key, value in pairs)


def _lines(columns: _Columns, x: str | None, ys: Sequence[str], by: Sequence[str]) -> list[Line]:
    """One line per group and measure, each sorted by x."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row, key in enumerate(columns.keys(by)):
        groups.setdefault(key, []).append(row)
    found = []
    for key, rows in groups.items():
        xs = [columns.values[x][row] for row in rows] if x is not None else list(range(len(rows)))
        order = sorted((i for i in range(len(rows)) if xs[i] is not None), key=xs.__getitem__)
        for name in ys:
            values = [_finite(columns.values[name][rows[i]]) for i in order]
            if any(value is not None for value in values):
                found.append(Line(_label(by, key, name, ys), [xs[i] for i in order], values))
    if not found:
        raise ProgrammingError(f"{', '.join(ys)} has no numbers to draw")
    return found


def _label(by: Sequence[str], key: Sequence[object], name: str, ys: Sequence[str]) -> str:
    """What a line is called; of a run's long id, beside other names, only the end."""
    parts = [str(value) for value in key]
    if len(by) > 1 and "run" in by:
        parts[by.index("run")] = parts[by.index("run")][-6:]
    return " ".join([*parts, name] if len(ys) > 1 or not parts else parts)


def _finite(value: object) -> float | None:
    if value is None:
        return None
    number = float(value)  # type: ignore[arg-type]
    return number if math.isfinite(number) else None


def _kind(type_: Any) -> Kind:
    from pyarrow import types

    if types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_):
        return "number"
    if types.is_timestamp(type_) or types.is_date(type_):
        return "time"
    return "text" if types.is_string(type_) or types.is_large_string(type_) or types.is_boolean(type_) else "other"


def _is_whole(type_: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(type_))
