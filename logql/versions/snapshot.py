"""The code that is about to run, kept as a commit in the store; nothing is written to the user's repository.

Called by the recorder inside someone's training: a persistent index of file times and ids makes it take milliseconds
where little changed.
"""

from __future__ import annotations

import json
import os
import stat
import time

from logql.model import Version
from logql.versions.objects import Entry, ObjectStore, encode_tree, object_id
from logql.versions.selection import Candidate, Selection, select_files
from logql.versions.worktree import Head

CODE_DIR = "code.git"

#: The same content on the same parent must have the same id, whoever records it and when.
_IDENTITY = "logql <logql@localhost> 0 +0000"

#: A file changed this short before it was read may change again without its times showing it (seconds).
_RACY = 0.05
_NOTED_LIMIT = 2_000

#: What the index keeps of a file: size, mtime and ctime in ns, inode, mode, id of its blob.
IndexEntry = tuple[int, int, int, int, int, str]


def snapshot(project: str, store: str, script: str, notices: list[str] | None = None) -> Version:
    """Keep the project's code in the store and return its version; what was skipped is told in `notices`.

    Works without git and without a repository. Raises OSError where the store cannot be written.
    """
    objects = ObjectStore(os.path.join(store, CODE_DIR))
    index = _Index(objects.path, project)
    selection = select_files(project, store, script, index.files)
    blobs = _blobs(project, selection, index, objects)
    selection.compare_unwatched(blobs)
    tree, index.trees = _write_trees(blobs, objects)
    head = selection.state.head if selection.state else None
    version = _version(tree, head, selection)
    if objects.ref(version.id) is None:
        _keep_version(version, tree, head, selection, objects, index)
    elif index.changed:
        objects.flush(index.objects)
    index.save()
    if notices is not None:
        notices += selection.notices
    return version


def _version(tree: str, head: Head | None, selection: Selection) -> Version:
    branch = selection.state.branch if selection.state else None
    if head is not None and selection.clean:
        return Version(
            head.commit[:12],
            head.commit,
            head.parents,
            branch,
            head.author,
            head.message,
            head.committed_at,
            dirty=False,
        )
    commit = object_id("commit", _commit_text(tree, head, selection.nested))
    parents = (head.commit,) if head else ()
    return Version(commit[:12], commit, parents, branch, head.author if head else None, dirty=True)


def _commit_text(tree: str, head: Head | None, nested: list[tuple[str, str]]) -> bytes:
    lines = [f"tree {tree}"]
    if head is not None and len(head.commit) == len(tree):
        lines.append(f"parent {head.commit}")
    lines += [f"author {_IDENTITY}", f"committer {_IDENTITY}", "", "The code as it ran"]
    if head is not None and len(head.commit) != len(tree):
        lines.append(f"On top of {head.commit}")
    lines += [f"Nested repository {path} at {commit}" for path, commit in sorted(nested)]
    return os.fsencode("\n".join(lines) + "\n")


def _keep_version(
    version: Version, tree: str, head: Head | None, selection: Selection, objects: ObjectStore, index: _Index
) -> None:
    """Write the objects, then the commit's name: HEAD's own commit where its tree is what is on disk, else ours."""
    if head is not None and selection.clean and head.tree == tree:
        commit = objects.add("commit", head.raw)
    else:
        commit = objects.add("commit", _commit_text(tree, head, selection.nested))
    objects.flush(index.objects)
    if head is not None:
        objects.cut_history(commit)
    _note_others(objects.path, version.id, selection)
    objects.set_ref(version.id, commit)


def _note_others(path: str, version: str, selection: Selection) -> None:
    """Note size and mtime of the files that were not taken."""
    noted = {item.path: [item.stat.st_size, item.stat.st_mtime_ns] for item in selection.noted[:_NOTED_LIMIT]}
    if not noted:
        return
    record = {"count": len(selection.noted) + selection.left_out, "files": noted}
    _write_json(os.path.join(path, "logql", "noted", f"{version}.json"), record)


