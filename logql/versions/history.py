"""Reading versions back: their sources, exact checkouts, and what a revision's name means.

All work without git, except where only the user's repository has a commit.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache

from logql.errors import ProgrammingError, StoreError
from logql.model import Version
from logql.versions.reader import Reader
from logql.versions.snapshot import CODE_DIR
from logql.versions.sources import decode_source, read_worktree
from logql.versions.worktree import GitFailed, run_git

__all__ = ["check_out", "list_files", "noted_files", "read_files", "read_worktree", "resolve"]

_SYMLINK = 0o120000
_EXECUTABLE = 0o100

#: Texts by blob, shared by all versions that hold them; None for what does not decode.
_decoded: dict[str, str | None] = {}


def read_files(store: str, project: str, version: Version, suffix: str = ".py") -> dict[str, str]:
    """The version's texts by path in the project; files that do not decode are left out."""
    return dict(_texts(store, project, version.id, version.commit, suffix))


def check_out(store: str, project: str, version: Version, into: str, *, outside_links: bool = False) -> None:
    """Write the version's files below `into`, byte for byte, with their executable bits and symbolic links.

    Links that lead out of the tree are left out unless `outside_links`: writing through them would leave the checkout.
    """
    listing = _listing(store, project, version.id, version.commit)
    objects = Reader(store, project).read(hexid for hexid, _ in listing.values())
    for path, (hexid, mode) in listing.items():
        target = os.path.join(into, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        data = objects[hexid][1]
        if mode == _SYMLINK:
            if outside_links or _stays_inside(path, os.fsdecode(data)):
                os.symlink(data, os.fsencode(target))
            continue
        with open(target, "xb") as file:
            file.write(data)
            os.fchmod(file.fileno(), 0o755 if mode & _EXECUTABLE else 0o644)


def list_files(store: str, project: str, version: Version) -> frozenset[str]:
    """Paths of all files of the version."""
    return frozenset(_listing(store, project, version.id, version.commit))


def noted_files(store: str, version: Version) -> dict[str, tuple[int, int]]:
    """Size and mtime in ns of files that the version had and the store did not take (too large, not text)."""
    path = os.path.join(store, CODE_DIR, "logql", "noted", f"{version.id}.json")
    try:
        with open(path, encoding="ascii") as file:
            return {name: (size, mtime) for name, (size, mtime) in json.load(file)["files"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def resolve(project: str, store: str, revision: str) -> str:
    """The full commit id that a revision names: git's names in the project's repository, else a version's id."""
    if revision and not revision.startswith("-"):
        try:
            return run_git(project, "rev-parse", "--verify", "--quiet", revision + "^{commit}").decode().strip()
        except GitFailed:
            pass
        known = Reader(store, project).versions() if len(revision) >= 4 else {}
        names = [name for name in known if name.startswith(revision.lower())]
        if len(names) == 1:
            return known[names[0]] if known[names[0]].startswith(names[0]) else names[0]
    raise ProgrammingError(
        f"{revision!r} names no commit of the project and no version",
        hint="use a commit, branch, tag, 'HEAD~2', or a version's id from `SELECT version FROM versions`",
    )


@lru_cache(maxsize=4096)
def _listing(store: str, project: str, version: str, commit: str) -> dict[str, tuple[str, int]]:
    """Blob and mode of each file of a version; a version's content never changes, so this is kept."""
    reader = Reader(store, project)
    kept = reader.commit_of(version) or commit
    listing = {path: (hexid, mode) for path, mode, hexid in reader.walk(kept) if _is_safe(path)}
    if not listing:
        raise StoreError(f"the code of version {version} is neither in the store nor in the project's repository")
    return listing


@lru_cache(maxsize=4096)
def _texts(store: str, project: str, version: str, commit: str, suffix: str) -> dict[str, str]:
    listing = _listing(store, project, version, commit)
    wanted = {path: hexid for path, (hexid, mode) in listing.items() if path.endswith(suffix) and mode != _SYMLINK}
    objects = Reader(store, project).read(hexid for hexid in wanted.values() if hexid not in _decoded)
    for hexid, (_, data) in objects.items():
        _decoded[hexid] = decode_source(data)
    return {path: text for path, hexid in wanted.items() if (text := _decoded.get(hexid)) is not None}


def _is_safe(path: str) -> bool:
    """Whether a path of a tree stays below the checkout; ours do, a damaged store's may not."""
    return not path.startswith("/") and {"", ".", "..", ".git"}.isdisjoint(path.split("/"))


def _stays_inside(path: str, target: str) -> bool:
    if os.path.isabs(target):
        return False
    reached = os.path.normpath(os.path.join(os.path.dirname(path), target))
    return reached != ".." and not reached.startswith("../")
