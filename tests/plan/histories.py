"""Histories of whole runs for the real engine: loops in loops, entries, repeats, ranks, types, and a filler."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from logql.catalog.history import History
from logql.catalog.schema import UNKNOWN_TYPE, Column
from logql.catalog.status import OWN, NoSources, Status
from logql.model import Enter, Event, Fill, Level, Logged, Path, Segment, Step
from tests.execute.traces import Trace, places_beside, snapshot_of

#: Names of the old versions' missing statements, with the levels at which they may stand.
PLACES: dict[str, tuple[tuple[Level, ...], ...]] = {
    "gn": ((("epoch",),), (("epoch", "step"),), (("epoch",), ("epoch", "step")), ((),)),
    "hn": ((("epoch",),), (("epoch", "step"),), (("epoch", "eval"),)),
    "note": ((("epoch",),), ((),)),
}
#: The same for values of other types than numbers and words.
TYPED: dict[str, tuple[tuple[Level, ...], ...]] = {
    **PLACES,
    "size": ((("epoch",),), (("epoch", "step"),), ((),)),
    "ok": ((("epoch",),), (("epoch", "step"),)),
    "day": ((("epoch",),), ((),)),
    "seen": ((("epoch",),), (("epoch", "step"),)),
    "vec": ((("epoch",),), (("epoch", "step"),)),
    "info": ((("epoch",),), ((),)),
}
RECORDED: dict[str, Level] = {"val_acc": ("epoch",), "loss": ("epoch", "step"), "best": (), "tag": ("epoch",)}
FINGERPRINT = "f"
#: Versions without the statements; the cells of runs of several processes are unfillable, in the truth too.
RANKS = "oldranks"
LACKING = frozenset({"old", "older", RANKS})


class Placed(NoSources):
    """Today's source logs what the old versions lack."""

    def __init__(
        self, levels: dict[str, tuple[Level, ...]], once: frozenset[str], lacking: frozenset[str] = LACKING
    ) -> None:
        self.levels = levels
        self.lacking = lacking
        self.once = once

    def names(self) -> dict[str, Column]:
        return {name: Column(name, UNKNOWN_TYPE, frozenset(), True) for name in (*RECORDED, *TYPED)}

    def is_stale(self) -> bool:
        """Never: there is no source to change."""
        return False

    def status(self, name: str, version: str, script: str) -> Status:  # noqa: ARG002
        if name in self.levels and version in self.lacking:
            return Status("placed", levels=self.levels[name], fingerprint=FINGERPRINT, once=name in self.once)
        return OWN


@dataclass
class Past:
    """Runs as they were recorded, as they would have been, and what was filled of the difference."""

    full: list[Trace]
    recorded: list[Trace]
    hidden: dict[str, list[Logged]]
    sources: Placed
    fills: list[tuple[Fill, list[Logged]]] = field(default_factory=list)
    counter: int = 1

    def history(self) -> History:
        """As it stands now."""
        return History(snapshot_of(self.recorded, self.fills, self.counter), self.sources)

    def truth(self) -> History:
        """As if everything had been logged from the start."""
        return History(snapshot_of(self.full), Placed(self.sources.levels, frozenset(), frozenset({RANKS})))

    def fill(self, segments: Iterable[Segment]) -> None:
        """Give the segments' cells and no other."""
        self.counter += 1
        for segment in segments:
            fill, events = fill_of(segment, self.hidden[segment.run], len(self.fills))
            (recorded,) = (trace for trace in self.recorded if trace.run == segment.run)
            self.fills.append((fill, [*events, *places_beside(events, recorded.events[0])]))


def fill_of(segment: Segment, hidden: list[Logged], number: int) -> tuple[Fill, list[Logged]]:
    """What replaying a segment would give."""
    events = [event for event in hidden if event.name in segment.names and _inside(event.path, segment)]
    levels = {
        name: tuple({tuple(step.loop for step in e.path) for e in events if e.name == name}) for name in segment.names
    }
    first, last = (segment.wanted[0], segment.wanted[-1]) if segment.wanted else (None, None)
    fill = Fill(
        f"f{number}", "q", segment.run, segment.version, dict(segment.names), segment.loop, segment.entry, first, last,
        "done", fidelity="exact", levels=levels, covered=segment.wanted or None,
    )  # fmt: skip
    return fill, events


def _inside(path: Path, segment: Segment) -> bool:
    if segment.loop is None:
        return not path
    return bool(path) and path[0][:2] == (segment.loop, segment.entry) and path[0].index in segment.wanted


def make_typed_past(rng: random.Random) -> Past:
    """The same with a few virtual columns of any type."""
    return make_past(rng, {name: TYPED[name] for name in rng.sample(list(TYPED), 3)})


