"""Blobs: what was put is got, once per content, or the file is named."""

from __future__ import annotations

import os
import threading
from array import array
from pathlib import Path as FilePath

import pytest

from logql.errors import CorruptFile, StoreError
from logql.store import layout
from logql.store.blobs import Blobs


@pytest.fixture
def blobs(tmp_path: FilePath) -> Blobs:
    layout.create(str(tmp_path / ".logql"))
    return Blobs(str(tmp_path / ".logql"))


@pytest.mark.parametrize("data", [b"", b"x", b"abc" * 100_000, os.urandom(200_000), os.urandom(70_000) + bytes(10**6)])
def test_what_was_put_is_got(blobs: Blobs, data: bytes) -> None:
    digest = blobs.put(data)
    assert blobs.get(digest) == data
    assert blobs.put(memoryview(data)) == digest
    assert list(blobs) == [digest]
    assert blobs.size(digest) <= len(data) + 1


def test_views_of_numbers_are_bytes(blobs: Blobs) -> None:
    numbers = array("d", [1.5, 2.5])
    assert blobs.get(blobs.put(memoryview(numbers))) == numbers.tobytes()


def test_compressible_content_is_compressed(blobs: Blobs) -> None:
    assert blobs.size(blobs.put(bytes(10**6))) < 10**4


def path_of(blobs: Blobs, digest: str) -> FilePath:
    return FilePath(blobs.directory) / digest[:2] / digest[2:]


@pytest.mark.parametrize("content", [b"Zgarbage", b"", b"Rother", b"?"])
def test_a_damaged_blob_is_named(blobs: Blobs, content: bytes) -> None:
    digest = blobs.put(b"content")
    path_of(blobs, digest).write_bytes(content)
    with pytest.raises(CorruptFile, match=digest[2:]):
        blobs.get(digest)


def test_a_missing_blob_is_named(blobs: Blobs) -> None:
    digest = blobs.put(b"content")
    blobs.remove(digest)
    assert not blobs.has(digest)
    with pytest.raises(CorruptFile, match=f"{digest[2:]} is missing"):
        blobs.get(digest)


@pytest.mark.parametrize("digest", ["../../etc/passwd", "A" * 40, "", "../" + "a" * 37])
def test_only_digests_name_blobs(blobs: Blobs, digest: str) -> None:
    with pytest.raises(CorruptFile, match="names no blob"):
        blobs.get(digest)


def test_a_disk_error_is_a_store_error_and_leaves_nothing(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match="No space left"):
        blobs.put(b"content")
    assert list(blobs) == []


def test_threads_put_the_same_content(blobs: Blobs) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(blobs.put(b"same" * 9999))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert blobs.get(found[0]) == b"same" * 9999
