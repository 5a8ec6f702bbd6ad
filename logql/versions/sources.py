"""Today's sources of a project, read again only where something changed: every query asks for them."""

from __future__ import annotations

import io
import os
import tokenize
from dataclasses import dataclass, field

from logql.versions.rules import SKIPPED_DIRECTORIES
from logql.versions.worktree import GitFailed, find_repository, run_git

#: Directories looked into at most; a project's sources lie near its root.
DIRECTORY_LIMIT = 5_000


@dataclass
class _Directory:
    mtime_ns: int
    files: list[str]
    directories: list[str]


@dataclass
class _Project:
    """What is known of a project: its directories, its list of sources as git sees it, and their texts."""

    directories: dict[str, _Directory] = field(default_factory=dict)
    walked: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    texts: dict[str, tuple[tuple[int, int, int], str | None]] = field(default_factory=dict)


_projects: dict[tuple[str, str], _Project] = {}


def read_worktree(project: str, suffix: str = ".py") -> dict[str, str]:
    """Texts of the project's files on disk, tracked or not, without what git ignores; by path in the project."""
    known = _projects.setdefault((os.path.abspath(project), suffix), _Project())
    walked = tuple(_walk(project, suffix, known))
    if walked != known.walked:
        known.walked, known.listed = walked, _without_ignored(project, walked)
    found = {}
    for path in known.listed:
        text = _read(project, path, known)
        if text is not None:
            found[path] = text
    return found


def decode_source(data: bytes) -> str | None:
    """Python source as text by its declared encoding, line ends as they are; None where it does not decode."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        return None


def _read(project: str, path: str, known: _Project) -> str | None:
    full = os.path.join(project, path)
    try:
        status = os.stat(full)
        signature = (status.st_size, status.st_mtime_ns, status.st_ino)
        cached = known.texts.get(path)
        if cached is None or cached[0] != signature:
            with open(full, "rb") as file:
                cached = known.texts[path] = (signature, decode_source(file.read()))
    except OSError:
        return None
    return cached[1]


def _walk(project: str, suffix: str, known: _Project) -> list[str]:
    queue, found, looked = [""], [], 0
    while queue and looked < DIRECTORY_LIMIT:
        directory = queue.pop(0)
        looked += 1
        content = _look_into(project, directory, suffix, known)
        if content is not None:
            found += content.files
            queue += content.directories
    return found


def _look_into(project: str, directory: str, suffix: str, known: _Project) -> _Directory | None:
    """A directory's sources and sub-directories; its mtime tells whether entries came or went."""
    full = os.path.join(project, directory)
    try:
        mtime = os.stat(full).st_mtime_ns
        cached = known.directories.get(directory)
        if cached is not None and cached.mtime_ns == mtime:
            return cached
        with os.scandir(full) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return None
    prefix = directory + "/" if directory else ""
    files = [prefix + entry.name for entry in listed if entry.name.endswith(suffix) and entry.is_file()]
    inner = [prefix + entry.name for entry in listed if entry.is_dir(follow_symlinks=False) and _is_own(entry)]
    known.directories[directory] = _Directory(mtime, files, inner)
    return known.directories[directory]


def _is_own(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(".") or entry.name in SKIPPED_DIRECTORIES:
        return False
    return not os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))


def _without_ignored(project: str, paths: tuple[str, ...]) -> tuple[str, ...]:
    if find_repository(project) is None:
        return paths
    try:
        output = run_git(project, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
    except GitFailed:
        return paths
    ignored = [os.fsdecode(path) for path in output.split(b"\0") if path]
    files = {path for path in ignored if not path.endswith("/")}
    directories = tuple(path for path in ignored if path.endswith("/"))
    return tuple(path for path in paths if path not in files and not path.startswith(directories))
