"""Bounds on what a replay may take: memory, processes, disk; and finding all that it started."""

from __future__ import annotations

import contextlib
import os
import resource
import time

#: Bytes that must stay free on the disk that a replay writes to.
DISK_RESERVE = 256 << 20


def limit_resources(memory_bytes: int | None, disk_bytes: int | None) -> None:
    """Bound this process and its children: memory that it writes to, size of one file, core dumps; be killed first."""
    if memory_bytes is not None:
        _limit(resource.RLIMIT_DATA, memory_bytes)
    if disk_bytes is not None:
        _limit(resource.RLIMIT_FSIZE, disk_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    _write("/proc/self/oom_score_adj", "900")


def limit_processes(most: int) -> None:
    """Bound the number of tasks in this PID namespace; before Linux 6.14 the number is the whole machine's."""
    path = "/proc/sys/kernel/pid_max"
    if kernel_version() < (6, 14):
        return
    try:
        with open(path, encoding="ascii") as file:
            if int(file.read()) > most:
                _write(path, str(most))
    except (OSError, ValueError):
        pass


def available_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return None


def free_disk(path: str) -> int:
    """Bytes free for us on the file system of `path`."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def descendants(root: int | None = None) -> list[int]:
    """All processes below one (this one), children before grandchildren."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found, queue = [], [root or os.getpid()]
    while queue:
        queue += (below := children.get(queue.pop(), []))
        found += below
    return found


def kept_waiting(root: int, elapsed: float) -> float:
    """Of `elapsed` seconds, those in which others kept a process and those below it from the processors.

    It is what the thread waited that waited most, less the share of the machine that they had themselves: the crowd may
    be their own. 0 where the system does not tell (Linux does).
    """
    used, longest = 0, 0
    for pid in (root, *descendants(root)):
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/schedstat", "rb") as file:
                    ran, waited, _ = map(int, file.read().split())
                    used, longest = used + ran, max(longest, waited)
    own = used / 1e9 / (elapsed * (os.cpu_count() or 1))
    return longest / 1e9 * max(0.0, 1.0 - own)


class DiskWatch:
    """Notices that a directory grew beyond a bound, or that its disk is nearly full; looks rarely where it is large."""

    def __init__(self, directory: str, limit: int | None) -> None:
        self.directory = directory
        self.limit = limit
        self._next = time.monotonic() + 1.0
        self._reserve = min(DISK_RESERVE, free_disk(directory) // 2)

    def exceeded(self) -> bool:
        """Whether a bound is broken, as far as the last look tells."""
        now = time.monotonic()
        if now < self._next:
            return False
        if free_disk(self.directory) < self._reserve:
            return True
        used = _disk_usage(self.directory) if self.limit is not None else 0
        self._next = now + max(1.0, 20 * (time.monotonic() - now))
        return self.limit is not None and used > self.limit


def _disk_usage(directory: str) -> int:
    total = 0
    stack = [directory]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
        except OSError:
            continue
    return total


def kernel_version() -> tuple[int, ...]:
    """Of Linux, as (major, minor); lower than any elsewhere."""
    release = os.uname().release.split("-")[0].split(".")[:2]
    return tuple(int(part) for part in release if part.isdigit()) if os.uname().sysname == "Linux" else (0,)


def _parents() -> list[tuple[int, int]]:
    found = []
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    for name in names:
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    found.append((int(name), int(file.read().rpartition(b")")[2].split()[1])))
            except (OSError, IndexError, ValueError):
                continue
    return found


def _limit(kind: int, value: int) -> None:
    try:
        _, hard = resource.getrlimit(kind)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, hard))
    except (OSError, ValueError):
        pass


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except OSError:
        pass
