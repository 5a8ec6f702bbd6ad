"""Which data files a replayed script read that changed after its run: what makes a replay diverge, when it does.

Nothing of this is recorded in trainings: the replay itself tells what the script opens, and the file when it changed.
What C++ code opens is not seen.
"""

from __future__ import annotations

import os
import sys
import time

from logql.model import Run

_MOST_SEEN = 10_000
_MOST_TOLD = 3
#: Read by the interpreter, never data.
_CODE = (".py", ".pyc", ".pth", ".so")


class OpenedFiles:
    """Notes files opened for reading, from `install` on."""

    def __init__(self, run: Run, own: frozenset[str]) -> None:
        """`own` holds the paths of the version's files, which are as they were."""
        self._since = run.ended_at or run.started_at
        self._began = time.time()
        self._own = own
        self._seen: dict[str, None] = {}

    def install(self) -> None:
        """See every `open` of this process; an audit hook stays until its end."""
        seen = self._seen

        def note(event: str, arguments: tuple[object, ...]) -> None:
            if event == "open" and type(arguments[0]) is str and len(seen) < _MOST_SEEN:
                seen[arguments[0]] = None

        sys.addaudithook(note)

    def changed(self) -> list[str]:
        """Those that changed between the end of the run and this replay."""
        found = []
        for path in list(self._seen):
            absolute = os.path.abspath(path)
            if path.endswith(_CODE) or absolute in self._own or absolute.startswith(("/proc/", "/sys/", "/dev/")):
                continue
            try:
                modified = os.stat(absolute).st_mtime
            except OSError:
                continue
            if self._since < modified < self._began:
                found.append(path)
        return found[:_MOST_TOLD]
