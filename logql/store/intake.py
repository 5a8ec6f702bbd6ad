"""Batches of a write-ahead stream as rows, column by column: most of a batch is one loop's body again and again."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate, repeat
from operator import rshift
from typing import TYPE_CHECKING, Any, TypeAlias

from logql.model import Level, Line
from logql.store import wal
from logql.store.contexts import Cells, Column, Group, picked
from logql.store.wal import DROPPED, ENTER, FIRST_NAME, INDEX_BITS, LINE

if TYPE_CHECKING:
    from logql.store.levels import Builder

_INDEX = (1 << INDEX_BITS) - 1
#: A loop's body of more events than this is not looked for.
_LONGEST_BODY = 64

Where: TypeAlias = "slice | Sequence[int]"


class Intake:
    """One batch on its way into a builder; `lines` are those that were captured."""

    def __init__(self, builder: Builder, batch: wal.Batch) -> None:
        self._builder = builder
        self._entries = {entry.number: entry for entry in batch.entries}
        self._groups: dict[int, Group] = {0: builder.run_group}
        self._rows: dict[int, int] = {}
        self._names = batch.names
        self._are_indices = batch.items_are_indices
        #: length of the loop's body that the events repeat; 0 where they do not
        self._period = 0
        self.lines: list[Line] = []
        self._contexts, self._kinds, self._values, self._times = batch.contexts, batch.kinds, batch.values, batch.times
        self._others, self._items = batch.others, batch.items
        self._seqs = array("q", range(batch.seq, batch.seq + len(batch.kinds)))
        if LINE in batch.kinds or DROPPED in batch.kinds:
            self._leave_out(batch)

    def take(self) -> None:
        """Place the contexts of the batch, then its values in them."""
        if self._contexts:
            self._period = _period(self._kinds)
            self._place_all()
            for kind, where in _by_kind(self._kinds, self._period).items():
                if kind >= FIRST_NAME:
                    self._log(self._names[kind - FIRST_NAME], where)

    def _leave_out(self, batch: wal.Batch) -> None:
        """Set lines apart, which do not count, and leave out what was dropped, which does."""
        counts = accumulate(map(LINE.__ne__, batch.kinds), initial=batch.seq - 1)
        seqs = array("q", counts)[1:]
        paths, lines = wal.Paths(batch.entries), iter(batch.lines)
        keep = []
        for at, kind in enumerate(batch.kinds):
            if kind == LINE:
                self.lines.append(Line(paths[batch.contexts[at]], *next(lines), seqs[at], batch.times[at]))
            elif kind != DROPPED:
                keep.append(at)
        columns: list[Any] = [batch.contexts, batch.kinds, batch.values, batch.times, seqs]
        columns = [array(one.typecode, picked(one, keep)) for one in columns]
        self._contexts, self._kinds, self._values, self._times, self._seqs = columns
        self._others = {new: batch.others[at] for new, at in enumerate(keep) if at in batch.others}
        self._items = {new: batch.items[at] for new, at in enumerate(keep) if at in batch.items}

    def _place_all(self) -> None:
        contexts, times, places = self._contexts, self._times, range(len(self._contexts))
        step = self._period
        if step and len(contexts) % step == 0:
            bodies = [contexts[start::step] for start in range(step)]
            if all(map(bodies[0].__eq__, bodies)):  # each body of the loop is in one context
                contexts, times, places = bodies[0], times[step - 1 :: step], places[::step]
        first = dict(zip(reversed(contexts), reversed(places), strict=True))
        last = dict(zip(contexts, times, strict=True))
        for number, own in _by_number(contexts):
            self._place_group(number, own, first, last)

    def _place_group(
        self, number: int, contexts: list[int], first: Mapping[int, int], last: Mapping[int, float]
    ) -> None:
        group = self._group(number, first[contexts[0]])
        rows, known = self._builder.levels[group.level], group.rows
        new = [context for context in contexts if context & _INDEX not in known]
        if len(new) < len(contexts):
            for context in contexts:
                if context & _INDEX in known:
                    rows.ts[known[context & _INDEX]] = last[context]
        if new:
            places = [first[context] for context in new]
            indices = [context & _INDEX for context in new]
            if any(map(self._kinds.__getitem__, places)):
                self._builder.miss()
            items = self._items_of(places, indices)
            rows.extend(group, indices, items, map(self._seqs.__getitem__, places), map(last.__getitem__, new))
        self._rows.update((context, known[context & _INDEX]) for context in contexts)

    def _items_of(self, places: Sequence[int], indices: Sequence[int]) -> Column:
        if self._are_indices or not self._items:
            return array("q", indices)
        found = map(self._items.get, places)
        return [index if item is None else item for item, index in zip(found, indices, strict=True)]

    def _group(self, number: int, at: int) -> Group:
        """The execution of a loop with that number in the stream; the event `at` is the first in it."""
        group = self._groups.get(number)
        if group is None:
            entry = self._entries[number]
            around = self._group(entry.parent >> INDEX_BITS, at).path(entry.parent & _INDEX)
            seq, ts = self._seqs[at], self._times[at]
            group = self._groups[number] = self._builder.group_of(around, entry.loop, entry.entry, seq, 0, ts)
        return group

    def _log(self, name: str, where: Where) -> None:
        contexts = picked(self._contexts, where)
        found = {self._groups[number].level for number in set(map(rshift, contexts, repeat(INDEX_BITS)))}
        for level in found:
            own = where if len(found) == 1 else self._at_level(level, where)
            cells = self._builder.levels[level].cells.setdefault(name, Cells())
            rows = map(self._rows.__getitem__, contexts if len(found) == 1 else picked(self._contexts, own))
            seqs, times = picked(self._seqs, own), picked(self._times, own)
            cells.extend(rows, seqs, times, self._values_of(own))  # type: ignore[arg-type]

    def _at_level(self, level: Level, where: Where) -> list[int]:
        places = range(*where.indices(len(self._contexts))) if isinstance(where, slice) else where
        return [at for at in places if self._groups[self._contexts[at] >> INDEX_BITS].level == level]

    def _values_of(self, where: Where) -> Column:
        found = picked(self._values, where)
        if not self._others:
            return found
        places = range(*where.indices(len(self._values))) if isinstance(where, slice) else where
        if self._others.keys().isdisjoint(places):
            return found
        return [self._others.get(at, value) for at, value in zip(places, found, strict=True)]


def _by_number(contexts: array[int]) -> list[tuple[int, list[int]]]:
    """Distinct contexts by the number of their loop's execution; outer ones have lower numbers."""
    distinct = list(dict.fromkeys(contexts))
    number = min(distinct) >> INDEX_BITS
    if number == max(distinct) >> INDEX_BITS:
        return [(number, distinct)]
    found: dict[int, list[int]] = {}
    for context in distinct:
        found.setdefault(context >> INDEX_BITS, []).append(context)
    return sorted(found.items())


def _period(kinds: array[int]) -> int:
    """How many events, all of different kinds, are repeated again and again; 0 where they are not."""
    try:
        period = kinds.index(kinds[0], 1, _LONGEST_BODY + 1)
    except ValueError:
        return 0
    return period if len(set(kinds[:period])) == period and kinds[period:] == kinds[:-period] else 0


def _by_kind(kinds: array[int], period: int) -> Mapping[int, Where]:
    """Where each kind of event stands."""
    if period:
        return {kinds[start]: slice(start, None, period) for start in range(period)}
    found: dict[int, list[int]] = {}
    for at, kind in enumerate(kinds):
        if kind in found:
            found[kind].append(at)
        else:
            found[kind] = [at]
    return found


assert ENTER == 0  # _place_group asks whether any first event is another
