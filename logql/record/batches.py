"""Turns drained events into a WAL batch, column by column: the flusher's CPU time counts as the training's."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import compress
from operator import itemgetter, not_
from typing import Any

from logql.record import guard
from logql.record.api import ENTER, INDEX_BITS, LINE, Context, Kind, LoopEntry
from logql.record.names import NameRules
from logql.record.values import Deferred, convert
from logql.store import wal

_INDEX_MASK = (1 << INDEX_BITS) - 1
_key, _entry, _item = itemgetter(0), itemgetter(1), itemgetter(2)


class _KindIds(dict[object, int]):
    """Ids of kinds as a batch has them; a new name gets the next one."""

    def __init__(self) -> None:
        super().__init__({ENTER: wal.ENTER, LINE: wal.LINE})
        self.names: list[str] = []

    def __missing__(self, kind: object) -> int:
        name = kind if type(kind) is str else str(kind)
        self[kind] = number = wal.FIRST_NAME + len(self.names)
        self.names.append(name)
        return number


def build_batch(drained: Sequence[Any], seq: int, rules: NameRules) -> wal.Batch:
    """The batch of `drained` (whole events, four items each), the first of which has number `seq`."""
    contexts: list[Context] = list(drained[0::4])
    ids = _KindIds()
    kinds = _column_of_kinds(drained[1::4], ids)
    entries = _entries(set(map(_entry, contexts)))
    for entry in entries:
        rules.add_loop(entry.loop)
    values, others = _column_of_values(drained[2::4])
    batch = wal.Batch(
        seq=seq,
        contexts=_column_of_contexts(contexts),
        kinds=kinds,
        values=values,
        times=array("d", drained[3::4]),
        names=ids.names,
        entries=entries,
        others=others,
    )
    if LINE in ids and wal.LINE in kinds:
        batch.lines = [others.pop(at) for at, kind in enumerate(kinds) if kind == wal.LINE]  # type: ignore[misc]
    if wal.ENTER in kinds:
        _add_items(batch, contexts)
    for name in filter(rules.clashes, ids.names):
        _drop_repeats(batch, contexts, wal.FIRST_NAME + ids.names.index(name), name, rules)
    return batch


def count_lines(drained: Sequence[Any]) -> int:
    """How many of the drained events are printed lines, which have no number."""
    return drained[1::4].count(LINE)


def _column_of_contexts(contexts: list[Context]) -> array[int]:
    if contexts.count(contexts[0]) == len(contexts):
        return array("q", [contexts[0][0]]) * len(contexts)
    return array("q", map(_key, contexts))


def _column_of_kinds(kinds: Sequence[object], ids: _KindIds) -> array[int]:
    try:
        period = _period(kinds)
        if period:
            head = array("B", map(ids.__getitem__, kinds[:period]))
            return (head * (len(kinds) // period + 1))[: len(kinds)]
        numbers = list(map(ids.__getitem__, kinds))
    except TypeError:
        return _column_of_kinds([kind if type(kind) in (str, Kind) else str(kind) for kind in kinds], ids)
    return array("B" if len(ids.names) < 250 else "I", numbers)


def _period(kinds: Sequence[object]) -> int:
    """Length of the shortest prefix that repeats throughout, as a loop's body makes it; 0 if none up to 32 does."""
    try:
        period = kinds.index(kinds[0], 1, 33)
    except ValueError:
        return 0 if len(kinds) > 1 else 1
    return period if kinds[period:] == kinds[:-period] else 0


def _column_of_values(values: Sequence[Any]) -> tuple[array[float], dict[int, object]]:
    try:
        return array("d", values), {}
    except TypeError:
        boxed = {at: value for at, value in enumerate(values) if type(value) is tuple}
    floats = array("d", [0.0 if type(value) is tuple else value for value in values])
    return floats, {at: _resolve(value) for at, value in boxed.items()}


def _resolve(boxed: tuple[Any, ...]) -> object:
    """A boxed value, or a line's four fields."""
    if len(boxed) != 1:
        return boxed
    value = boxed[0]
    if not isinstance(value, Deferred):
        return value
    try:
        return value.resolve()
    except Exception as exc:
        guard.failed("deferred", "the value of a tensor could not be read from its device", exc)
        return None


def _entries(found: Iterable[LoopEntry]) -> list[wal.Entry]:
    """The loop entries of a batch and those around them, outer ones first."""
    entries: dict[int, wal.Entry] = {}
    stack = list(found)
    while stack:
        entry = stack.pop()
        if entry.parent is not None and entry.number not in entries:
            entries[entry.number] = wal.Entry(entry.number, entry.loop, entry.entry, entry.parent[0])
            stack.append(entry.parent[1])
    return [entries[number] for number in sorted(entries)]


def _add_items(batch: wal.Batch, contexts: list[Context]) -> None:
    entered = list(compress(contexts, map(not_, batch.kinds)))
    items = list(map(_item, entered))
    if set(map(type, items)) == {int} and items == [key & _INDEX_MASK for key, _, _ in entered]:
        batch.items_are_indices = True
        return
    positions = compress(range(len(contexts)), map(not_, batch.kinds))
    batch.items = {at: convert(item) for at, item in zip(positions, items, strict=True) if item is not None}


def _drop_repeats(batch: wal.Batch, contexts: list[Context], kind: int, name: str, rules: NameRules) -> None:
    for at, found in enumerate(batch.kinds):
        if found == kind and rules.repeats(contexts[at], name, batch.others.get(at, batch.values[at])):
            batch.kinds[at] = wal.DROPPED
            batch.others.pop(at, None)
