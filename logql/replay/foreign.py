"""What a private view could not write to: files and directories of owners that its user namespace does not know.

Of all but root a namespace maps one user and one group. An overlay then refuses (EOVERFLOW) to copy up what belongs to
another user, or to another group, as in a directory that a laboratory shares; so that is copied beforehand.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass

#: So many entries of a project are looked at, and so many bytes copied, small files first.
_MOST_ENTRIES = 20_000
_MOST_BYTES = 64 << 20
#: Not looked into: git's own files, and stores.
_PASSED_OVER = frozenset((".git", ".logql"))


@dataclass(frozen=True)
class Foreign:
    """Directories and files of others that we may write to, relative to a project; directories outermost first."""

    directories: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


NOTHING = Foreign()


def find_foreign(project: str) -> Foreign:
    """What of a project belongs to users or groups that a replay's namespace does not map."""
    if os.geteuid() == 0:
        return NOTHING
    directories, files = [], []
    for number, entry in enumerate(_entries(project)):
        if number >= _MOST_ENTRIES:
            break
        with contextlib.suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            mine = (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
            path = os.path.relpath(entry.path, project)
            if mine or not os.access(entry.path, os.W_OK):
                continue
            if stat.S_ISDIR(status.st_mode):
                directories.append(path)
            elif stat.S_ISREG(status.st_mode):
                files.append((status.st_size, path))
    return Foreign(tuple(directories), tuple(_affordable(sorted(files))))


def copy_foreign(project: str, found: Foreign, into: str) -> None:
    """Put copies where the private view's own files are, as far as there is nothing yet; of directories, empty ones."""
    for path in found.directories:
        os.makedirs(os.path.join(into, path), exist_ok=True)
        with contextlib.suppress(OSError):
            os.chmod(os.path.join(into, path), stat.S_IMODE(os.stat(os.path.join(project, path)).st_mode))
    for path in found.files:
        target = os.path.join(into, path)
        if not os.path.lexists(target):
            with contextlib.suppress(OSError):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copy2(os.path.join(project, path), target)


def _entries(project: str) -> Iterator[os.DirEntry[str]]:
    """Everything below a directory, level by level."""
    level = [project]
    while level:
        below = []
        for directory in level:
            with contextlib.suppress(OSError), os.scandir(directory) as entries:
                for entry in entries:
                    yield entry
                    if entry.name not in _PASSED_OVER and entry.is_dir(follow_symlinks=False):
                        below.append(entry.path)
        level = below


def _affordable(files: list[tuple[int, str]]) -> Iterator[str]:
    left = _MOST_BYTES
    for size, path in files:
        left -= size
        if left < 0:
            return
        yield path
