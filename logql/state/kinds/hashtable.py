"""Sets that are iterated in the order that they had.

A set iterates in the order of its table, which depends on the table's size and on what was there before. Numbers, and
tuples of numbers, hash alike in every process, so a loop over a set of them goes on as it did only if the restored set
has its items at the same places. CPython's probing (`Objects/setobject.c`) is followed to put them there; whether it
came out right is seen by iterating.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

_NUMBERS = (int, float, bool, complex)
#: What hashes alike in other processes that have the same PYTHONHASHSEED.
_SEEDED = (str, bytes, type(None))
_SMALLEST = 8
_ENTRY = 16
_LINEAR_PROBES = 9
_PERTURB_SHIFT = 5
_LONGEST_PROBE = 40


def hash_alike(items: Iterable[Any], plain: tuple[type, ...] = _NUMBERS) -> bool:
    """Whether all items have the same hash in every process: numbers, and tuples and frozensets of such."""
    return all(type(item) in plain or (type(item) in (tuple, frozenset) and hash_alike(item, plain)) for item in items)


def may_hash_alike(items: Iterable[Any]) -> bool:
    """Whether all items have the same hash in processes with one PYTHONHASHSEED."""
    return hash_alike(items, (*_NUMBERS, *_SEEDED))


def table_size(value: set[Any]) -> int:
    """The number of places in a set's table."""
    return (set.__sizeof__(value) - type(value).__basicsize__) // _ENTRY or _SMALLEST


def lay_out(base: type[set[Any]], vessel: Any, items: list[Any], size: int) -> None:
    """Write a set whose table has `size` places so that it iterates like `items`, where that can be done."""
    places = _find_places(items, size - 1)
    if places is None:
        return
    home = [item for item, place in zip(items, places, strict=True) if place == hash(item) & (size - 1)]
    moved = {place: item for item, place in zip(items, places, strict=True) if place != hash(item) & (size - 1)}
    fillers = _fillers(moved, set(places), size, len(home))
    if (len(items) + len(fillers)) * 5 >= (size - 1) * 3:
        return
    base.clear(vessel)
    base.update(vessel, dict.fromkeys([*home[: size // 2 - 1 - len(fillers)], *fillers]))
    base.update(vessel, home)
    _add_moved(base, vessel, moved, size - 1)
    for filler in fillers:
        base.discard(vessel, filler)


class _Filler:
    """Keeps a place of a table occupied while items are added."""

    def __init__(self, place: int, size: int) -> None:
        self._hash = place + size

    def __hash__(self) -> int:
        return self._hash


def _probe(number: int, mask: int) -> Iterator[int]:
    """The places at which CPython looks for an item of this hash, in order."""
    perturb = number & 0xFFFFFFFFFFFFFFFF
    start = perturb & mask
    while True:
        yield from range(start, start + (_LINEAR_PROBES if start + _LINEAR_PROBES <= mask else 0) + 1)
        perturb >>= _PERTURB_SHIFT
        start = (start * 5 + 1 + perturb) & mask


def _find_places(items: list[Any], mask: int) -> list[int] | None:
    """A place of each item, ascending, that its probing comes to: together the fewest probes."""
    steps: list[list[tuple[int, int, int]]] = []
    for item in items:
        probes = enumerate(islice(_probe(hash(item), mask), _LONGEST_PROBE))
        steps.append(_cheapest(probes, steps[-1] if steps else None))
        if not steps[-1]:
            return None
    places: list[int] = []
    number = -1
    for step in reversed(steps):
        place, _, number = step[number]
        places.append(place)
    return places[::-1]


def _cheapest(
    probes: Iterable[tuple[int, int]], before: list[tuple[int, int, int]] | None
) -> list[tuple[int, int, int]]:
    """Of an item's places those worth going on from, as (place, cost so far, number of the place before).

    Ascending in place, descending in cost, as is `before`: that of the item before, None for the first.
    """
    found = []
    for depth, place in probes:
        number = -1 if before is None else bisect_left(before, (place,)) - 1
        if before is None or number >= 0:
            found.append((place, depth + (before[number][1] if before else 0), number))
    kept: list[tuple[int, int, int]] = []
    for one in sorted(found):
        if not kept or one[1] < kept[-1][1]:
            kept.append(one)
    return kept


def _fillers(moved: dict[int, Any], taken: set[int], size: int, home: int) -> list[_Filler]:
    """What has to stand in the way of moved items, and what makes the table as large as it was."""
    blocked = {place for end, item in moved.items() for place in _before(item, end, size - 1)} - taken
    free = (place for place in range(size) if place not in taken and place not in blocked)
    more = islice(free, max(0, size // 4 - home - len(blocked)))
    return [_Filler(place, size) for place in (*blocked, *more)]


def _before(item: Any, end: int, mask: int) -> Iterator[int]:
    """The places that probing for an item passes before `end`."""
    for place in _probe(hash(item), mask):
        if place == end:
            return
        yield place


def _add_moved(base: type[set[Any]], vessel: Any, moved: dict[int, Any], mask: int) -> None:
    """Add moved items, each after those that are in its way."""
    waiting = dict(moved)
    while waiting:
        ready = [end for end, item in waiting.items() if waiting.keys().isdisjoint(_before(item, end, mask))]
        for end in ready or list(waiting):
            base.add(vessel, waiting.pop(end))