def _blobs(project: str, selection: Selection, index: _Index, objects: ObjectStore) -> dict[bytes, tuple[str, str]]:
    """Mode and id of each file taken; files that did not change are not read."""
    found: dict[bytes, tuple[str, str]] = {}
    for item in selection.taken:
        hexid = index.lookup(item)
        if hexid is None:
            try:
                hexid = objects.add("blob", _read(os.path.join(project, item.path), item))
            except OSError as error:
                selection.notices.append(f"{item.path} cannot be read ({error.strerror}); it is not kept")
                continue
            index.remember(item, hexid)
        index.keep(item.path)
        found[os.fsencode(item.path)] = (_mode(item), hexid)
    index.drop_others()
    return found


def _read(path: str, item: Candidate) -> bytes:
    if stat.S_ISLNK(item.stat.st_mode):
        return os.fsencode(os.readlink(path))
    with open(path, "rb") as file:
        return file.read()


def _mode(item: Candidate) -> str:
    if stat.S_ISLNK(item.stat.st_mode):
        return "120000"
    return "100755" if item.stat.st_mode & stat.S_IXUSR else "100644"


def _write_trees(blobs: dict[bytes, tuple[str, str]], objects: ObjectStore) -> tuple[str, list[str]]:
    """Add the trees of all directories, innermost first; returns the root's id, and all ids."""
    written: list[str] = []
    directories: dict[bytes, list[Entry]] = {b"": []}
    for path, (mode, hexid) in blobs.items():
        directory, _, name = path.rpartition(b"/")
        _make_directories(directory, directories)
        directories[directory].append((mode, name, hexid))
    for directory in sorted(directories, key=lambda path: (path.count(b"/"), len(path) > 0), reverse=True):
        hexid = objects.add("tree", encode_tree(directories[directory]))
        written.append(hexid)
        if directory:
            parent, _, name = directory.rpartition(b"/")
            directories[parent].append(("40000", name, hexid))
    return hexid, written


def _make_directories(directory: bytes, directories: dict[bytes, list[Entry]]) -> None:
    while directory not in directories:
        directories[directory] = []
        directory = directory.rpartition(b"/")[0]


class _Index:
    """What the last snapshot of this project saw: per file its times and blob, and all objects known to be stored."""

    def __init__(self, path: str, project: str) -> None:
        name = object_id("blob", os.fsencode(os.path.realpath(project)))[:16]
        self.path = os.path.join(path, "logql", f"index-{name}.json")
        self.files: dict[str, IndexEntry] = {}
        self.objects: set[str] = set()
        self.trees: list[str] = []
        self.changed = False
        self._kept: set[str] = set()
        self._started = time.time()
        self._load()

    def _load(self) -> None:
        try:
            with open(self.path, encoding="ascii") as file:
                content = json.load(file)
            self.files = {path: tuple(entry) for path, entry in content["files"].items()}
            self.objects = {entry[5] for entry in self.files.values()}.union(content["trees"])
        except (OSError, ValueError, AttributeError, KeyError, TypeError, IndexError):
            self.files, self.objects = {}, set()

    def lookup(self, item: Candidate) -> str | None:
        """The blob's id where the file has not changed since it was read."""
        entry = self.files.get(item.path)
        return entry[5] if entry is not None and entry[:5] == _signature(item) else None

    def remember(self, item: Candidate, hexid: str) -> None:
        """Keep a file's blob for the next time, unless it is so fresh that a later change might not show."""
        self.changed = True
        newest = max(item.stat.st_mtime_ns, item.stat.st_ctime_ns)
        coarse = item.stat.st_mtime_ns % 1_000_000_000 == 0 and item.stat.st_ctime_ns % 1_000_000_000 == 0
        if newest < (self._started - (2.0 if coarse else _RACY)) * 1e9:
            self.files[item.path] = (*_signature(item), hexid)
        else:
            self.files.pop(item.path, None)

    def keep(self, path: str) -> None:
        """Note that a path is still there."""
        self._kept.add(path)

    def drop_others(self) -> None:
        """Forget the paths that are no longer part of the version."""
        gone = self.files.keys() - self._kept
        self.changed = self.changed or bool(gone)
        for path in gone:
            del self.files[path]

    def save(self) -> None:
        """Write the index where it changed; losing a race with another process costs only time."""
        if self.changed:
            _write_json(self.path, {"files": self.files, "trees": self.trees})


def _signature(item: Candidate) -> tuple[int, int, int, int, int]:
    found = item.stat
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_mode)


def _write_json(path: str, value: object) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="ascii") as file:
        json.dump(value, file, separators=(",", ":"))
    os.replace(temporary, path)
