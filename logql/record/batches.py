"""Turns drained events into a WAL batch, column by column: the flusher's CPU time counts as the training's."""

from __future__ import annotations

import struct
import sys
from array import array
from functools import lru_cache
from itertools import compress
from operator import itemgetter, not_
from typing import TYPE_CHECKING, Any, NamedTuple

from logql.record import guard
from logql.record.api import ENTER, INDEX_BITS, LINE, as_text
from logql.record.names import NameRules
from logql.record.values import Deferred, convert
from logql.store import wal

if TYPE_CHECKING:
    from logql.record.api import Context, Entry

_INDEX_MASK = (1 << INDEX_BITS) - 1
_key, _entry, _item = itemgetter(0), itemgetter(1), itemgetter(2)


class _KindIds(dict[object, int]):
    """Ids of kinds as a batch has them; a new name gets the next one."""

    def __init__(self) -> None:
        super().__init__({ENTER: wal.ENTER, LINE: wal.LINE})
        self.names: list[str] = []

    def __missing__(self, kind: object) -> int:
        self[kind] = number = wal.FIRST_NAME + len(self.names)
        self.names.append(text := as_text(kind))
        if text != kind:
            guard.warn(f"name {text}", f'what is logged as {kind!r} is the column "{text}"')
        return number


class Columns(NamedTuple):
    """Consecutive events, their four items apart."""

    contexts: list[Context]
    kinds: list[object]
    values: list[Any]
    times: list[float]


def build_batch(drained: Columns, seq: int, rules: NameRules) -> wal.Batch:
    """The batch of `drained`, the first of which has number `seq`."""
    contexts = drained.contexts
    ids = _KindIds()
    kinds, period = _column_of_kinds(drained.kinds, ids)
    body = _find_body(contexts, kinds, period)
    entries = _entries([contexts[0][1]] if body is not None else list(map(_entry, contexts)))
    for entry in entries:
        rules.add_loop(entry.loop)
    values, others = _column_of_values(drained.values)
    batch = wal.Batch(
        seq=seq,
        contexts=_column_of_contexts(contexts) if body is None else _repeat_each(body.keys, period),
        kinds=kinds,
        values=values,
        times=_pack("d", drained.times),
        names=ids.names,
        entries=entries,
        others=others,
    )
    if count_lines(batch):
        batch.lines = [others.pop(at) for at, kind in enumerate(kinds) if kind == wal.LINE]  # type: ignore[misc]
    if wal.ENTER in kinds:
        _add_items(batch, contexts, body)
    for name in filter(rules.clashes, ids.names):
        _drop_repeats(batch, contexts, wal.FIRST_NAME + ids.names.index(name), name, rules)
    return batch


def count_lines(batch: wal.Batch) -> int:
    """How many of the batch's events are printed lines, which have no number."""
    if batch.kinds.typecode == "B":
        return batch.kinds.tobytes().count(wal.LINE)
    return batch.kinds.count(wal.LINE)


class _Body(NamedTuple):
    """Consecutive iterations of one loop, each with the same events, its Enter first: the contexts and their keys."""

    entered: list[Context]
    keys: array[int]


def _find_body(contexts: list[Context], kinds: array[int], period: int) -> _Body | None:
    """What a batch consists of where it lies within a hot loop: nearly all that is done for it is then done at once."""
    if not period or len(contexts) % period or kinds[0] != wal.ENTER or kinds[:period].count(wal.ENTER) != 1:
        return None
    entered = contexts[0::period]
    if any(contexts[offset::period] != entered for offset in range(1, period)):
        return None
    keys = _pack("q", list(map(_key, entered)))
    return _Body(entered, keys) if keys == _ramp(keys[0], len(keys)) else None


def _ramp(first: int, count: int) -> array[int]:
    """`first`, `first + 1`, ...: added in one long integer of 64 bits per item."""
    ones, ramp = _lanes(count)
    column = array("q")
    column.frombytes((first * ones + ramp).to_bytes(8 * count, sys.byteorder))
    return column


