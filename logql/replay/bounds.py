"""What a record can hold of what a replay logs again: nothing behind a run's death, nor what could not be recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from logql.model import Logged, Path, Run
from logql.replay.recorded import Values
from logql.store.losses import lost_events


def comparable(
    relogged: Sequence[Logged], run: Run, recorded: Values, names: Mapping[str, str], begun: Callable[[], int]
) -> Sequence[Logged]:
    """The values of a replay whose counterparts the record has, or should have.

    `begun` tells the number of the last iteration that began in the run: where that ended before its script did, its
    record ends there, or with the last value behind it that the replay has, too.
    """
    lost = lost_events(run)
    found = [event for event in relogged if not any(first <= event.seq < behind for first, behind in lost)]
    if run.status == "finished":
        return found
    matched = _matched(found, recorded, names)
    end = max(matched, default=-1)
    if any(event.seq > end for event in found):
        end = max(end, begun())
    return [event for event in found if event.seq <= end]


def _matched(relogged: Collection[Logged], recorded: Values, names: Mapping[str, str]) -> list[int]:
    """The numbers of the values that the record has one for."""
    seen: Counter[tuple[Path, str]] = Counter()
    found = []
    for event in relogged:
        key = event.path, names.get(event.name, event.name)
        if seen[key] < len(recorded.get(key, ())):
            found.append(event.seq)
        seen[key] += 1
    return found
