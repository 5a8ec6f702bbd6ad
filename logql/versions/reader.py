"""Git objects read back: our own files without git, whatever else (a repacked store, the user's repository) by git."""

from __future__ import annotations

import os
import struct
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from logql.errors import CorruptFile
from logql.versions.objects import object_id
from logql.versions.snapshot import CODE_DIR
from logql.versions.worktree import GitFailed, run_git

_KINDS = {1: "commit", 2: "tree", 3: "blob"}
_TREE = 0o40000
_GITLINK = 0o160000

#: Kind and bytes of an object.
Object = tuple[str, bytes]


class Reader:
    """Objects of a store, and of the project's repository for what only that has."""

    def __init__(self, store: str, project: str) -> None:
        self._code = os.path.join(store, CODE_DIR)
        self._project = project
        self._packs: list[_Pack] | None = None

    def read(self, ids: Iterable[str]) -> dict[str, Object]:
        """The objects of these ids that exist; CorruptFile where the store holds other bytes under one of them."""
        wanted = dict.fromkeys(ids)
        found = {}
        for hexid in wanted:
            own = self._loose(hexid) or self._packed(hexid)
            if own is not None:
                if object_id(*own) != hexid:
                    raise CorruptFile(f"object {hexid} in {self._code} does not hold what its name says")
                found[hexid] = own
        for directory, options in ((self._code, ("--git-dir=.",)), (self._project, ())):
            missing = [hexid for hexid in wanted if hexid not in found]
            if missing and os.path.isdir(directory):
                found |= _ask_git(directory, options, missing)
        return found

    def commit_of(self, version: str) -> str | None:
        """The commit that the store keeps under a version's id."""
        for commit in _lines(os.path.join(self._code, "refs", "logql", version)):
            return commit
        return self.versions().get(version)

    def versions(self) -> dict[str, str]:
        """The commits of all versions by id, those that git packed included."""
        found = {}
        for line in _lines(os.path.join(self._code, "packed-refs")):
            commit, _, name = line.partition(" ")
            if name.startswith("refs/logql/"):
                found[name.removeprefix("refs/logql/")] = commit
        folder = os.path.join(self._code, "refs", "logql")
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            for commit in _lines(os.path.join(folder, name)):
                found[name] = commit
        return found

    def walk(self, commit: str) -> Iterator[tuple[str, int, str]]:
        """Path, mode and blob of each file of a commit; nothing where the commit is unknown."""
        found = self.read([commit]).get(commit)
        level = {"": found[1][5:45].decode("ascii")} if found else {}
        while level:
            trees = self.read(level.values())
            below: dict[str, str] = {}
            for directory, tree in level.items():
                for mode, name, hexid in _tree_entries(trees[tree][1]):
                    if mode == _TREE:
                        below[f"{directory}{name}/"] = hexid
                    elif mode != _GITLINK:
                        yield directory + name, mode, hexid
            level = below

    def _loose(self, hexid: str) -> Object | None:
        try:
            with open(os.path.join(self._code, "objects", hexid[:2], hexid[2:]), "rb") as file:
                header, _, data = zlib.decompress(file.read()).partition(b"\0")
        except OSError:
            return None
        except zlib.error as error:
            raise CorruptFile(f"object {hexid} in {self._code} cannot be read") from error
        return header.split(b" ")[0].decode("ascii"), data

    def _packed(self, hexid: str) -> Object | None:
        if self._packs is None:
            folder = os.path.join(self._code, "objects", "pack")
            names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
            self._packs = [_Pack(os.path.join(folder, name[:-4])) for name in names if name.endswith(".idx")]
        for pack in self._packs:
            found = pack.read(hexid)
            if found is not None:
                return found
        return None


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().splitlines()
    except OSError:
        return []


class _Pack:
    """A pack and its index (version 2); deltas, which only git writes, are left to git."""

    def __init__(self, stem: str) -> None:
        self._stem = stem
        with open(stem + ".idx", "rb") as file:
            self._index = file.read()
        self._count = struct.unpack_from(">I", self._index, 8 + 255 * 4)[0]
        self._names = 8 + 256 * 4

    def read(self, hexid: str) -> Object | None:
        wanted = bytes.fromhex(hexid)
        place = bisect_left(range(self._count), wanted, key=self._name)
        if place == self._count or self._name(place) != wanted:
            return None
        offset = struct.unpack_from(">I", self._index, self._names + 24 * self._count + 4 * place)[0]
        if offset & 0x80000000:
            return None
        with open(self._stem + ".pack", "rb") as file:
            file.seek(offset)
            return _unpack(file.read(16), file.read)

    def _name(self, place: int) -> bytes:
        start = self._names + 20 * place
        return self._index[start : start + 20]


def _unpack(head: bytes, read_more: Callable[[int], bytes]) -> Object | None:
    kind, size, shift, used = (head[0] >> 4) & 7, head[0] & 15, 4, 1
    while head[used - 1] & 0x80:
        size |= (head[used] & 0x7F) << shift
        shift, used = shift + 7, used + 1
    if kind not in _KINDS:
        return None
    inflate = zlib.decompressobj()
    data = inflate.decompress(head[used:])
    while not inflate.eof:
        chunk = read_more(65536)
        if not chunk:
            return None
        data += inflate.decompress(chunk)
    return (_KINDS[kind], data) if len(data) == size else None


def _tree_entries(data: bytes) -> Iterator[tuple[int, str, str]]:
    position = 0
    while position < len(data):
        space, end = data.index(b" ", position), data.index(b"\0", position)
        yield int(data[position:space], 8), os.fsdecode(data[space + 1 : end]), data[end + 1 : end + 21].hex()
        position = end + 21


def _ask_git(directory: str, options: tuple[str, ...], ids: list[str]) -> dict[str, Object]:
    try:
        output = run_git(directory, "cat-file", "--batch", options=options, stdin="\n".join(ids).encode() + b"\n")
    except GitFailed:
        return {}
    found, position = {}, 0
    while position < len(output):
        end = output.index(b"\n", position)
        words = output[position:end].decode("ascii").split()
        position = end + 1
        if len(words) == 3 and words[2].isdigit():
            size = int(words[2])
            found[words[0]] = (words[1], output[position : position + size])
            position += size + 1
    return found
