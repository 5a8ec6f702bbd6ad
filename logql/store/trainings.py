"""When runs were in their main loops: what changed then was written by a training."""

from __future__ import annotations

from collections.abc import Iterable

from logql.model import Run, training_since

#: The clock of file systems is behind by up to a tick of the kernel (seconds).
TICK = 0.02


def find_trainings(runs: Iterable[Run]) -> dict[str, tuple[float, float]]:
    """Beginning and end by run; a killed run may have written until the next one started."""
    ordered = sorted(runs, key=lambda run: run.started_at)
    starts = [run.started_at for run in ordered[1:]] + [float("inf")]
    found = {}
    for run, following in zip(ordered, starts, strict=True):
        since = training_since(run)
        if since is not None:
            over = run.status in ("finished", "failed") and run.ended_at is not None
            until = run.ended_at if over else following if run.status == "killed" else None
            found[run.id] = since - TICK, float("inf") if until is None else until
    return found