def make_past(rng: random.Random, virtual: Mapping[str, tuple[tuple[Level, ...], ...]] = PLACES) -> Past:
    """One to four runs of one to three versions; the old ones lack names."""
    levels = {name: rng.choice(places) for name, places in virtual.items() if rng.random() < 0.9}
    style = _Style(rng, levels)
    full, recorded = [], []
    hidden: dict[str, list[Logged]] = {}
    for number in range(rng.randint(1, 4)):
        version = rng.choice(("old", "old", "older", "new"))
        ranks = 2 if rng.random() < 0.08 else 1
        status = rng.choice(("finished", "finished", "killed"))
        events = style.run()
        run = f"R{number}"
        if ranks > 1:
            events = [e for e in events if not (isinstance(e, Logged) and e.name in levels)]
            both = {0: events, 1: [e for e in events if not (isinstance(e, Logged) and rng.random() < 0.3)]}
            trace = Trace(run, RANKS, status, events=both)
            full.append(trace)
            recorded.append(trace)
            hidden[run] = []
            continue
        kept, missing = (events, []) if version == "new" else _hide(events, frozenset(levels))
        full.append(Trace(run, version, status, events={0: events}))
        recorded.append(Trace(run, version, status, events={0: kept}))
        hidden[run] = missing
    once = frozenset(name for name in levels if _runs_once(name, levels[name], full))
    return Past(full, recorded, hidden, Placed(levels, once))


def _hide(events: list[Event], names: frozenset[str]) -> tuple[list[Event], list[Logged]]:
    kept: list[Event] = []
    hidden: list[Logged] = []
    sub = 0
    for event in events:
        if isinstance(event, Logged) and event.name in names:
            sub += 1
            hidden.append(event._replace(seq=len(kept) - 1, sub=sub))
        else:
            kept.append(event._replace(seq=len(kept)))
            sub = 0
    return kept, hidden


def _runs_once(name: str, levels: tuple[Level, ...], traces: list[Trace]) -> bool:
    counts = Counter((t.run, e.path) for t in traces for e in t.events[0] if isinstance(e, Logged) and e.name == name)
    return len(levels) == 1 and max(counts.values(), default=0) <= 1


class _Style:
    """How the runs of one history log: which names repeat, how often statements are skipped."""

    def __init__(self, rng: random.Random, levels: dict[str, tuple[Level, ...]]) -> None:
        self.rng = rng
        self.levels: dict[str, tuple[Level, ...]] = {name: (level,) for name, level in RECORDED.items()} | levels
        self.virtual = frozenset(levels)
        self.skip = rng.choice((0.0, 0.0, 0.2))
        self.again = rng.choice((0.0, 0.0, 0.0, 0.3))
        self.entries = rng.choice((1, 1, 1, 2))
        self.events: list[Event] = []

    def run(self) -> list[Event]:
        self.events = []
        self._level((), ())
        return self.events

    def _level(self, path: Path, level: Level) -> None:
        """Log the names of a context and pass its loops, in some order."""
        parts: list[str | tuple[str, int]] = [*self._names(level)]
        for loop in {(): ("epoch",), ("epoch",): ("step", "eval")}.get(level, ()):
            parts += [(loop, entry) for entry in range(self.entries if loop != "eval" else 1)]
        self.rng.shuffle(parts)
        entered: Counter[str] = Counter()
        for part in parts:
            if isinstance(part, str):
                self._add(Logged(path, part, self._value(part), len(self.events), 0, len(self.events) + 1.0))
                continue
            for index in range(self.rng.randint(0 if level else 1, 3 if not level else 2)):
                here = (*path, Step(part[0], entered[part[0]], index))
                self._add(Enter(here, index, len(self.events), len(self.events) + 1.0))
                self._level(here, (*level, part[0]))
            entered[part[0]] += 1

    def _add(self, event: Event) -> None:
        self.events.append(event)

    def _names(self, level: Level) -> list[str]:
        """Names of one context, some of them twice."""
        mine = [name for name, levels in self.levels.items() if level in levels and self.rng.random() >= self.skip]
        return [name for name in mine for _ in range(2 if self.rng.random() < self.again else 1)]

    def _value(self, name: str) -> object:
        rng = self.rng
        if name in ("tag", "note"):
            return rng.choice(("x", "y", "z", "xy", None))
        if name in TYPED and name not in PLACES:
            return None if rng.random() < 0.15 else _typed(name, rng)
        if rng.random() < 0.2:
            return rng.choice((None, float("nan"), 5.0))
        return rng.randint(0, 12) / 4


def _typed(name: str, rng: random.Random) -> object:
    if name == "size":
        return rng.randint(-1, 6)
    if name == "ok":
        return rng.random() < 0.5
    if name == "day":
        return date(2024, 1, rng.randint(1, 5))
    if name == "seen":
        return datetime(2024, 1, rng.randint(1, 3), rng.randint(0, 23))
    if name == "info":
        return {"x": rng.choice((None, 1.0, 2.5)), "s": rng.choice("xyz")}
    return [rng.choice((None, 0.0, 1.0, 2.0)) for _ in range(rng.randint(0, 3))]
