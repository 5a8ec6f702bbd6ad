"""Git objects written without git: a bare repository in the store that any git can read.

Blobs hold bytes as they are on disk (no filters, no line-ending conversion), which no git command promises, and the
store stays writable where git is not installed. Few objects become loose files, many become one pack.
Formats: git's Documentation/gitformat-pack and gitrepository-layout.
"""

from __future__ import annotations

import binascii
import hashlib
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from itertools import accumulate

#: More new objects than this are written as one pack: a file each would take seconds for a large tree.
LOOSE_LIMIT = 24

_PACK_TYPES = {"commit": 1, "tree": 2, "blob": 3}
_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n\tlogallrefupdates = false\n"

#: (mode, name, hex id) of a tree's entry.
Entry = tuple[str, bytes, str]


def object_id(kind: str, data: bytes) -> str:
    """Git's name of an object: SHA-1 over its header and its bytes."""
    digest = hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)), usedforsecurity=False)
    digest.update(data)
    return digest.hexdigest()


def encode_tree(entries: Iterable[Entry]) -> bytes:
    """A tree's bytes; git sorts a directory as if its name ended in a slash."""
    ordered = sorted(entries, key=lambda entry: entry[1] + b"/" if entry[0] == "40000" else entry[1])
    return b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(hexid) for mode, name, hexid in ordered)


class ObjectStore:
    """A bare repository to which objects are added; `add` collects them, `flush` writes what is new, durably."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._pending: dict[str, tuple[str, bytes]] = {}
        self._create()

    def add(self, kind: str, data: bytes) -> str:
        """Take an object along for the next `flush`; returns its id."""
        hexid = object_id(kind, data)
        self._pending.setdefault(hexid, (kind, data))
        return hexid

    def flush(self, known: frozenset[str] | set[str] = frozenset()) -> None:
        """Write all objects added that are neither in `known` nor there already."""
        new = {k: v for k, v in self._pending.items() if k not in known and not os.path.exists(self._loose(k))}
        if len(new) > LOOSE_LIMIT:
            self._write_pack(new)
        else:
            for hexid, (kind, data) in new.items():
                header = b"%s %d\0" % (kind.encode(), len(data))
                self._write_file(self._loose(hexid), zlib.compress(header + data, 1))
        self._pending.clear()

    def ref(self, name: str) -> str | None:
        """The commit that `refs/logql/<name>` names; packed refs, which only git writes, are left to git."""
        try:
            with open(os.path.join(self.path, "refs", "logql", name), encoding="ascii") as file:
                return file.read().strip()
        except OSError:
            return None

    def set_ref(self, name: str, commit: str) -> None:
        """Make `refs/logql/<name>` name a commit, so that git's own tools find it and never prune it."""
        self._write_file(os.path.join(self.path, "refs", "logql", name), commit.encode() + b"\n", durable=False)

    def cut_history(self, commit: str) -> None:
        """Mark a commit as shallow: its parents are in the user's repository only."""
        with open(os.path.join(self.path, "shallow"), "ab") as file:
            file.write(commit.encode() + b"\n")

    def _create(self) -> None:
        if os.path.exists(os.path.join(self.path, "HEAD")):
            return
        for part in ("objects/info", "objects/pack", "refs/heads", "refs/logql"):
            os.makedirs(os.path.join(self.path, part), exist_ok=True)
        self._write_file(os.path.join(self.path, "config"), _CONFIG.encode(), durable=False)
        self._write_file(os.path.join(self.path, "HEAD"), b"ref: refs/heads/main\n", durable=False)

    def _loose(self, hexid: str) -> str:
        return os.path.join(self.path, "objects", hexid[:2], hexid[2:])

    def _write_pack(self, objects: Mapping[str, tuple[str, bytes]]) -> None:
        body, offsets, checksums = [struct.pack(">4sII", b"PACK", 2, len(objects))], {}, {}
        position = len(body[0])
        for hexid, (kind, data) in objects.items():
            packed = _pack_header(_PACK_TYPES[kind], len(data)) + zlib.compress(data, 1)
            offsets[hexid], checksums[hexid] = position, binascii.crc32(packed)
            position += len(packed)
            body.append(packed)
        pack = b"".join(body)
        trailer = hashlib.sha1(pack, usedforsecurity=False).digest()
        stem = os.path.join(self.path, "objects", "pack", f"pack-{trailer.hex()}")
        self._write_file(stem + ".pack", pack + trailer)
        self._write_file(stem + ".idx", _pack_index(offsets, checksums, trailer))

    def _write_file(self, path: str, data: bytes, durable: bool = True) -> None:
        """Write under a temporary name, then rename: readers see all of a file or nothing of it.

        Objects are durable, as a damaged one would pass for known ever after; what names them can be found again.
        """
        temporary = f"{path}.{os.getpid()}.tmp"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)


def _pack_header(kind: int, size: int) -> bytes:
    first, size = (kind << 4) | (size & 15), size >> 4
    header = bytearray()
    while size:
        header.append(first | 0x80)
        first, size = size & 0x7F, size >> 7
    header.append(first)
    return bytes(header)


def _pack_index(offsets: Mapping[str, int], checksums: Mapping[str, int], trailer: bytes) -> bytes:
    """Version 2 of the pack index; packs of ours stay far below the 2 GB where offsets need 64 bits."""
    names = sorted(offsets)
    counts = [0] * 256
    for name in names:
        counts[int(name[:2], 16)] += 1
    parts = [b"\377tOc", struct.pack(">I", 2), struct.pack(">256I", *accumulate(counts))]
    parts.append(b"".join(bytes.fromhex(name) for name in names))
    parts.append(struct.pack(f">{len(names)}I", *(checksums[name] for name in names)))
    parts.append(struct.pack(f">{len(names)}I", *(offsets[name] for name in names)))
    body = b"".join(parts) + trailer
    return body + hashlib.sha1(body, usedforsecurity=False).digest()
