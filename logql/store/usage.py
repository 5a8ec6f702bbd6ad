"""What takes how much space: `logql du`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from logql.store import layout

_PARTS = (layout.LOGS, layout.FILLS, layout.WAL, layout.CHECKPOINTS, layout.CODE, layout.SCRATCH)


@dataclass(frozen=True)
class Usage:
    """Files and bytes of one part of a store."""

    part: str
    files: int
    bytes: int


def usage(store: str) -> list[Usage]:
    """Space per part of `store`, the catalog first."""
    names = (layout.CATALOG, f"{layout.CATALOG}-wal", f"{layout.CATALOG}-shm")
    sizes = [size for name in names if (size := _size(os.path.join(store, name))) is not None]
    found = [Usage("catalog", len(sizes), sum(sizes))]
    for part in _PARTS:
        sizes = [size for path in walk(os.path.join(store, part)) if (size := _size(path)) is not None]
        found.append(Usage(part, len(sizes), sum(sizes)))
    return found


def walk(directory: str) -> Iterator[str]:
    """Every file under `directory`; links are not followed."""
    for base, _, names in os.walk(directory):
        for name in sorted(names):
            yield os.path.join(base, name)


def _size(path: str) -> int | None:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return None
