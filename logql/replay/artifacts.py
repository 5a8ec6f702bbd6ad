"""Which of today's files a run did not find at its start, because trainings wrote them: its own, or later ones.

A script that goes on where a checkpoint left off must not find the checkpoint of a later day. What was written before
main loops begin (downloads, prepared data) is left where it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from logql.model import Run
from logql.store.catalog import Catalog
from logql.store.trainings import find_trainings

_SKIPPED = frozenset((".git", "__pycache__", ".venv", "venv", "node_modules"))
#: A killed run may have written for so long after its last event; whoever changes a file later is not it (seconds).
_GRACE_S = 60.0
#: Files looked at, at most: in larger trees, only the first ones are found.
_MOST_FILES = 200_000


class Artifacts:
    """Files that trainings wrote into one project; looked for once."""

    def __init__(self, store: str, project: str) -> None:
        self._store = os.path.realpath(store)
        self._project = project
        with Catalog.open(store) as catalog:
            self._trainings = find_trainings(catalog.runs(), _GRACE_S)
        self._found: dict[str, float] | None = None

    def later(self, run: Run) -> tuple[frozenset[str], frozenset[str]]:
        """Paths (relative to the project) of what was written from the run's first main loop on: all, and its own."""
        if run.id not in self._trainings:
            return frozenset(), frozenset()
        if self._found is None:
            self._found = dict(self._find())
        began, ended = self._trainings[run.id]
        later = {path: time for path, time in self._found.items() if time >= began}
        return frozenset(later), frozenset(path for path, time in later.items() if time <= ended)

    def _find(self) -> Iterator[tuple[str, float]]:
        trainings = sorted(self._trainings.values(), reverse=True)
        earliest = trainings[-1][0] if trainings else float("inf")
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
                    time = entry.stat(follow_symlinks=False).st_mtime
                    if time >= earliest and any(begin <= time <= end for begin, end in trainings):
                        yield path, time


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return list(found)
    except OSError:
        return []
