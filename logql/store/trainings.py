"""When runs were in their main loops: what changed then was written by a training."""

from __future__ import annotations

from collections.abc import Iterable

from logql.model import Run, training_since

#: The clock of file systems is behind by up to a tick of the kernel (seconds).
TICK = 0.02


def find_trainings(runs: Iterable[Run], grace_s: float = float("inf")) -> dict[str, tuple[float, float]]:
    """Beginning and end by run; a killed one may have written for `grace_s` more, until another began."""
    ordered = sorted(runs, key=lambda run: run.started_at)
    starts = [run.started_at for run in ordered[1:]] + [float("inf")]
    found = {}
    for run, following in zip(ordered, starts, strict=True):
        since = training_since(run)
        if since is not None:
            until = float("inf") if run.ended_at is None else run.ended_at
            if run.status == "killed":
                until = min(until + grace_s, max(until, following))
            found[run.id] = since - TICK, until
    return found
