"""Time that a thread was at work or chose to wait, without what other processes took from it; a process's age."""

from __future__ import annotations

import os
import threading
import time
from time import monotonic


def work_time(thread: int | None = None) -> float:
    """Seconds like `time.monotonic`, less those in which this thread was ready to run and got no processor.

    On a crowded machine the wall's clock runs on while the training does not: a share of it would be too much. Only
    differences within one thread mean something; `thread` is the native id of one other than the caller's. Where the
    system does not tell (Linux does), it is the wall's clock.
    """
    try:
        name = f"/proc/self/task/{thread or threading.get_native_id()}/schedstat"
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return monotonic()
    try:
        return monotonic() - int(os.read(descriptor, 64).split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return monotonic()
    finally:
        os.close(descriptor)


def process_age() -> float | None:
    """Seconds since this process began; None where the system does not tell."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
