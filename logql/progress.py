"""A line on the terminal that tells how far a replay is; silent where nobody watches."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from logql.replay.job import Progress

_WIDTH = 24
_INTERVAL = 0.1


class ProgressLine:
    """Draws `replay.job.Progress` reports on one line that `clear` removes; give the object itself as a callback."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._drawn = 0
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        """Draw a report, at most ten times a second."""
        now = time.monotonic()
        if not self._stream.isatty() or (now - self._last < _INTERVAL and progress.done < progress.total):
            return
        self._last = now
        text = describe(progress)
        self._stream.write("\r" + text + " " * (self._drawn - len(text)))
        self._stream.flush()
        self._drawn = len(text)

    def clear(self) -> None:
        """Remove the line, so that what follows starts on a clean one."""
        if self._drawn:
            self._stream.write("\r" + " " * self._drawn + "\r")
            self._stream.flush()
            self._drawn = 0


def describe(progress: Progress) -> str:
    """One line: a bar, the iterations done of all, the time left."""
    share = progress.done / progress.total if progress.total else 0.0
    bar = "#" * round(share * _WIDTH)
    left = f"{progress.seconds_left:.0f} s left" if progress.seconds_left >= 0.5 else "nearly done"
    return f"replaying [{bar:<{_WIDTH}}] {progress.done}/{progress.total} iterations, {left}"
