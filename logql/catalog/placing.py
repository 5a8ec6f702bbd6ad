"""Where the statements of a name go in each version of a script: from their own source, else through a neighbour's.

A version that has little in common with today's source may have much in common with one between them. So where a
statement cannot be placed from its own source, it is placed from the nearest newer version in which it has a place,
with as few versions between as possible; and a place that a person pinned counts for the versions around it as well.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from logql.catalog.status import Status
from logql.model import Level, LogStatement, Placement
from logql.propagate.compose import place_all

#: File and line in an old version's own text, as a person chose them.
Pin = tuple[str, int]
#: A version and the path under which it ran the script.
Target = tuple[str, str]
#: Placements of whole trees that are kept in memory: their texts are large, and most are needed once.
_MOST_KEPT = 32


@dataclass(frozen=True)
class Statements:
    """The log statements of one name, all of one tree: `version` is None for today's work tree."""

    version: str | None
    files: Mapping[str, str]
    found: tuple[LogStatement, ...]

    @cached_property
    def digest(self) -> str:
        """Identifies the statements and the files that they stand in."""
        parts = [f"{s.file}:{s.line}:{s.text}\0{self.files[s.file]}" for s in self.found]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Placed:
    """Where the statements of one tree go in another: `files` is that tree with them in, None where one is refused."""

    statements: Statements
    placements: Mapping[LogStatement, Placement]
    files: Mapping[str, str] | None
    via: Target | None = None
    hops: int = 0

    @property
    def reason(self) -> str:
        """Why it was refused."""
        return next((p.reason for p in self.placements.values() if p.reason), "its statement has no place there")


class Versions(Protocol):
    """What placing asks of a project: its trees, their order, the pins, and what is known of neighbours."""

    def tree(self, version: str | None, script: str) -> Mapping[str, str]:
        """The script and the files that it imports."""

    def statements(self, name: str, script: str) -> Statements | None:
        """The newest statements of a name."""

    def statements_in(self, name: str, files: Mapping[str, str], version: str | None) -> Statements | None:
        """The statements of a name in a tree."""

    def lineage(self, script: str) -> Sequence[Target]:
        """The versions that ran the script, wherever it was, the newest first."""

    def pins(self, name: str, script: str) -> Mapping[Target, Pin]:
        """The places that a person pinned for `name` in versions of the script."""

    def status(self, name: str, version: str, script: str) -> Status:
        """What `name` is in a version."""


