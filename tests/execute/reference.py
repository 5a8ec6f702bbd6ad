"""The rows of `logs` in plain Python, straight from the events of a run: what the engine is compared with.

Slow and literal: it walks a run's events for every question, and knows nothing of parts, pieces or SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from logql.model import Enter, Event, Level, Logged, Path

Values = dict[str, Any]


def reference_rows(
    events: dict[int, list[Event]], names: Iterable[str], loops: Iterable[str]
) -> list[tuple[int, Path, Values]]:
    """(rank, path, values seen) of each row of one run that uses `names` and `loops`."""
    names, loops = set(names), set(loops)
    if not names and not loops:
        return [(0, (), {})]
    if not names:
        return _iterations(events, loops)
    counting = {name: _counting_levels(events, name) for name in names}
    tables = {rank: _rows_of_rank(stream, counting) for rank, stream in events.items()}
    found = []
    for rank, rows in tables.items():
        for path, number, row in _all_rows(rows):
            if not _has_deeper(path, number, rows):
                found.append((rank, path, _seen(path, number, row, rows, tables[0] if rank else None, counting)))
    return found


def level_of(path: Path) -> Level:
    return tuple(step.loop for step in path)


def _iterations(events: dict[int, list[Event]], loops: set[str]) -> list[tuple[int, Path, Values]]:
    entered = [(rank, e.path) for rank, stream in events.items() for e in stream if isinstance(e, Enter)]
    asked = [(rank, path) for rank, path in entered if path[-1].loop in loops]
    depth = max((len(path) for _, path in asked), default=0)
    return [(rank, path, {}) for rank, path in asked if len(path) == depth]


def _counting_levels(events: dict[int, list[Event]], name: str) -> set[Level]:
    levels = {
        level_of(e.path) for stream in events.values() for e in stream if isinstance(e, Logged) and e.name == name
    }
    return {one for one in levels if not any(other != one and other[: len(one)] == one for other in levels)}


class Rows(dict[Path, list[tuple[float, Values]]]):
    """Each context's rows: where each begins in the order of events, and its own values."""

    def __init__(self, stream: Sequence[Event]) -> None:
        super().__init__()
        self.entered = {(): -1} | {e.path: place for place, e in enumerate(stream) if isinstance(e, Enter)}


def _rows_of_rank(stream: Sequence[Event], counting: dict[str, set[Level]]) -> Rows:
    contexts: dict[Path, list[tuple[int, Event]]] = {}
    for place, event in enumerate(stream):
        if isinstance(event, Logged) and level_of(event.path) in counting.get(event.name, ()):
            contexts.setdefault(event.path, []).append((place, event))
    rows = Rows(stream)
    rows.update({path: _split(path, values, stream) for path, values in contexts.items()})
    return rows


def _split(path: Path, values: list[tuple[int, Event]], stream: Sequence[Event]) -> list[tuple[float, Values]]:
    rows: list[tuple[float, Values]] = [(-1.0, {})]
    last: int | None = None
    for place, event in values:
        assert isinstance(event, Logged)
        if event.name in rows[-1][1]:
            assert last is not None
            again = _entered_again(path, rows[-1][0], last, place, stream)
            rows.append((float(again if again is not None else place), {}))
        rows[-1][1][event.name] = event.value
        last = place
    return rows


def _entered_again(path: Path, begin: float, last: int, until: int, stream: Sequence[Event]) -> int | None:
    """Where, between the last value and `until`, a loop was entered again that ran in the row before the last value."""
    depth = len(path)
    inside = [
        (place, e.path[depth])
        for place, e in enumerate(stream)
        if isinstance(e, Enter) and len(e.path) == depth + 1 and e.path[:depth] == path
    ]
    ran = {step.loop for place, step in inside if begin <= place < last}
    for place, step in inside:
        new = not any(other.loop == step.loop and other.entry == step.entry for at, other in inside if at < place)
        if last < place < until and new and step.loop in ran:
            return place
    return None


def _all_rows(rows: Rows) -> Iterable[tuple[Path, int, Values]]:
    for path, found in rows.items():
        for number, (_, values) in enumerate(found):
            yield path, number, values


def _has_deeper(path: Path, number: int, rows: Rows) -> bool:
    return any(
        len(other) > len(path)
        and other[: len(path)] == path
        and any(_current(path, other, deeper, rows) == number for deeper in range(len(rows[other])))
        for other in rows
    )


def _current(path: Path, other: Path, deeper: int, rows: Rows) -> int:
    begin = max(rows[other][deeper][0], rows.entered[other])
    return max(number for number, (start, _) in enumerate(rows[path]) if start <= begin)


def _seen(
    path: Path, number: int, row: Values, rows: Rows, rank_0: Rows | None, counting: dict[str, set[Level]]
) -> Values:
    values = dict(row)
    for depth in range(len(path) - 1, -1, -1):
        outer = path[:depth]
        own: list[tuple[float, Values]] = rows.get(outer, [])
        earlier = own[: _current(outer, path, number, rows) + 1] if own else []
        for name, levels in counting.items():
            if name in values or level_of(outer) not in levels:
                continue
            having = [found for _, found in earlier if name in found]
            if having:
                values[name] = having[-1][name]
            elif rank_0 is not None and not any(name in found for _, found in own):
                first = [found for _, found in rank_0.get(outer, []) if name in found]
                if first:
                    values[name] = first[-1][name]
    return values
