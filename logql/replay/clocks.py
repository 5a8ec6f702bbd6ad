"""Marks what a replayed script reads from clocks, so that it is not compared with what the clocks told then."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from logql.state.readings import Reading

_CLOCKS = ("time", "perf_counter", "monotonic", "process_time", "thread_time")
_LIBRARIES = f"{os.sep}site-packages{os.sep}"
#: Libraries whose objects keep what they read from clocks (when an episode began, how long a batch took).
_KEEPERS = frozenset(
    {"gym", "gymnasium", "stable_baselines3", "lightning", "pytorch_lightning", "transformers", "keras"}
)


def mark_readings(project: str) -> None:
    """Have the clocks of `time` give `Reading`s to code of the project; most libraries get plain floats."""
    for name in _CLOCKS:
        setattr(time, name, _marking(getattr(time, name), os.path.join(project, "")))


def gets_readings(file: str, project: str) -> bool:
    """Whether the code of a file is the project's, or keeps readings in objects that the project's code holds."""
    _, installed, path = file.partition(_LIBRARIES)
    return path.partition(os.sep)[0] in _KEEPERS if installed else file.startswith(project)


def _marking(clock: Callable[[], float], project: str) -> Callable[[], float]:
    marked: dict[str, bool] = {}

    def read() -> float:
        file = sys._getframe(1).f_code.co_filename
        if file not in marked:
            marked[file] = gets_readings(file, project)
        return Reading(clock()) if marked[file] else clock()

    read.__module__ = "time"
    read.__name__ = read.__qualname__ = clock.__name__
    return read
