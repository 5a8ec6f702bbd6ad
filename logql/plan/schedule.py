"""What segments take over some workers, longest first, where those that start alike are forks of one process.

Such a process has loaded, once, what the runs loaded before they trained; a fork of it is spared that. The pool's side
of it is `replay.servers`.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from logql.model import Run
from logql.threads import recorded_variables, thread_counts

#: So many replays that start alike are worth a process to fork them from.
LEAST_FORKS = 2
#: Seconds that a fork takes beyond what its script does behind the imports.
FORK_S = 0.03


@dataclass(frozen=True)
class Start:
    """Of a replay's start, `loading` seconds are done once for all whose `server` is equal; None: it starts alone."""

    server: Hashable | None = None
    loading: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """Wall seconds of each segment from its start to its end, of all together, and CPU seconds of all."""

    each: tuple[float, ...]
    wall: float
    cpu: float


def may_fork(run: Run) -> bool:
    """Whether a fork is as good as a fresh process: not on accelerators, whose drivers may not survive one."""
    return not run.environment.get("accelerators") and not isinstance(run.environment.get("module"), str)


def start_of(run: Run) -> Start:
    """How a run's replays start, as far as the record tells."""
    loading = run.environment.get("loading")
    if not isinstance(loading, Mapping) or not may_fork(run):
        return Start()
    interpreter = str(run.environment.get("executable")), str(run.environment.get("flags"))
    variables = frozenset({**recorded_variables(run), **thread_counts(run)}.items())
    return Start((*interpreter, variables, tuple(loading["packages"])), float(loading["seconds"]))


def schedule(segments: Sequence[tuple[float, Start]], workers: int) -> Schedule:
    """Run segments, given in turn with what each takes in a process of its own, on the worker that is free first."""
    alike = Counter(start.server for _, start in segments if start.server is not None)
    loaded: dict[Hashable, float] = {}
    free = [0.0] * max(1, workers)
    each, cpu = [], 0.0
    for seconds, start in segments:
        begins = own = heapq.heappop(free)
        if alike[start.server] >= LEAST_FORKS:
            if start.server not in loaded:
                loaded[start.server] = begins + start.loading
                cpu += start.loading
            own = max(begins, loaded[start.server])
            seconds = max(0.0, seconds - start.loading) + FORK_S
        cpu += seconds
        each.append(own - begins + seconds)
        heapq.heappush(free, own + seconds)
    return Schedule(tuple(each), max(free), cpu)
