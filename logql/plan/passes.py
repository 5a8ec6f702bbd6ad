"""What one process does on its way to the end of a script: it passes main loops some of whose iterations are wanted.

A statement whose callers are unknown (a callback, a hook) may log inside of main loops and outside of them. For what is
outside, the whole script is replayed; where that executes a loop again, or a segment ends with its loop, one process
serves both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from logql.model import Run
from logql.plan.cost import Estimate, RunCost


@dataclass(frozen=True)
class Work:
    """Iterations of a main loop of a run, or what is outside of them (`loop` is None), and the names wanted there.

    `leads`: what is wanted stands ahead of an iteration's work. `whole`: the replay of what is outside ends with the
    script, not where all that is wanted is there. `onward`: the process then goes on to the end of the script.
    """

    run: Run
    loop: str | None
    entry: int
    wanted: tuple[int, ...]
    names: Mapping[str, str]
    leads: bool = False
    whole: bool = False
    onward: bool = False


Part = tuple[Work, Estimate]


def passed(work: Sequence[Work], costs: Mapping[str, RunCost]) -> list[Work]:
    """What a process on its way to the end of a script executes anyway: loops that left no state at their exit."""
    whole = {item.run.id for item in work if item.whole}
    found: dict[tuple[str, str, int], Work] = {}
    for item in work:
        if item.run.id in whole and item.loop is not None and not costs[item.run.id].has_exit(item.loop, item.entry):
            place = item.run.id, item.loop, item.entry
            known = found.get(place, item)
            wanted = tuple(sorted({*known.wanted, *item.wanted}))
            found[place] = replace(item, wanted=wanted, names={**known.names, **item.names}, onward=True)
    return list(found.values())


def join(parts: Sequence[Part], on_the_way: Sequence[Work], costs: Mapping[str, RunCost]) -> list[list[Part]]:
    """The parts by process: one to a script's end takes in what is `on_the_way`, and the segment that ends last."""
    passes = []
    joined: list[Part] = []
    for rest in [part for part in parts if part[0].whole]:
        run = rest[0].run.id
        last = _last(parts, run, costs[run])
        joined += [rest] if last is None else [rest, last]
        passes.append(_way(rest, last, [item for item in on_the_way if item.run.id == run], costs[run]))
    return passes + [[part] for part in parts if not any(part is other for other in joined)]


def _last(parts: Sequence[Part], run: str, cost: RunCost) -> Part | None:
    """Of the segments that reach the end of their loop, the one in the latest."""
    found: list[tuple[int, Part]] = []
    for part in parts:
        item = part[0]
        loop = cost.main_loop(item.loop, item.entry) if item.run.id == run and not item.leads else None
        if loop is not None and item.wanted[-1] == loop.iterations - 1:
            found.append((loop.ordinal, part))
    return max(found, key=lambda one: one[0])[1] if found else None


def _way(rest: Part, last: Part | None, on_the_way: Sequence[Work], cost: RunCost) -> list[Part]:
    """Parts in one process, each with its share of the time: a loop that is passed its own, `last` what is left."""
    places = {(item.loop, item.entry): cost.main_loop(item.loop, item.entry) for item in on_the_way}
    loops = [loop for loop in places.values() if loop is not None]
    total = rest[1].seconds if last is None else last[1].seconds + cost.behind(last[0].loop, last[0].entry)
    left = max(0.0, total - sum(map(cost.passing, loops)))
    found = [(item, cost.through(item.loop, item.entry, item.wanted)) for item in on_the_way]
    if last is not None:
        return [*found, (replace(last[0], onward=True), replace(last[1], seconds=left)), _free(rest)]
    if not found:
        return [rest]
    (item, estimate), *others = found
    return [(item, replace(estimate, seconds=estimate.seconds + left)), *others, _free(rest)]


def _free(part: Part) -> Part:
    """What is reached anyway: what the end of a script takes behind its last loop is not in the record."""
    return part[0], replace(part[1], seconds=0.0)


def seconds_of(parts: Sequence[Part]) -> float:
    """What one process takes."""
    return sum(estimate.seconds for _, estimate in parts)


def with_total(parts: Sequence[Part], seconds: float) -> list[Part]:
    """The parts of a process that takes so long, with the difference in the longest."""
    if seconds == seconds_of(parts):
        return list(parts)
    longest = max(parts, key=lambda part: part[1].seconds)
    left = max(0.0, seconds - seconds_of([part for part in parts if part is not longest]))
    return [(part[0], replace(part[1], seconds=left)) if part is longest else part for part in parts]
