"""How many threads a run's numbers were computed with, and so how many replays of it fit beside each other here."""

from __future__ import annotations

import os
from collections.abc import Mapping

from logql.model import Run

#: Variables that libraries read their thread count from, at import.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def thread_counts(run: Run) -> dict[str, int]:
    """Thread count per variable: as recorded, where a variable was set; else what the libraries took by themselves."""
    effective = _effective(run)
    common = effective.get("omp") or effective.get("torch") or effective.get("cpus")
    own = {"MKL_NUM_THREADS": effective.get("mkl"), "OPENBLAS_NUM_THREADS": effective.get("openblas")}
    set_then = {name: int(text) for name, text in recorded_variables(run).items() if text.isdigit()}
    found = {name: set_then.get(name) or own.get(name) or common for name in THREAD_VARIABLES}
    return {name: count for name, count in found.items() if count}


def recorded_threads(run: Run) -> int | None:
    """How many threads a run's numbers were computed with, at most; None where that was not recorded.

    One where no library had been loaded that starts threads of its own.
    """
    alone = set(_effective(run)) == {"cpus"} and not any(name in recorded_variables(run) for name in THREAD_VARIABLES)
    return 1 if alone else max(thread_counts(run).values(), default=None)


def recorded_variables(run: Run) -> dict[str, str]:
    """The environment variables that were recorded with a run."""
    found = run.environment.get("variables")
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, Mapping) else {}


def replays_beside(run: Run, threads: int | None = None) -> int:
    """How many replays of a run the processors here serve at once; `threads` is a count that is forced on them."""
    return max(1, _cpu_count() // (threads or recorded_threads(run) or 1))


def _effective(run: Run) -> dict[str, int]:
    found = run.environment.get("threads")
    if not isinstance(found, Mapping):
        return {}
    return {str(name): count for name, count in found.items() if isinstance(count, int) and count > 0}


def _cpu_count() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
