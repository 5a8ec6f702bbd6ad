"""Which scope of the old files holds the code around a statement."""

from __future__ import annotations

import ast
import difflib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from logql.propagate.align import align
from logql.propagate.outline import Item, Outline, Unit

_REACH = 12.0
#: What a statement counts that logs the same name, or delimits the same loop, in other words.
_RECORDED = 0.7
#: What another scope has at least of what is common to two, if that is its own.
_COVERED = 0.8
#: Names that are less alike than this are as good as different.
_ALIKE = 0.8


@dataclass(frozen=True)
class Host:
    """A scope of an old file with the evidence that it holds the statement's surroundings."""

    unit: Unit
    score: float
    shared: int


def find_hosts(statement: Item, outlines: Sequence[Outline]) -> list[Host]:
    """Scopes of the old files that share the statement's surroundings or its scope's name, best first.

    Shared statements count more when they are rare and near the statement; a scope that the new file still has under
    its own name counts less. The first outline is the same file's.
    """
    around = _surroundings(statement)
    rarity = Counter(item.key for outline in outlines for item in outline.items)
    total = sum(weight for _, weight in around) or 1.0
    taken = frozenset(unit.name for unit in statement.unit.outline.units)
    hosts = []
    for number, outline in enumerate(outlines):
        for unit in outline.units:
            host = _score(statement, unit, around, rarity, total, taken, same_file=number == 0)
            if host.score > 0:
                hosts.append(host)
    return sorted(hosts, key=lambda host: -host.score)


def counterpart_of(host: Unit, statement: Item) -> Unit | None:
    """The new scope that an old one belongs to rather than to the statement's, whatever the two have in common.

    It is the old one's namesake, or was renamed, and has what is common to them as well.
    """
    mine = statement.unit
    if host.header is None or mine.name == host.name:
        return None
    known = {unit.name for unit in host.outline.units}
    common = set(align([item for item in mine.items if item is not statement], host.items).values())
    for unit in mine.outline.units:
        if unit is mine or unit.header is None or unit.is_function != host.is_function:
            continue
        if unit.name == host.name or unit.name not in known:
            theirs = set(align(unit.items, host.items).values())
            nearer = (_likeness(unit, host), len(theirs)) >= (_likeness(mine, host), len(common))
            if len(common & theirs) >= _COVERED * len(common) and (unit.name == host.name or nearer):
                return unit
    return None


def _likeness(one: Unit, other: Unit) -> float:
    """How much two scopes are alike by name: 0 if not, 1 for one name in another class, more for its class's name."""
    ratio = difflib.SequenceMatcher(None, one.name, other.name, autojunk=False).ratio()
    return (_last(one) == _last(other)) + (ratio if ratio >= _ALIKE else 0.0)


def _surroundings(statement: Item) -> list[tuple[Item, float]]:
    items = statement.unit.items
    at = items.index(statement)
    found = []
    for number, item in enumerate(items):
        if statement.index <= item.index < statement.end:
            continue
        weight = (0.03 + math.exp(-abs(number - at) / _REACH)) * min(1.0, 0.1 * len(item.tokens))
        if isinstance(item.node, ast.Import | ast.ImportFrom):
            weight *= 0.1
        found.append((item, weight))
    return found


def _score(
    statement: Item,
    unit: Unit,
    around: Iterable[tuple[Item, float]],
    rarity: Counter[bytes],
    total: float,
    taken: frozenset[str],
    *,
    same_file: bool,
) -> Host:
    present = Counter(item.key for item in unit.items)
    recorded = {item.recorded for item in unit.items} - {None}
    score = 0.0
    shared = 0
    for item, weight in around:
        if present[item.key] > 0:
            present[item.key] -= 1
            score += weight / math.sqrt(max(1, rarity[item.key]))
            shared += 1
        elif recorded and item.recorded in recorded:
            score += _RECORDED * weight
            shared += 1
    score /= total
    kinds = statement.unit.is_function == unit.is_function and (statement.unit.header is None) == (unit.header is None)
    if statement.unit.name == unit.name and kinds:
        score += 0.5 if same_file else 0.25
    elif _last(statement.unit) == _last(unit) and unit.header is not None and kinds and shared:
        score += 0.15
    elif not kinds or (unit.header is not None and unit.name in taken):
        score *= 0.7
    if not same_file:
        score *= 0.9
    return Host(unit, score, shared)


def _last(unit: Unit) -> str:
    return unit.name.rpartition(".")[2]
