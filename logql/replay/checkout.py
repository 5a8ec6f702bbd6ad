"""The files that a version's replay sees: its own, over those of today that git does not hold.

A checkout is made once per version and kept under `scratch/` between queries; the segments' private copies take from it
what differs from the project's files of today.
"""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from logql.errors import Error, ReplayError
from logql.model import Version
from logql.replay.foreign import NOTHING, Foreign
from logql.store import layout
from logql.versions import history
from logql.versions.selection import select_files

CHECKOUTS = os.path.join(layout.SCRATCH, "checkouts")


@dataclass(frozen=True)
class Tree:
    """A version's files. `changed` differ from the project's of today, `hidden` of today's it must not find.

    `own` are those hidden ones that the run itself wrote last. `files` holds all of the version. Paths are relative to
    the project and to the `root` of the checkout. `foreign` belongs to others and can be written to.
    """

    root: str
    files: frozenset[str]
    changed: tuple[str, ...]
    hidden: tuple[str, ...]
    own: frozenset[str] = frozenset()
    foreign: Foreign = NOTHING


def prepare_tree(store: str, project: str, version: Version, script: str) -> Tree:
    """Check out `version` (once) and compare it with the project of today.

    Raises ReplayError where the store does not hold the version's files.
    """
    root = check_out_once(store, project, version)
    files = frozenset(list_files(root))
    changed = tuple(
        sorted(path for path in files if not same_file(os.path.join(root, path), os.path.join(project, path)))
    )
    return Tree(root, files, changed, _hidden(store, project, version, script, files))


def hide(tree: Tree, later: frozenset[str], own: frozenset[str]) -> Tree:
    """The tree with what trainings wrote later hidden, too, as far as it is not the version's own."""
    return replace(tree, hidden=tuple(sorted({*tree.hidden, *(later - tree.files)})), own=own - tree.files)


def check_out_once(store: str, project: str, version: Version) -> str:
    """Directory with the version's exact files; several processes may ask at once, it appears whole or not at all."""
    directory = os.path.join(store, CHECKOUTS)
    target = os.path.join(directory, version.commit)
    if os.path.isdir(target):
        os.utime(target)
        return target
    partial = f"{target}.{uuid.uuid4().hex}.tmp"
    os.makedirs(partial)
    try:
        history.check_out(store, project, version, partial)
        os.rename(partial, target)
    except OSError as exc:
        shutil.rmtree(partial, ignore_errors=True)
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not os.path.isdir(target):
            raise ReplayError(f"the files of version {version.id} could not be checked out: {exc}") from exc
    except Error as exc:
        shutil.rmtree(partial, ignore_errors=True)
        raise ReplayError(f"the files of version {version.id} could not be checked out: {exc.message}") from exc
    return target


def fill_private(tree: Tree, patched: Mapping[str, str], into: str) -> None:
    """Put what differs from the project of today under `into`: the version's files, over them the patched sources."""
    for path in tree.changed:
        if path not in patched:
            copy_file(os.path.join(tree.root, path), os.path.join(into, path))
    for path, text in patched.items():
        write_source(os.path.join(into, path), text, os.path.join(tree.root, path))


def write_source(target: str, text: str, like: str) -> None:
    """Write a patched source with the mode of the file that it replaces."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.lexists(target):
        os.unlink(target)
    with open(target, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    if os.path.exists(like):
        shutil.copymode(like, target)


def copy_file(source: str, target: str) -> None:
    """Copy one file or link with its times and mode."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)


def list_files(root: str) -> list[str]:
    """All files and links below `root`, relative to it."""
    found = []
    for directory, names, files in os.walk(root):
        links = [name for name in names if os.path.islink(os.path.join(directory, name))]
        found += [os.path.relpath(os.path.join(directory, name), root) for name in (*files, *links)]
    return found


def same_file(one: str, other: str) -> bool:
    """Whether two paths hold the same kind of file with the same bytes."""
    try:
        if os.path.islink(one) or os.path.islink(other):
            return os.readlink(one) == os.readlink(other)
        return os.path.isfile(other) and filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _hidden(store: str, project: str, version: Version, script: str, files: frozenset[str]) -> tuple[str, ...]:
    """Files of today that would be another version's: tracked ones, and untracked Python sources."""
    today = select_files(project, store, script).taken
    names = {item.path for item in today if item.tracked or item.path.endswith(".py")}
    return tuple(sorted(names - files - history.noted_files(store, version).keys()))
