"""From demanded cells to segments: what one process replays of one main loop of one run."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from logql.garbage import collections_paused
from logql.model import Level, Run, Segment
from logql.plan.cost import Estimate, RunCost, Timings
from logql.plan.demand import Demand
from logql.plan.passes import Part, Work, join, passed, seconds_of, with_total
from logql.plan.schedule import schedule, start_of
from logql.threads import replays_beside

#: A segment is split only where the longer part takes at most this share of the whole.
WORTH_SPLITTING = 0.8


class Placed(Protocol):
    """What is known of a name in a version's source."""

    @property
    def fingerprint(self) -> str | None:
        """Identifies the inserted text; None where the name cannot be placed."""
        ...

    @property
    def leads(self) -> bool:
        """Whether its statements stand ahead of the work of an iteration."""
        ...

    @property
    def levels(self) -> tuple[Level, ...]:
        """Levels that they can log at."""
        ...

    @property
    def once(self) -> bool:
        """Whether they run at most once in an iteration."""
        ...


class PlannedHistory(Timings, Protocol):
    """What the planner reads of catalog.history.History."""

    @property
    def runs(self) -> Mapping[str, Run]:
        """Runs by id."""
        ...

    def status(self, name: str, run: Run) -> Placed:
        """What a name is in the source that a run ran."""
        ...


@dataclass(frozen=True)
class FillPlan:
    """Segments, longest first, with their estimates; `seconds` is wall time over the workers."""

    segments: tuple[Segment, ...]
    estimates: tuple[Estimate, ...]
    seconds: float
    cpu_seconds: float
    workers: int


@collections_paused()
def plan_fill(
    demands: Sequence[Demand], history: PlannedHistory, workers: int | None = None, threads: int | None = None
) -> FillPlan:
    """Group demands by run and main loop entry into segments; split them where idle workers could help.

    Without a number of `workers`, there are as many as the processors serve, given the recorded (or forced) `threads`.
    """
    work = [item for group in _grouped(demands).items() for item in _works(*group, history)]
    runs = {item.run.id: item.run for item in work}
    count = workers or min((replays_beside(run, threads) for run in runs.values()), default=1)
    costs = {run: RunCost(run, history) for run in runs}
    passes = sorted(_passes(work, costs, count), key=lambda parts: -seconds_of(parts))
    starts = {run: start_of(runs[run]) for run in runs}
    scheduled = schedule([(seconds_of(parts), starts[parts[0][0].run.id]) for parts in passes], count)
    timed = zip(passes, scheduled.each, strict=True)
    parts = [part for found, seconds in timed for part in with_total(found, seconds)]
    segments = tuple(_segment(item, estimate) for item, estimate in parts)
    return FillPlan(segments, tuple(estimate for _, estimate in parts), scheduled.wall, scheduled.cpu, count)


_Place = tuple[str, str | None, int]


def _grouped(demands: Iterable[Demand]) -> dict[_Place, dict[str, set[int]]]:
    """Per main loop entry the wanted iterations of each name."""
    found: dict[_Place, dict[str, set[int]]] = {}
    for item in demands:
        names = found.setdefault((item.run, item.loop, item.entry), {})
        for name in item.names:
            names.setdefault(name, set()).update(item.indices)
    return found


def _works(place: _Place, names: Mapping[str, set[int]], history: PlannedHistory) -> list[Work]:
    """Names that share an iteration share a process."""
    run = history.runs[place[0]]
    statuses = {name: history.status(name, run) for name in names}
    clusters: list[tuple[dict[str, str], set[int]]] = []
    for name, wanted in sorted(names.items()):
        fingerprint = statuses[name].fingerprint
        if fingerprint is None:
            continue
        joined: tuple[dict[str, str], set[int]] = ({name: fingerprint}, set(wanted))
        apart = []
        for cluster in clusters:
            if cluster[1] & wanted or place[1] is None:
                joined = ({**cluster[0], **joined[0]}, cluster[1] | joined[1])
            else:
                apart.append(cluster)
        clusters = [*apart, joined]
    return [
        Work(
            *(run, place[1], place[2], tuple(sorted(wanted)), held),
            leads=all(_leads(statuses[name]) for name in held),
            whole=place[1] is None and not all(_ends_early(statuses[name]) for name in held),
        )
        for held, wanted in clusters
    ]


def _leads(status: Placed) -> bool:
    """Whether a replay may end the iteration behind it, with the iteration's work still to come."""
    return status.leads and status.once and all(len(level) == 1 for level in status.levels)


def _ends_early(status: Placed) -> bool:
    """Whether a replay of what is outside of main loops may end behind it."""
    return status.once and not any(status.levels)


def _passes(work: Sequence[Work], costs: Mapping[str, RunCost], workers: int) -> list[list[Part]]:
    """What each process does, while idle workers share what can be split."""
    on_the_way = passed(work, costs)
    places = {(item.run.id, item.loop, item.entry) for item in on_the_way}
    others = [item for item in work if (item.run.id, item.loop, item.entry) not in places]
    joining = sum(item.whole for item in others)
    parts = _split([(item, _estimate(item, costs)) for item in others], costs, workers + joining)
    return join(parts, on_the_way, costs)


def _estimate(item: Work, costs: Mapping[str, RunCost]) -> Estimate:
    return costs[item.run.id].segment(item.loop, item.entry, item.wanted, leads=item.leads)


def _split(parts: list[Part], costs: Mapping[str, RunCost], workers: int) -> list[Part]:
    """Halve the longest segment at a checkpoint while workers are idle and it pays."""
    parts = list(parts)
    final: list[Part] = []
    while parts and len(parts) + len(final) < workers:
        parts.sort(key=lambda part: part[1].seconds)
        longest = parts.pop()
        halves = _halve(longest[0], costs)
        if halves is None or max(half[1].seconds for half in halves) > WORTH_SPLITTING * longest[1].seconds:
            final.append(longest)
        else:
            parts += halves
    return parts + final


def _halve(item: Work, costs: Mapping[str, RunCost]) -> list[Part] | None:
    """The most even cut before a wanted iteration that a checkpoint of its own serves."""
    if item.loop is None:
        return None
    cuts = set()
    for start in costs[item.run.id].starts(item.loop, item.entry):
        position = bisect_left(item.wanted, start)
        if 0 < position < len(item.wanted):
            cuts.add(position)
    best: list[Part] | None = None
    for cut in _near_middle(sorted(cuts), len(item.wanted)):
        halves = [replace(item, wanted=wanted) for wanted in (item.wanted[:cut], item.wanted[cut:])]
        pair = [(half, _estimate(half, costs)) for half in halves]
        if best is None or max(p[1].seconds for p in pair) < max(p[1].seconds for p in best):
            best = pair
    return best


def _near_middle(cuts: list[int], length: int, most: int = 8) -> list[int]:
    return sorted(cuts, key=lambda cut: abs(cut - length / 2))[:most]


def _segment(item: Work, estimate: Estimate) -> Segment:
    return Segment(
        run=item.run.id,
        version=item.run.version,
        loop=item.loop,
        entry=item.entry,
        wanted=item.wanted,
        names=dict(item.names),
        estimated_s=estimate.seconds,
        onward=item.onward,
    )
