"""A private view of a directory below which other file systems are mounted: overlays around them, piece by piece.

In a user namespace the kernel refuses such a directory as the lower one of an overlay, since what is mounted below it
must not come off; nor would the overlay show it. Only the directories on the way to those mounts are put together here.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from logql.replay import namespaces

#: Larger files beside what is mounted are shown as they are, read-only, instead of as copies.
_COPIED = 64 * 2**20
#: A piece is a mount; a directory with more entries is not worth as many.
_MOST_PIECES = 4096


class Composed:
    """One directory put together; `points` are all mount points, `apart` the directories that get a view of their own.

    All that is written goes to `upper`, which itself is shown at the directory's path.
    """

    def __init__(self, lower: str, upper: str, work: str, points: Collection[str], apart: Collection[str]) -> None:
        self._points, self._apart = points, apart
        self._roots = [os.open(path, os.O_PATH | os.O_DIRECTORY) for path in (lower, upper, work)]
        self._numbers = itertools.count()

    def mount(self, target: str) -> list[str]:
        """Show the directory at `target`; returns what can be written to, `target` first."""
        _, upper, _ = self._roots
        namespaces.bind(f"/proc/self/fd/{upper}", target)
        try:
            return [target, *self._fill(target, "")]
        except OSError:
            namespaces.detach(target)
            raise

    def close(self) -> None:
        """Let go of the directories; what is mounted stays mounted."""
        for descriptor in self._roots:
            os.close(descriptor)

    def _fill(self, target: str, inside: str) -> Iterator[str]:
        """Put the entries of one lower directory beside those that the upper one has already."""
        lower, upper, _ = (Path(f"/proc/self/fd/{descriptor}", inside) for descriptor in self._roots)
        with os.scandir(lower) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            if next(self._numbers) > _MOST_PIECES:
                raise OSError(errno.E2BIG, f"more than {_MOST_PIECES} entries beside what is mounted below")
            own, path = upper / entry.name, os.path.join(target, entry.name)
            if os.path.lexists(own) and (own.is_symlink() or not own.is_dir()):
                continue  # the version's own file, whatever stands there today
            if entry.is_dir(follow_symlinks=False):
                _make_alike(own, entry)
                if path not in self._apart:
                    yield from self._directory(path, os.path.join(inside, entry.name))
            elif not os.path.lexists(own):
                _show_file(Path(entry.path), own, path)

    def _directory(self, target: str, inside: str) -> Iterator[str]:
        lower, upper, work = (os.path.join(f"/proc/self/fd/{descriptor}", inside) for descriptor in self._roots)
        try:
            if any(point.startswith(target + "/") for point in self._points):
                yield from self._fill(target, inside)
            else:
                yield from _overlay(lower, upper, work, target)
        except OSError:  # no part of an overlay (proc, dev, another user's): as it is, read-only
            namespaces.bind(lower, target)


def _overlay(lower: str, upper: str, work: str, target: str) -> list[str]:
    os.makedirs(work)
    layers = namespaces.Layers(lower, upper, work)
    try:
        return layers.mount(target)
    finally:
        layers.close()


def _make_alike(own: Path, entry: os.DirEntry[str]) -> None:
    if not own.exists():
        own.mkdir()
        own.chmod(stat.S_IMODE(entry.stat().st_mode))


def _show_file(source: Path, own: Path, target: str) -> None:
    """A copy of a small file, a link as it is; anything else can be read at its place."""
    status = source.lstat()
    if stat.S_ISLNK(status.st_mode):
        own.symlink_to(source.readlink())
    elif stat.S_ISREG(status.st_mode) and status.st_size <= _COPIED and os.access(source, os.R_OK):
        shutil.copy2(source, own)
    else:
        own.touch()
        namespaces.bind(str(source), target)
