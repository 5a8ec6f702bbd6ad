"""Content-addressed blobs under `checkpoints/`: compressed, written once, checked when read. Standard library alone."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import zlib
from collections.abc import Iterator

from logql.errors import CorruptFile, StoreError
from logql.store import layout

#: First byte of a blob's file: how the rest is stored.
_RAW, _ZLIB = b"R", b"Z"
#: Bytes of a blob that are compressed first, to see whether it pays (trained weights hardly shrink).
_SAMPLE = 64 << 10
_PAYS = 0.9
_DIGEST_SIZE = 20
_HEX = frozenset("0123456789abcdef")
_numbers = itertools.count()


class Blobs:
    """Blobs by the digest of their content; equal content is stored once."""

    def __init__(self, store: str) -> None:
        self.directory = os.path.join(os.path.abspath(store), layout.CHECKPOINTS)

    def put(self, data: bytes | memoryview) -> str:
        """Store `data` durably and give its digest, 40 hex digits; what is there already is not written again."""
        data = memoryview(data).cast("B") if not isinstance(data, bytes) else data
        digest = hashlib.blake2b(data, digest_size=_DIGEST_SIZE).hexdigest()
        path = self._path(digest)
        try:
            if not _touch(path):
                _write(path, _pack(data))
        except OSError as exc:
            raise StoreError(f"cannot write a checkpoint to {path}: {exc.strerror or exc}") from exc
        return digest

    def get(self, digest: str) -> bytes:
        """The content with that digest; CorruptFile if the file is missing or does not match."""
        path = self._path(digest)
        try:
            with open(path, "rb") as file:
                data = _unpack(file.read())
        except FileNotFoundError:
            raise CorruptFile(f"{path} is missing", hint="logql doctor --repair forgets its checkpoints") from None
        except (OSError, zlib.error, ValueError) as exc:
            raise CorruptFile(f"{path} cannot be read: {exc}", hint="logql doctor --repair") from exc
        if hashlib.blake2b(data, digest_size=_DIGEST_SIZE).hexdigest() != digest:
            raise CorruptFile(f"{path} does not match its digest", hint="logql doctor --repair")
        return data

    def has(self, digest: str) -> bool:
        """Whether that blob is stored."""
        return os.path.exists(self._path(digest))

    def size(self, digest: str) -> int:
        """Bytes that a blob takes on disk; 0 if it is missing."""
        try:
            return os.stat(self._path(digest)).st_size
        except FileNotFoundError:
            return 0

    def remove(self, digest: str) -> None:
        """Delete a blob if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(digest))

    def __iter__(self) -> Iterator[str]:
        """Digests of all blobs."""
        for prefix in sorted(os.listdir(self.directory)):
            if len(prefix) == 2 and _HEX.issuperset(prefix):
                names = sorted(os.listdir(os.path.join(self.directory, prefix)))
                yield from (prefix + name for name in names if "." not in name)

    def _path(self, digest: str) -> str:
        if len(digest) != 2 * _DIGEST_SIZE or not _HEX.issuperset(digest):
            raise CorruptFile(f"{digest!r} names no blob")
        return os.path.join(self.directory, digest[:2], digest[2:])


def _pack(data: bytes | memoryview) -> list[bytes | memoryview]:
    sample = data[:_SAMPLE]
    if len(data) and len(zlib.compress(sample, 1)) < _PAYS * len(sample):
        packed = zlib.compress(data, 1)
        if len(packed) < _PAYS * len(data):
            return [_ZLIB, packed]
    return [_RAW, data]


def _unpack(stored: bytes) -> bytes:
    if stored[:1] == _RAW:
        return stored[1:]
    if stored[:1] == _ZLIB:
        return zlib.decompress(stored[1:])
    raise ValueError("it is no blob")


def _touch(path: str) -> bool:
    """Whether `path` is there; its time tells `store.gc` that somebody is about to name it."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _write(path: str, parts: list[bytes | memoryview]) -> None:
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        os.makedirs(directory, exist_ok=True)
        layout.sync(os.path.dirname(directory))
    temporary = f"{path}.{os.getpid()}-{next(_numbers)}"
    try:
        with open(temporary, "xb") as file:
            file.writelines(parts)
            file.flush()
            layout.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    layout.sync(directory)
