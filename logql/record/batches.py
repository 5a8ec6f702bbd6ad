"""Turns drained events into a WAL batch, column by column: the flusher's CPU time counts as the training's."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import compress
from operator import itemgetter, not_
from typing import TYPE_CHECKING, Any

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
        self.names.append(as_text(kind))
        return number


def build_batch(drained: Sequence[Any], seq: int, rules: NameRules) -> wal.Batch:
    """The batch of `drained` (whole events, four items each), the first of which has number `seq`."""
    contexts: list[Context] = list(drained[0::4])
    ids = _KindIds()
    kinds, period = _column_of_kinds(drained[1::4], ids)
    entries = _entries(list(map(_entry, contexts)))
    for entry in entries:
        rules.add_loop(entry.loop)
    values, others = _column_of_values(drained[2::4])
    batch = wal.Batch(
        seq=seq,
        contexts=_column_of_contexts(contexts, kinds, period),
        kinds=kinds,
        values=values,
        times=array("d", drained[3::4]),
        names=ids.names,
        entries=entries,
        others=others,
    )
    if count_lines(batch):
        batch.lines = [others.pop(at) for at, kind in enumerate(kinds) if kind == wal.LINE]  # type: ignore[misc]
    if wal.ENTER in kinds:
        _add_items(batch, contexts, period)
    for name in filter(rules.clashes, ids.names):
        _drop_repeats(batch, contexts, wal.FIRST_NAME + ids.names.index(name), name, rules)
    return batch


def count_lines(batch: wal.Batch) -> int:
    """How many of the batch's events are printed lines, which have no number."""
    if batch.kinds.typecode == "B":
        return batch.kinds.tobytes().count(wal.LINE)
    return batch.kinds.count(wal.LINE)


def _column_of_contexts(contexts: list[Context], kinds: array[int], period: int) -> array[int]:
    if contexts[0] is contexts[-1] and contexts.count(contexts[0]) == len(contexts):
        return array("q", [contexts[0][0]]) * len(contexts)
    if period and kinds[0] == wal.ENTER and len(contexts) % period == 0:
        heads = contexts[0::period]
        if all(contexts[offset::period] == heads for offset in range(1, period)):
            return _repeat_each(_keys(heads), period)
    return array("q", map(_key, contexts))


def _keys(entered: list[Context]) -> array[int]:
    if _is_one_loop(entered):
        return array("q", range(entered[0][0], entered[-1][0] + 1))
    return array("q", map(_key, entered))


def _repeat_each(column: array[int], times: int) -> array[int]:
    if times == 1:
        return column
    repeated = column * times
    for offset in range(times):
        repeated[offset::times] = column
    return repeated


def _column_of_kinds(kinds: Sequence[object], ids: _KindIds) -> tuple[array[int], int]:
    """The column, and the length of the loop's body that it repeats, if it does."""
    period = _period(kinds)
    if period:
        head = array("B", map(ids.__getitem__, kinds[:period]))
        return (head * (len(kinds) // period + 1))[: len(kinds)], period
    numbers = list(map(ids.__getitem__, kinds))
    return array("B" if len(ids.names) < 250 else "I", numbers), 0


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


def _add_items(batch: wal.Batch, contexts: list[Context], period: int) -> None:
    entered = _entered(batch.kinds, contexts, period)
    items = list(map(_item, entered))
    if set(map(type, items)) == {int} and items == _indices(entered):
        batch.items_are_indices = True
        return
    positions = compress(range(len(contexts)), map(not_, batch.kinds))
    batch.items = {at: convert(item) for at, item in zip(positions, items, strict=True) if item is not None}


def _entered(kinds: array[int], contexts: list[Context], period: int) -> list[Context]:
    """The contexts of the ENTER events."""
    if period and kinds[:period].count(wal.ENTER) == 1:
        return contexts[kinds[:period].index(wal.ENTER) :: period]
    return list(compress(contexts, map(not_, kinds)))


def _indices(entered: list[Context]) -> list[int]:
    if _is_one_loop(entered):
        first = entered[0][0] & _INDEX_MASK
        return list(range(first, first + len(entered)))
    return [key & _INDEX_MASK for key, _, _ in entered]


def _is_one_loop(entered: list[Context]) -> bool:
    """Whether these are consecutive iterations of one loop entry."""
    first, last = entered[0], entered[-1]
    if first[1] is not last[1] or last[0] - first[0] != len(entered) - 1:
        return False
    entries = list(map(_entry, entered))
    return entries.count(first[1]) == len(entries)


def _drop_repeats(batch: wal.Batch, contexts: list[Context], kind: int, name: str, rules: NameRules) -> None:
    for at, found in enumerate(batch.kinds):
        if found == kind and rules.repeats(contexts[at], name, batch.others.get(at, batch.values[at])):
            batch.kinds[at] = wal.DROPPED
            batch.others.pop(at, None)
