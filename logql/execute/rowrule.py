"""The rows of one run's contexts, value by value: the row rule of `logs` for contexts that log a name again.

Pure: takes contexts with their values in the order of logging, and yields the rows that have no deeper row below them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from logql.model import Level

#: (entry, index) of each loop around a context, from the outside in.
Key = tuple[tuple[int, int], ...]
#: Where something stands in the order of a run's events.
Position = tuple[float, int, int]

_START: Position = (float("-inf"), 0, 0)


@dataclass(frozen=True)
class Value:
    """A value that was logged, or a flag that one may be missing there."""

    at: Position
    name: str
    value: object
    origin: str
    fill: str | None = None
    text: str | None = None


@dataclass
class Context:
    """One context of one rank: what it logged of the names that count there, and which iterations ran inside.

    `parted`: its record tells the order of its values.
    """

    level: Level
    key: Key
    rank: int
    entered: Position
    loops: tuple[object, ...] = ()
    ts: object = None
    parted: bool = False
    values: list[Value] = field(default_factory=list)
    inner: list[tuple[Position, str, int]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


@dataclass
class Row:
    """A row of a context: from where on it is current, and its own values."""

    begin: Position
    values: dict[str, Value] = field(default_factory=dict)
    below: bool = False


@dataclass(frozen=True)
class Formed:
    """A row of `logs`: its context and every value that it sees."""

    context: Context
    values: Mapping[str, Value]


def form_rows(contexts: Sequence[Context], counting: Mapping[Level, frozenset[str]]) -> Iterator[Formed]:
    """The rows of one run. `counting` tells which names count at which level."""
    known = {(context.rank, context.level, context.key): context for context in contexts}
    for context in contexts:
        context.rows = list(_rows(context)) if context.values else []
    standing = [context for context in contexts if context.rows]
    seen: list[tuple[Context, Row, dict[str, Value]]] = []
    for context in standing:
        for row in context.rows:
            values = dict(row.values)
            for outer in _enclosing(context, known, counting):
                current = _mark(outer, context, row)
                for name in counting[outer.level]:
                    found = _visible(outer, current, name) or _of_rank_0(outer, name, known)
                    if name not in values and found is not None:
                        values[name] = found
            seen.append((context, row, values))
    for context, row, values in seen:
        if not row.below:
            yield Formed(context, values)


def _rows(context: Context) -> Iterator[Row]:
    """A value joins the current row; a name logged again starts the next.

    That row begins already where, since the last value, a loop was entered again that had run in the row before it.
    """
    names = [value.name for value in context.values]
    if len(names) == len(set(names)):
        yield Row(_START, {value.name: value for value in context.values})
        return
    row, ran, before, again = Row(_START), list[tuple[Position, str]](), set[str](), None
    entered: set[tuple[str, int]] = set()
    for at, event in _timeline(context):
        if isinstance(event, Value):
            if event.name in row.values:
                yield row
                row = Row(again if again is not None else at)
                ran = [(start, loop) for start, loop in ran if start >= row.begin]
            row.values[event.name] = event
            before, again = {loop for _, loop in ran}, None
            continue
        loop, entry = event
        if (loop, entry) not in entered and loop in before and again is None:
            again = at
        entered.add((loop, entry))
        ran.append((at, loop))
    yield row


def _timeline(context: Context) -> list[tuple[Position, Value | tuple[str, int]]]:
    events: list[tuple[Position, Value | tuple[str, int]]] = [(value.at, value) for value in context.values]
    events += [(at, (loop, entry)) for at, loop, entry in context.inner]
    return sorted(events, key=lambda event: event[0])


def _enclosing(
    context: Context, known: Mapping[tuple[int, Level, Key], Context], counting: Mapping[Level, frozenset[str]]
) -> Iterable[Context]:
    """Enclosing contexts at levels that count, the innermost first."""
    for depth in range(len(context.level) - 1, -1, -1):
        level = context.level[:depth]
        found = known.get((context.rank, level, context.key[:depth]))
        if level in counting and found is not None:
            yield found


def _mark(outer: Context, context: Context, row: Row) -> int:
    """Index of the row of `outer` that was current when `row` began; that row has a deeper one below it."""
    begin = max(row.begin, context.entered)
    current = max((place for place, found in enumerate(outer.rows) if found.begin <= begin), default=-1)
    if current >= 0:
        outer.rows[current].below = True
    return current


def _visible(outer: Context, current: int, name: str) -> Value | None:
    """The value of the current row, else of the last earlier row that has it."""
    for row in reversed(outer.rows[: current + 1]):
        if name in row.values:
            return row.values[name]
    return None


def _of_rank_0(outer: Context, name: str, known: Mapping[tuple[int, Level, Key], Context]) -> Value | None:
    """Rank 0's last value, for a rank that did not log the name there itself."""
    if outer.rank == 0 or any(value.name == name for value in outer.values):
        return None
    first = known.get((0, outer.level, outer.key))
    found = [value for value in first.values if value.name == name] if first is not None else []
    return max(found, key=lambda value: value.at) if found else None