@lru_cache(maxsize=8)
def _lanes(count: int) -> tuple[int, int]:
    ones, ramp = array("q", [1]) * count, array("q", range(count))
    return int.from_bytes(ones.tobytes(), sys.byteorder), int.from_bytes(ramp.tobytes(), sys.byteorder)


def _pack(code: str, numbers: list[Any]) -> array[Any]:
    """An array of floats or of integers, else struct.error: `struct` is many times faster at it than `array`."""
    column = array(code)
    column.frombytes(struct.pack(f"{len(numbers)}{code}", *numbers))
    return column


def _column_of_contexts(contexts: list[Context]) -> array[int]:
    if contexts[0] is contexts[-1] and contexts.count(contexts[0]) == len(contexts):
        return array("q", [contexts[0][0]]) * len(contexts)
    return _pack("q", list(map(_key, contexts)))


def _repeat_each(column: array[int], times: int) -> array[int]:
    if times == 1:
        return column
    repeated = column * times
    for offset in range(times):
        repeated[offset::times] = column
    return repeated


def _column_of_kinds(kinds: list[object], ids: _KindIds) -> tuple[array[int], int]:
    """The column, and the length of the loop's body that it repeats, if it does."""
    period = _period(kinds)
    if period:
        head = array("B", map(ids.__getitem__, kinds[:period]))
        return (head * (len(kinds) // period + 1))[: len(kinds)], period
    numbers = list(map(ids.__getitem__, kinds))
    return array("B" if len(ids.names) < 250 else "I", numbers), 0


def _period(kinds: list[object]) -> int:
    """Length of the shortest prefix that repeats throughout, as a loop's body makes it; 0 if none up to 32 does."""
    try:
        period = kinds.index(kinds[0], 1, 33)
    except ValueError:
        return 0 if len(kinds) > 1 else 1
    return period if kinds[period:] == kinds[:-period] else 0


def _column_of_values(values: list[Any]) -> tuple[array[float], dict[int, object]]:
    try:
        return _pack("d", values), {}
    except struct.error:
        boxed = {at: value for at, value in enumerate(values) if type(value) is tuple}
    floats = _pack("d", [0.0 if type(value) is tuple else value for value in values])
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


def _entries(found: list[Entry]) -> list[wal.Entry]:
    """The loop entries of a batch and those around them, outer ones first."""
    first = found[0]
    if first is found[-1] and found.count(first) == len(found):
        stack = [first]
    else:
        stack = list(dict(zip(map(id, found), found, strict=True)).values())
    entries: dict[int, wal.Entry] = {}
    while stack:
        number, loop, entry, parent = stack.pop()
        if parent is not None and number not in entries:
            entries[number] = wal.Entry(number, loop, entry, parent[0])
            stack.append(parent[1])
    return [entries[number] for number in sorted(entries)]


def _add_items(batch: wal.Batch, contexts: list[Context], body: _Body | None) -> None:
    entered = list(compress(contexts, map(not_, batch.kinds))) if body is None else body.entered
    items = list(map(_item, entered))
    if items[0] is items[-1] is None and items.count(None) == len(items):
        return
    if _are_indices(items, entered, body):
        batch.items_are_indices = True
        return
    positions = compress(range(len(contexts)), map(not_, batch.kinds))
    batch.items = {at: convert(item) for at, item in zip(positions, items, strict=True) if item is not None}


def _are_indices(items: list[Any], entered: list[Context], body: _Body | None) -> bool:
    """Whether each item is the index of its iteration; no item but an int equals an index beyond 1."""
    if body is None:
        return set(map(type, items)) == {int} and items == [key & _INDEX_MASK for key, _, _ in entered]
    if not {int}.issuperset(map(type, items[:2])):
        return False
    try:
        return _pack("q", items) == _ramp(body.keys[0] & _INDEX_MASK, len(items))
    except struct.error:
        return False


def _drop_repeats(batch: wal.Batch, contexts: list[Context], kind: int, name: str, rules: NameRules) -> None:
    for at, found in enumerate(batch.kinds):
        if found == kind and rules.repeats(contexts[at], name, batch.others.get(at, batch.values[at])):
            batch.kinds[at] = wal.DROPPED
            batch.others.pop(at, None)
