"""Which data files a replayed script read that changed after its run: what makes a replay diverge, when it does.

Nothing of this is recorded in trainings: the replay itself tells what the script opens, and the file when it changed.
What C++ code opens is not seen.
"""

from __future__ import annotations

import os
import time

from logql.model import Run

_MOST_SEEN = 10_000
_MOST_TOLD = 3


class OpenedFiles:
    """Notes files opened for reading."""

    def __init__(self, run: Run, own: frozenset[str], store: str) -> None:
        """`own` holds the paths of the version's files, which are as they were; `store` is none of the script's."""
        self._since = run.ended_at or run.started_at
        self._began = time.time()
        self._own = own
        self._elsewhere = ("/proc/", "/sys/", "/dev/", os.path.join(store, ""))
        self._seen: dict[str, None] = {}

    def note(self, path: str) -> None:
        """A file is about to be opened for reading."""
        if len(self._seen) < _MOST_SEEN:
            self._seen[path] = None

    def changed(self) -> list[str]:
        """Those that changed between the end of the run and this replay."""
        found = []
        for path in list(self._seen):
            absolute = os.path.abspath(path)
            if absolute in self._own or absolute.startswith(self._elsewhere):
                continue
            try:
                modified = os.stat(absolute).st_mtime
            except OSError:
                continue
            if self._since < modified < self._began:
                found.append(path)
        return found[:_MOST_TOLD]
