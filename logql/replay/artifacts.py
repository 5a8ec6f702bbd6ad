"""Which of today's files a run did not find at its start, because trainings wrote them: its own, or later ones.

A script that goes on where a checkpoint left off must not find the checkpoint of a later day. What was written before
main loops begin (downloads, prepared data) is left where it is, but for small files (settings) in a directory that the
same training wrote into: that is the run's own directory, whose name depends on which ones there are (`runs/exp5`).
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate

from logql.model import Run, process_since
from logql.store.catalog import Catalog
from logql.store.trainings import TICK, find_trainings

_SKIPPED = frozenset((".git", "__pycache__", ".venv", "venv", "node_modules"))
#: A killed run may have written for so long after its last event; whoever changes a file later is not it (seconds).
_GRACE_S = 60.0
#: Files looked at, at most: in larger trees, only the first ones are found.
_MOST_FILES = 200_000
#: What is written before a main loop and is larger than this (bytes) is data.
_SETTINGS = 2**20
#: Runs that may be on the way to their main loops at the same time.
_MOST_AT_ONCE = 64


class Artifacts:
    """Files that trainings wrote into one project; looked for once."""

    def __init__(self, store: str, project: str) -> None:
        self._store = os.path.realpath(store)
        self._project = project
        with Catalog.open(store) as catalog:
            runs = catalog.runs()
        self._trainings = find_trainings(runs, _GRACE_S)
        self._times = _Times(
            (process_since(run), *self._trainings[run.id]) for run in runs if run.id in self._trainings
        )
        #: when trainings wrote their files, and when those began whose settings are in a file
        self._found: tuple[dict[str, float], dict[str, float]] | None = None

    def later(self, run: Run) -> tuple[frozenset[str], frozenset[str]]:
        """Paths (relative to the project) of what was written from the run's first main loop on: all, and its own.

        All includes the run's own settings and those of later ones; its replay writes them anew.
        """
        if run.id not in self._trainings:
            return frozenset(), frozenset()
        if self._found is None:
            self._found = self._find()
        began, ended = self._trainings[run.id]
        found, settings = ({path for path, time in times.items() if time >= began} for times in self._found)
        return frozenset(found | settings), frozenset(path for path in found if self._found[0][path] <= ended)

    def _find(self) -> tuple[dict[str, float], dict[str, float]]:
        found: dict[str, float] = {}
        small: list[tuple[str, float]] = []
        for path, status in self._files():
            if self._times.within(status.st_mtime):
                found[path] = status.st_mtime
            elif status.st_size <= _SETTINGS:
                small += [(path, began) for began in self._times.before(status.st_mtime)]
        own = {
            (began, folder)
            for path, time in found.items()
            for began in self._times.around(time)
            for folder in _above(path)
        }
        return found, {path: began for path, began in small if (began, os.path.dirname(path)) in own}

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        directories, left = [""], _MOST_FILES
        while directories and left > 0:
            directory = directories.pop()
            for entry in _entries(os.path.join(self._project, directory)):
                path = os.path.join(directory, entry.name)
                left -= 1
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in _SKIPPED and os.path.realpath(entry.path) != self._store:
                        directories.append(path)
                elif entry.is_file(follow_symlinks=False):
                    yield path, entry.stat(follow_symlinks=False)


class _Times:
    """Runs as (start, begin of the first main loop, end), asked for moments."""

    def __init__(self, runs: Iterable[tuple[float, float, float]]) -> None:
        self._runs = sorted(runs, key=lambda run: run[1])
        self._begins = [began for _, began, _ in self._runs]
        self._last_ends = list(accumulate((ended for _, _, ended in self._runs), max))

    def within(self, time: float) -> bool:
        """Whether a training was going on."""
        number = bisect_right(self._begins, time)
        return number > 0 and self._last_ends[number - 1] >= time

    def around(self, time: float) -> Iterator[float]:
        """When those trainings began that were going on."""
        for number in range(bisect_right(self._begins, time) - 1, -1, -1):
            if self._last_ends[number] < time:
                return
            if self._runs[number][2] >= time:
                yield self._begins[number]

    def before(self, time: float) -> Iterator[float]:
        """When those trainings began whose runs were on the way to them."""
        number = bisect_right(self._begins, time)
        return (began for start, began, _ in self._runs[number : number + _MOST_AT_ONCE] if start - TICK <= time)


def _above(path: str) -> Iterator[str]:
    while path := os.path.dirname(path):
        yield path


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return list(found)
    except OSError:
        return []
