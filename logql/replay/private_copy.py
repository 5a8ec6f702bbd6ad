"""Weak isolation: a copy of the project for one segment, where there are no private views of the file system.

Small data is copied (reflinked where the file system can), large data linked. Writes that would leave the copy are
refused: what Python does by an audit hook, what C++ code and other programs do by the kernel where it has Landlock.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from logql.replay.checkout import Tree, copy_file, write_source
from logql.replay.landlock import allow_writes_below

#: Data up to this size together is copied, the rest linked.
COPY_LIMIT = 256 << 20
COPY_FILES = 5_000
_SKIPPED = frozenset((".git", "__pycache__", ".venv", "venv", "node_modules"))
#: Flags of `open` that tell of a file that may be changed.
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def build(origin: str, store: str, tree: Tree, patched: Mapping[str, str], into: str) -> None:
    """Make the copy: the version's files, the patched sources, and the project's data of today."""
    os.makedirs(into, exist_ok=True)
    for path in tree.files:
        if path not in patched:
            copy_file(os.path.join(tree.root, path), os.path.join(into, path))
    for path, text in patched.items():
        write_source(os.path.join(into, path), text, os.path.join(tree.root, path))
    _Mirror(origin, store, tree, into).mirror("")


class _Mirror:
    """Brings the project's other files into the copy, by copying as long as the budget lasts."""

    def __init__(self, origin: str, store: str, tree: Tree, into: str) -> None:
        self._origin = origin
        self._store = os.path.realpath(store)
        self._into = into
        self._taken = tree.files | frozenset(tree.hidden)
        self._own = {parent for path in self._taken for parent in _parents(path)}
        self._bytes = COPY_LIMIT
        self._files = COPY_FILES

    def mirror(self, directory: str) -> None:
        """Bring one directory's entries."""
        with os.scandir(os.path.join(self._origin, directory)) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            path = os.path.join(directory, entry.name)
            target = os.path.join(self._into, path)
            if path in self._taken or self._is_skipped(entry):
                continue
            if not entry.is_dir(follow_symlinks=False):
                self._bring_file(entry, target)
            elif path in self._own or self._fits(entry.path):
                os.makedirs(target, exist_ok=True)
                self.mirror(path)
            else:
                os.symlink(entry.path, target)

    def _is_skipped(self, entry: os.DirEntry[str]) -> bool:
        return entry.name in _SKIPPED or os.path.realpath(entry.path) == self._store

    def _bring_file(self, entry: os.DirEntry[str], target: str) -> None:
        size = entry.stat(follow_symlinks=False).st_size
        if entry.is_symlink() or size <= self._bytes:
            self._bytes -= 0 if entry.is_symlink() else size
            self._files -= 1
            shutil.copy2(entry.path, target, follow_symlinks=False)
        else:
            os.symlink(entry.path, target)

    def _fits(self, directory: str) -> bool:
        """Whether all below `directory` can still be copied."""
        size = count = 0
        for parent, _, names in os.walk(directory):
            for name in names:
                count += 1
                size += os.lstat(os.path.join(parent, name)).st_size
                if count > self._files or size > self._bytes:
                    return False
        return True


def refuse_writes_outside(allowed: list[str]) -> None:
    """Raise PermissionError from now on where this process, or one that it starts, writes outside of `allowed`."""
    roots = [os.path.realpath(path) for path in allowed]
    roots += ["/dev", "/proc"]
    allow_writes_below([root for root in roots if os.path.isdir(root)])

    def check(path: Any) -> None:
        if isinstance(path, int) or path is None:
            return
        where = os.path.realpath(os.fsdecode(path))
        if not any(where == root or where.startswith(root + os.sep) for root in roots):
            raise PermissionError(13, "a replay without a private file system may not write here", where)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITING:
                check(path)
        elif event in CHANGING:
            for position in CHANGING[event]:
                check(arguments[position])
        elif event == "sqlite3.connect" and ":memory:" not in str(arguments[0]) and "mode=ro" not in str(arguments[0]):
            check(str(arguments[0]).removeprefix("file:").partition("?")[0] or tempfile.gettempdir())

    sys.addaudithook(hook)


#: Audit events of calls that change files, with the positions of the paths that they change.
CHANGING = {
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.link": (1,),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.utime": (0,),
    "shutil.rmtree": (0,),
}


def _parents(path: str) -> list[str]:
    found = []
    while path := os.path.dirname(path):
        found.append(path)
    return found
