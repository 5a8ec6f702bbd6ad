"""Marks what a replayed script reads from clocks, so that it is not compared with what the clocks told then."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from logql.state.readings import Reading

_CLOCKS = ("time", "perf_counter", "monotonic", "process_time", "thread_time")
_LIBRARIES = f"{os.sep}site-packages{os.sep}"


def mark_readings(project: str) -> None:
    """Have the clocks of `time` give `Reading`s to code of the project; libraries get plain floats."""
    for name in _CLOCKS:
        setattr(time, name, _marking(getattr(time, name), os.path.join(project, "")))


def _marking(clock: Callable[[], float], project: str) -> Callable[[], float]:
    def read() -> float:
        caller = sys._getframe(1).f_code.co_filename
        return Reading(clock()) if caller.startswith(project) and _LIBRARIES not in caller else clock()

    read.__module__ = "time"
    read.__name__ = read.__qualname__ = clock.__name__
    return read
