"""What the first release wrote opens for ever: it answers as then, can be written to, and can be rebuilt."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from logql.store import compact, doctor, layout, rebuild, seal
from logql.store.catalog import Catalog
from logql.store.snapshot import forget, read_snapshot
from tests.store import frozen
from tests.store.history import epochs, record

EXPECTED = json.loads((frozen.DATA / "store-1.json").read_text(encoding="utf-8"))


@pytest.fixture
def store(tmp_path: FilePath) -> Iterator[str]:
    with tarfile.open(frozen.DATA / "store-1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    yield str(tmp_path / "store")
    forget()


def test_the_first_release_s_store_answers_as_it_did(store: str) -> None:
    assert frozen.answers(store) == EXPECTED
    assert doctor.check(store) == []


def test_it_is_read_where_nothing_may_be_written(store: str) -> None:
    before = sorted(os.listdir(os.path.join(store, "wal")))
    snapshot = read_snapshot(store, read_only=True)
    assert [run.status for run in snapshot.runs] == ["finished"] * 4 + ["killed"]
    assert sorted(os.listdir(os.path.join(store, "wal"))) == before


def test_it_goes_on(store: str) -> None:
    record(store, "0400", epochs(2, 1))
    seal.recover(store)
    compact.compact(store)
    found = frozen.answers(store)
    for old, new in zip(EXPECTED[1:-2], found[1:-2], strict=True):
        assert [row for row in new if "0400" not in row] == old
    assert doctor.check(store) == []


def test_its_catalog_can_be_made_anew(store: str) -> None:
    seal.recover(store)
    with Catalog.open(store) as catalog:
        views = catalog.items("view")
    forget()
    for name in os.listdir(store):
        if name.startswith(layout.CATALOG):
            os.unlink(os.path.join(store, name))
    rebuild.rebuild(store)
    with Catalog.open(store) as catalog:
        for name, value in views.items():
            catalog.put("view", name, value)
    found = frozen.answers(store)
    lost = frozen.QUERIES.index(next(sql for sql in frozen.QUERIES if "checkpoints" in sql))
    assert found[:lost] == EXPECTED[:lost]
    assert found[lost + 1 :] == EXPECTED[lost + 1 :]


def test_what_is_written_today_answers_the_same(tmp_path: FilePath) -> None:
    store = str(tmp_path / ".logql")
    frozen.make(store)
    assert frozen.answers(store) == EXPECTED