class Placer:
    """Places the statements of names into versions."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions
        self._kept: OrderedDict[object, Placed] = OrderedDict()
        self._known: dict[object, Status] = {}

    def find(self, name: str, target: Target) -> Status:
        """The status of a name in a version that does not log it, from the first source that gives it a place."""
        statements = self._versions.statements(name, target[1])
        assert statements is not None
        refused: Status | None = None
        pinned = target in self._versions.pins(name, target[1])
        for source, via, hops, confidence in self._sources(name, target, statements, pinned):
            status = self._status(source, name, target)
            if status.state == "placed":
                return _through(status, statements, via, hops, confidence)
            if via is None:
                refused = status
        assert refused is not None
        return _through(refused, statements, None, 0, 1.0)

    def place(self, name: str, target: Target, via: Target | None) -> Placed | None:
        """The placements behind a status; None where there are no statements to place."""
        source = self.source(name, target, via)
        return self._place(source, target, self._pin(name, target)) if source is not None else None

    def place_pinned(self, name: str, target: Target, statements: Statements, pin: Pin) -> Placed:
        """What a pin that is not kept yet would give."""
        tried = []
        for source, _, _, _ in self._sources(name, target, statements, pinned=True):
            tried.append(self._place(source, target, pin))
            if tried[-1].files is not None:
                return tried[-1]
        return tried[0]

    def source(self, name: str, target: Target, via: Target | None) -> Statements | None:
        """The statements that a version takes: the newest ones, or those that were put into the neighbour `via`."""
        if via is None:
            return self._versions.statements(name, target[1])
        before = self._versions.status(name, *via)
        placed = self.place(name, via, before.via)
        if placed is None or placed.files is None:
            return None
        return self._versions.statements_in(name, placed.files, via[0])

    def _sources(
        self, name: str, target: Target, statements: Statements, pinned: bool
    ) -> Iterator[tuple[Statements, Target | None, int, float]]:
        """Sources to place from, in the order of trust: pinned neighbours, the newest statements, other neighbours.

        A version that is pinned itself asks no other for where, and for names none that would ask it in turn.
        """
        nearer, farther = ([], []) if pinned else self._pinned(name, target, statements)
        for near in nearer:
            yield from self._neighbour(name, target, near)
        yield statements, None, 0, 1.0
        for near in self._newer(name, target, statements, pinned):
            yield from self._neighbour(name, target, near)
        for near in farther:
            if self._status(statements, name, near).state == "placed":
                yield from self._neighbour(name, target, near)

    def _neighbour(
        self, name: str, target: Target, near: Target
    ) -> Iterator[tuple[Statements, Target | None, int, float]]:
        status = self._versions.status(name, *near)
        source = self.source(name, target, near) if status.state == "placed" else None
        if source is not None:
            yield source, near, status.hops + 1, status.confidence

    def _pinned(self, name: str, target: Target, statements: Statements) -> tuple[list[Target], list[Target]]:
        """Versions with a pin that are nearer than the statements' own, and the others; the nearest first."""
        pins = self._versions.pins(name, target[1])
        if not pins:
            return [], []
        order = self._versions.lineage(target[1])
        here, origin = order.index(target), _index_of(order, statements.version)
        found = sorted((abs(number - here), near) for number, near in enumerate(order) if near in pins)
        limit = abs(here - origin)
        return [near for distance, near in found if distance < limit], [near for d, near in found if d >= limit]

    def _newer(self, name: str, target: Target, statements: Statements, pinned: bool) -> Iterator[Target]:
        """Versions between the statements' own and this one in which they have a place: the nearest of each rank."""
        order, pins = self._versions.lineage(target[1]), self._versions.pins(name, target[1])
        here, origin = order.index(target), _index_of(order, statements.version)
        ranks: dict[int, Target] = {}
        for number in range(origin + 1, here):
            near = order[number]
            if pinned and here - number < number - origin and near not in pins:
                continue
            status = self._versions.status(name, *near)
            if status.state == "placed":
                ranks[status.hops] = near
        yield from (ranks[hops] for hops in sorted(ranks))

    def _pin(self, name: str, target: Target) -> Pin | None:
        return self._versions.pins(name, target[1]).get(target)

    def _status(self, source: Statements, name: str, target: Target) -> Status:
        """The outcome for a tree's content, computed once however many versions have it."""
        pin = self._pin(name, target)
        old = self._versions.tree(*target)
        key = (source.digest, frozenset(old.items()), pin)
        if key not in self._known:
            self._known[key] = status_of(self._place(source, target, pin))
        return self._known[key]

    def _place(self, source: Statements, target: Target, pin: Pin | None) -> Placed:
        old = self._versions.tree(*target)
        key = (source.digest, frozenset(old.items()), pin)
        if key not in self._kept:
            pins = dict.fromkeys(source.found, pin) if pin else None
            patched, placements = place_all(source.files, source.found, old, pins)
            done = patched is not None and not any(placement.reason for placement in placements.values())
            self._kept[key] = Placed(source, placements, patched if done else None)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return self._kept[key]


def _index_of(order: Sequence[Target], version: str | None) -> int:
    """Where a version stands in an order, today's work tree before all."""
    return next((number for number, (other, _) in enumerate(order) if other == version), -1)


def _through(status: Status, statements: Statements, via: Target | None, hops: int, confidence: float) -> Status:
    return Status(
        status.state,
        levels=status.levels,
        fingerprint=status.fingerprint,
        once=status.once,
        leads=status.leads,
        reason=status.reason,
        confidence=status.confidence * confidence,
        statements=statements.found,
        origin=statements.version,
        file=status.file,
        line=status.line,
        via=via,
        hops=hops,
    )


def status_of(placed: Placed) -> Status:
    """What a placement means for a query."""
    found = [placed.placements[statement] for statement in placed.statements.found]
    if placed.files is None:
        return Status("refused", reason=placed.reason, confidence=min((p.confidence for p in found), default=0.0))
    levels: dict[Level, None] = {}
    for placement in found:
        levels.update(dict.fromkeys(placement.levels))
    prints = [placement.fingerprint or "" for placement in found]
    return Status(
        "placed",
        levels=tuple(levels),
        fingerprint=prints[0] if len(prints) == 1 else hashlib.sha256("\0".join(prints).encode()).hexdigest()[:24],
        once=len(found) == 1 and found[0].once,
        leads=all(placement.leads for placement in found),
        confidence=min(placement.confidence for placement in found),
        file=found[0].file,
        line=found[0].line,
    )
