"""The live display of a replay: how far it is, the time left, and per version what is done and how it agrees."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TextIO

from logql.progress import describe
from logql.repl.grid import cut

if TYPE_CHECKING:
    from logql.model import Fill
    from logql.replay.job import Progress

#: Versions shown, those that moved last.
_VERSIONS = 6
_INTERVAL_S = 0.4


class LiveDisplay:
    """Draws `replay.job.Progress` reports below the statement; `clear` removes them.

    `fills` gives the fills of the store; those begun since the display was made are shown by version.
    """

    def __init__(self, stream: TextIO, fills: Callable[[], Iterable[Fill]]) -> None:
        self._stream = stream
        self._fills = fills
        self._since = time.time() - 1.0
        self._drawn = 0
        self._last = 0.0

    def draw(self, progress: Progress) -> None:
        """Draw a report, unless the last one is only just there."""
        now = time.monotonic()
        if now - self._last < _INTERVAL_S:
            return
        self._last = now
        mine = [fill for fill in self._fills() if fill.started_at >= self._since]
        self.clear()
        width = _width(self._stream)
        lines = [cut(line, width - 1) for line in (describe(progress) + "  (Ctrl-C cancels)", *by_version(mine))]
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()
        self._drawn = len(lines)

    def clear(self) -> None:
        """Remove what was drawn."""
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A\r\x1b[J")
            self._stream.flush()
            self._drawn = 0


def by_version(fills: Iterable[Fill]) -> list[str]:
    """A line per version: iterations done, segments at work, and how often the replay agreed with the record."""
    versions: dict[str, list[Fill]] = {}
    for fill in sorted(fills, key=lambda fill: fill.started_at):
        versions.setdefault(fill.version, []).append(fill)
    lines = [_line(version, found) for version, found in versions.items()]
    more = len(lines) - _VERSIONS
    return ([f"  {more} more versions"] if more > 0 else []) + lines[-_VERSIONS:]


def _line(version: str, fills: list[Fill]) -> str:
    done = sum(_iterations(fill) for fill in fills if fill.state == "done")
    running = sum(fill.state == "running" for fill in fills)
    failed = sum(fill.state == "failed" for fill in fills)
    agreed = Counter(fill.fidelity for fill in fills if fill.fidelity is not None)
    parts = [f"{done} iteration{'' if done == 1 else 's'} done"]
    parts += [f"{running} running"] if running else []
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{count} {fidelity}" for fidelity, count in agreed.items()]
    return f"  {version}  " + ", ".join(parts)


def _iterations(fill: Fill) -> int:
    if fill.covered is not None:
        return len(fill.covered)
    if fill.first_index is None or fill.last_index is None:
        return 1
    return fill.last_index - fill.first_index + 1


def _width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
