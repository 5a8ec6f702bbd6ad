"""The files of a version: found through git, or by a walk where there is no repository, and chosen by the rules."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import NamedTuple

from logql.versions import rules
from logql.versions.worktree import GitFailed, WorkTree, find_repository, is_store, read_worktree_state

#: A walk without git stops after so many entries: the script may lie in a home directory.
WALK_LIMIT = 20_000
#: Of untracked files that are known by their suffix to be no code, so many are looked at; the rest is only counted.
OTHERS_LIMIT = 2_000


class Candidate(NamedTuple):
    """A file that may belong to the version; `path` is relative to the project."""

    path: str
    stat: os.stat_result
    tracked: bool


@dataclass
class Selection:
    """What goes into a version, what is only noted, what was not readable, and which repositories lie inside."""

    state: WorkTree | None = None
    taken: list[Candidate] = field(default_factory=list)
    noted: list[Candidate] = field(default_factory=list)
    #: how many more would be noted
    left_out: int = 0
    notices: list[str] = field(default_factory=list)
    #: (path, HEAD) of submodules and nested repositories; their files are taken like the project's own
    nested: list[tuple[str, str]] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether HEAD alone tells what ran."""
        return self.state is not None and self.state.clean

    def compare_unwatched(self, blobs: Mapping[bytes, tuple[str, str]]) -> None:
        """Look at the files that git was told not to look at; `blobs` are mode and id by path as they are."""
        unwatched = self.state.unwatched if self.state is not None else {}
        if any(blobs.get(os.fsencode(path), ("", blob))[1] != blob for path, blob in unwatched.items()):
            self.state = _as_dirty(self.state)


def select_files(project: str, store: str, script: str, known_text: Iterable[str] = ()) -> Selection:
    """Choose the files of the version; `known_text` are paths already seen to be text, to save opening them again."""
    selection = Selection()
    skip = os.path.relpath(store, project).replace(os.sep, "/")
    candidates = {item.path: item for item in _candidates(project, "", skip, selection)}
    own_script = os.path.relpath(os.path.join(project, script), project).replace(os.sep, "/")
    forced = _forced_script(project, own_script, candidates)
    if forced is not None:
        candidates[forced.path] = forced
        selection.state = _as_dirty(selection.state)
    _choose(project, candidates.values(), selection, set(known_text) | {own_script})
    return selection


def _candidates(project: str, directory: str, skip: str, selection: Selection) -> Iterator[Candidate]:
    """Files below `directory` (relative, "" for the project), as git lists them, else by walking."""
    base = os.path.join(project, directory) if directory else project
    state = _ask_git(base, directory, skip, selection)
    if state is None:
        yield from _walk(project, directory, skip, selection)
        return
    prefix = directory + "/" if directory else ""
    if directory:
        selection.nested.append((directory, state.head.commit if state.head else ""))
    else:
        selection.state = state
    for paths, tracked in ((state.tracked, True), (state.untracked, False)):
        for path in paths if tracked else _without_others(paths, selection):
            yield from _candidate(project, prefix + path.rstrip("/"), tracked, skip, selection)


def _without_others(paths: Iterable[str], selection: Selection) -> Iterator[str]:
    """Leave out what is beyond the limit of data sets that git was not told to ignore: it is only counted."""
    room = OTHERS_LIMIT
    for path in paths:
        if rules.suffix_of(path) in rules.OTHER:
            room -= 1
            if room < 0:
                selection.left_out += 1
                continue
        yield path


def _candidate(project: str, path: str, tracked: bool, skip: str, selection: Selection) -> Iterator[Candidate]:
    found = _lstat(os.path.join(project, path))
    if found is None or is_store(path, skip):
        return
    if stat.S_ISDIR(found.st_mode):
        if os.path.exists(os.path.join(project, path, ".git")):
            yield from _candidates(project, path, skip, selection)
    elif stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode):
        yield Candidate(path, found, tracked)


def _ask_git(base: str, directory: str, skip: str, selection: Selection) -> WorkTree | None:
    if (base if directory else find_repository(base)) is None:
        return None
    try:
        return read_worktree_state(base, skip=None if directory else skip)
    except GitFailed as error:
        selection.notices.append(
            f"git cannot read {directory or 'the project'} ({error}); its files were read without it"
        )
        return None


def _walk(project: str, directory: str, skip: str, selection: Selection) -> Iterator[Candidate]:
    """Breadth first, in order of names, so that a cut-off tree is cut off at its far ends, always the same."""
    queue, seen = [directory], 0
    while queue:
        current = queue.pop(0)
        for entry in _scan(os.path.join(project, current)):
            path = f"{current}/{entry.name}" if current else entry.name
            seen += 1
            if seen > WALK_LIMIT:
                selection.notices.append(f"more than {WALK_LIMIT} files and no git repository: the rest is not kept")
                return
            if entry.is_dir(follow_symlinks=False):
                if not is_store(path, skip) and not _is_skipped(entry):
                    queue.append(path)
            elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                found = _lstat(entry.path)
                if found is not None:
                    yield Candidate(path, found, tracked=False)


def _scan(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=attrgetter("name"))
    except OSError:
        return []


def _is_skipped(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(".") or entry.name in rules.SKIPPED_DIRECTORIES or entry.name.endswith(".egg-info"):
        return True
    return os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _forced_script(project: str, script: str, candidates: dict[str, Candidate]) -> Candidate | None:
    """The script itself where git ignores it: it is what ran, so it belongs to the version."""
    if script in candidates or script.startswith("../"):
        return None
    found = _lstat(os.path.join(project, script))
    if found is None or not stat.S_ISREG(found.st_mode):
        return None
    return Candidate(script, found, tracked=True)


def _as_dirty(state: WorkTree | None) -> WorkTree | None:
    return state and replace(state, clean=False)


def _choose(project: str, candidates: Iterable[Candidate], selection: Selection, known_text: set[str]) -> None:
    """Code first, then other text, then the rest, each in order of paths, until the bounds are reached."""
    streams = _output_files()
    room = {True: rules.TRACKED_TOTAL, False: rules.UNTRACKED_TOTAL}
    sniffs = rules.SNIFF_LIMIT
    for item in sorted(candidates, key=_priority):
        if rules.is_secret(item.path):
            continue
        size, limit = item.stat.st_size, rules.TRACKED_LIMIT if item.tracked else rules.UNTRACKED_LIMIT
        fits = size <= limit and size <= room[item.tracked]
        if fits and not item.tracked:
            suffix = rules.suffix_of(item.path)
            fits = suffix not in rules.OTHER and (item.stat.st_dev, item.stat.st_ino) not in streams
            if fits and suffix not in rules.CODE and suffix not in rules.TEXT and item.path not in known_text:
                sniffs -= 1
                fits = sniffs >= 0 and _is_text(project, item)
        if fits:
            room[item.tracked] -= size
            selection.taken.append(item)
        else:
            selection.noted.append(item)


def _is_text(project: str, item: Candidate) -> bool:
    return stat.S_ISLNK(item.stat.st_mode) or rules.looks_like_text(os.path.join(project, item.path))


def _priority(item: Candidate) -> tuple[int, str]:
    suffix = rules.suffix_of(item.path)
    return (0 if suffix in rules.CODE else 1 if suffix in rules.TEXT else 2, item.path)


def _output_files() -> set[tuple[int, int]]:
    """The files that this process prints into: `python train.py > out.txt` must not make a version of its own."""
    found = set()
    for descriptor in (1, 2):
        try:
            status = os.fstat(descriptor)
        except OSError:
            continue
        found.add((status.st_dev, status.st_ino))
    return found
