"""doctor, rebuild, gc, rm, du: what they find, what they mend, what they leave alone."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path as FilePath

import pytest

from logql.errors import CorruptFile, StoreError
from logql.model import Checkpoint, Logged, Step
from logql.store import compact, doctor, gc, layout, parquet, publish, rebuild, remove, seal, usage, wal
from logql.store.blobs import Blobs
from logql.store.catalog import Catalog
from logql.store.fills import write_fill
from logql.store.snapshot import Snapshot, forget, read_snapshot
from tests.store.history import Recorder, batch_of, epochs, record
from tests.store.test_compact import everything, history
from tests.store.test_fills import a_fill
from tests.store.test_seal import cells, files


@pytest.fixture
def store(tmp_path: FilePath) -> Iterator[str]:
    yield str(tmp_path / ".logql")
    forget()


def fresh(store: str) -> Snapshot:
    forget()
    return read_snapshot(store)


def a_checkpoint(store: str, index: int | None, content: bytes, run: str = "0100", **changes: object) -> Checkpoint:
    blobs = Blobs(store)
    manifest = blobs.put(json.dumps({"blobs": [blobs.put(content)], "leaves": {"w": "0" * 40}}).encode())
    values = {"rank": 0, "loop": "epoch", "entry": 0, "seq": 99 if index is None else index, "bytes": len(content),
              "seconds": 0.1, **changes}  # fmt: skip
    checkpoint = Checkpoint(run, index=index, manifest=manifest, **values)  # type: ignore[arg-type]
    with Catalog.open(store) as catalog:
        catalog.add_checkpoint(checkpoint)
    return checkpoint


def test_a_healthy_store_has_no_findings(store: str) -> None:
    history(store, 4)
    a_checkpoint(store, 0, b"state")
    compact.compact(store)
    assert doctor.check(store) == []


@pytest.mark.parametrize(
    ("damage", "problem"),
    [("delete", "it is missing"), ("truncate", "not those that were written"), ("flip", "not those that were written")],
)
def test_a_damaged_file_is_found_and_the_rest_answers(store: str, damage: str, problem: str) -> None:
    history(store, 3)
    before = everything(read_snapshot(store))
    victim = next(path for path in files(store) if "/epoch/" in path and "0101" in path)
    path = FilePath(store) / victim
    if damage == "delete":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        path.write_bytes(data[:-10] if damage == "truncate" else bytes([*data[:50], data[50] ^ 1, *data[51:]]))
    (finding,) = doctor.check(store)
    assert (finding.path, problem in finding.problem) == (victim, True)
    assert doctor.mend(store, dry_run=True) == [finding] == doctor.check(store)
    doctor.mend(store)
    assert doctor.check(store) == []
    after = everything(fresh(store))
    assert after["epoch"] == [row for row in before["epoch"] if row[0] != "0101"]
    assert after["epoch.step"] == before["epoch.step"]


def test_litter_and_damaged_checkpoints_are_found(store: str) -> None:
    history(store, 1)
    kept = a_checkpoint(store, 0, b"good")
    a_checkpoint(store, 1, b"bad")
    digest = Blobs(store).put(b"bad")
    (FilePath(store) / "checkpoints" / digest[:2] / digest[2:]).write_bytes(b"Rother")
    litter = FilePath(store) / "logs" / "epoch" / "versions=1-1" / "epochs=0-2" / "x.parquet"
    litter.write_bytes(b"PAR1")
    found = {finding.path: finding.problem for finding in doctor.check(store)}
    assert set(found) == {os.path.relpath(litter, store), f"checkpoints/{digest[:2]}/{digest[2:]}"}
    doctor.mend(store)
    assert doctor.check(store) == []
    with Catalog.open(store) as catalog:
        assert catalog.checkpoints() == [kept]


def test_what_a_child_wrote_after_its_run_was_sealed_is_found(store: str) -> None:
    record(store, "01A", epochs(1))
    seal.recover(store)
    child = wal.Writer(store, "01A", 0, "7")
    child.append(batch_of(epochs(1)))
    child.close()
    (finding,) = doctor.check(store)
    assert finding.path == "wal/01A-0.7-0"
    assert "after its run had ended" in finding.problem
    doctor.mend(store)
    assert doctor.check(store) == [finding]


def test_a_damaged_catalog_is_rebuilt_from_the_files(store: str) -> None:
    history(store, 5)
    compact.compact(store)
    record(store, "02", epochs(2), version="d" * 12, args={"lr": 0.5}, name="last", tags=("x",))
    seal.recover(store)
    write_fill(store, a_fill(run="0100"), [Logged((Step("epoch", 0, 1),), "gnorm", 0.5, 9, 1, 1.0)])
    a_checkpoint(store, 0, b"state")
    before = fresh(store)
    rows = everything(before)
    path = FilePath(store) / layout.CATALOG
    del before
    forget()
    path.write_bytes(b"garbage" * 1000)
    for end in ("-wal", "-shm"):
        (FilePath(store) / (layout.CATALOG + end)).unlink(missing_ok=True)
    with pytest.raises(CorruptFile, match="doctor --rebuild"):
        read_snapshot(store)
    assert rebuild.rebuild(store, dry_run=True) == rebuild.rebuild(store)
    after = fresh(store)
    assert everything(after) == rows
    assert [(run.id, run.key, run.name) for run in after.runs][-1] == ("02", 6, "last")
    assert after.runs[-1].args == {"lr": 0.5}
    assert [version.ordinal for version in after.versions] == [1, 2, 3, 4]
    assert after.fills == (a_fill(run="0100"),)
    assert set(after.hindsight) == {"epoch"}
    assert after.shapes["0100"].levels[("epoch",)] == {"acc": "DOUBLE"}
    assert doctor.check(store) == []
    record(store, "03", epochs(1))
    assert [run.key for run in fresh(store).runs][-1] == 7


def test_an_older_catalog_that_is_put_back_costs_no_file(store: str) -> None:
    record(store, "01A", epochs(2, 2))
    seal.recover(store)
    forget()
    path = os.path.join(store, layout.CATALOG)
    with contextlib.closing(sqlite3.connect(path)) as db, contextlib.closing(sqlite3.connect(path + ".bak")) as copy:
        db.backup(copy)
    record(store, "01B", epochs(3, 2))
    seal.recover(store)
    before = everything(read_snapshot(store))
    forget()
    for end in ("-wal", "-shm"):
        if os.path.exists(path + end):
            os.unlink(path + end)
    os.replace(path + ".bak", path)
    found = doctor.check(store)
    assert {finding.problem for finding in found} == {"the catalog does not know it"}
    assert not any(finding.can_be_mended for finding in found)
    doctor.mend(store)
    assert gc.collect(store, grace=0.0) == []
    rebuild.rebuild(store)
    assert everything(read_snapshot(store)) == before
    assert doctor.check(store) == []


def test_a_rebuild_keeps_what_the_old_catalog_still_tells(store: str) -> None:
    history(store, 1)
    with Catalog.open(store) as catalog:
        catalog.put("pin", "loss", "train.py:3")
    forget()
    assert rebuild.rebuild(store).kept == 1
    with Catalog.open(store) as catalog:
        assert catalog.items("pin") == {"loss": "train.py:3"}


def test_a_rebuild_counts_nothing_twice_after_a_compaction_died(store: str) -> None:
    history(store, 3)
    rows = everything(read_snapshot(store))
    saved = FilePath(store).parent / "saved"
    forget()
    shutil.copytree(os.path.join(store, "logs"), saved)
    compact.compact(store)
    shutil.copytree(saved, os.path.join(store, "logs"), dirs_exist_ok=True)
    assert len(files(store)) == 16
    rebuild.rebuild(store)
    assert everything(fresh(store)) == rows
    assert len(files(store)) == 4


def test_a_rebuild_seals_again_what_a_dead_sealer_left(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record(store, "0100", epochs(3, 2))
    with monkeypatch.context() as patch:
        patch.setattr(publish, "publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            seal.seal_run(store, "0100")
    assert files(store)
    os.unlink(os.path.join(store, layout.CATALOG))
    rebuild.rebuild(store)
    assert len(everything(fresh(store))["epoch"]) == 3
    assert len(files(store)) == 4


def test_a_rebuild_takes_in_runs_that_only_left_a_stream(store: str) -> None:
    recorder = Recorder(store, "0100")
    recorder.append(epochs(2))
    with pytest.raises(StoreError, match="0100 is being recorded"):
        rebuild.rebuild(store)
    recorder.abandon()
    for path in glob.glob(os.path.join(store, layout.CATALOG + "*")):
        os.unlink(path)
    rebuild.rebuild(store)
    (run,) = fresh(store).runs
    assert (run.status, run.error) == ("killed", "what the catalog said of it was lost")
    assert cells(fresh(store), "epoch", "epoch", "acc") == [(0, 0.0), (1, 1 / 64)]


def test_a_rebuild_without_a_run_file_keeps_the_other_levels(store: str) -> None:
    history(store, 2)
    rows = everything(read_snapshot(store))
    forget()
    os.unlink(os.path.join(store, next(path for path in files(store) if "/run/" in path and "0100" in path)))
    rebuild.rebuild(store)
    snapshot = fresh(store)
    assert everything(snapshot)["epoch"] == rows["epoch"]
    assert {run.id: run.version for run in snapshot.runs} == {"0100": "a" * 12, "0101": "b" * 12}
    assert snapshot.shapes["0100"].levels[("epoch",)] == {"acc": "DOUBLE"}


def test_checkpoints_beyond_the_limit_go_oldest_run_and_middles_first(store: str) -> None:
    history(store, 2)
    kept = [a_checkpoint(store, index, os.urandom(1000), run) for run in ("0100", "0101") for index in (0, 1, 2, None)]
    with Catalog.open(store) as catalog:
        assert gc.over_limit(catalog, 1e9) == []
        assert gc.over_limit(catalog, 6900) == [kept[1], kept[2]]
        assert gc.over_limit(catalog, 2500) == [kept[1], kept[2], kept[5], kept[6], kept[0], kept[3]]
    before = gc.collect(store, dry_run=True, limit=6900, grace=0)
    assert [one.path for one in before] == [one.path for one in gc.collect(store, limit=6900, grace=0)][: len(before)]
    with Catalog.open(store) as catalog:
        assert catalog.checkpoints() == [one for one in kept if one not in (kept[1], kept[2])]
    for one in (kept[0], kept[3]):
        assert Blobs(store).has(one.manifest or "")
    assert not Blobs(store).has(kept[1].manifest or "")


def test_shared_blobs_stay_and_young_ones_too(store: str) -> None:
    history(store, 1)
    first, second, third = (a_checkpoint(store, index, b"frozen" * 99) for index in (0, 1, 2))
    with Catalog.open(store) as catalog:
        catalog.remove_checkpoints([second])
    unnamed = Blobs(store).put(b"not yet named")
    assert gc.collect(store) == []
    removed = gc.collect(store, grace=0)
    assert [one.path for one in removed] == [f"checkpoints/{unnamed[:2]}/{unnamed[2:]}"]
    assert Blobs(store).has(first.manifest or "")
    assert first.manifest == third.manifest


def test_orphans_and_old_checkouts_go(store: str) -> None:
    history(store, 1)
    checkout = FilePath(store) / gc.CHECKOUTS / "abc"
    checkout.mkdir(parents=True)
    (checkout / "train.py").write_text("x")
    os.utime(checkout, (1, 1))
    litter = FilePath(store) / "logs" / "epoch" / f"x.parquet{parquet.TEMPORARY}"
    litter.write_bytes(b"x")
    os.utime(litter, (1, 1))
    assert {one.path for one in gc.collect(store)} == {
        os.path.relpath(litter, store), os.path.relpath(checkout, store)
    }  # fmt: skip
    assert not litter.exists()
    assert not checkout.exists()
    assert doctor.check(store) == []


def test_rm_deletes_runs_from_shared_and_own_files(store: str) -> None:
    history(store, 4)
    compact.compact(store)
    record(store, "02", epochs(2, 1))
    seal.recover(store)
    write_fill(store, a_fill(run="0101", version="b" * 12), [Logged((), "gnorm", 0.5, 9, 1, 1.0)])
    rows = everything(read_snapshot(store))
    forget()
    runs = [*remove.find_runs(store, "0101"), *remove.find_runs(store, "02")]
    assert remove.remove_runs(store, runs, dry_run=True) == remove.remove_runs(store, runs)
    snapshot = fresh(store)
    assert everything(snapshot) == {
        level: [row for row in own if row[0] not in ("0101", "02")] for level, own in rows.items()
    }
    assert [run.id for run in snapshot.runs] == ["0100", "0102", "0103"]
    assert snapshot.fills == ()
    assert doctor.check(store) == []
    assert len(files(store)) == 4


def test_rm_refuses_live_and_unknown_runs(store: str) -> None:
    recorder = Recorder(store, "01A")
    with pytest.raises(StoreError, match="still running"):
        remove.remove_runs(store, ["01A"])
    with pytest.raises(StoreError, match="no run or version starts with 'zz'"):
        remove.find_runs(store, "zz")
    assert remove.find_runs(store, "aaaa") == ["01A"]
    recorder.finish()


def test_the_first_characters_of_several_runs_name_none(store: str) -> None:
    history(store, 3)
    with pytest.raises(StoreError, match="start with '010'") as raised:
        remove.find_runs(store, "010")
    assert raised.value.candidates == ("0100", "0101", "0102")
    assert remove.find_runs(store, "0101") == ["0101"]


def test_du_tells_what_takes_space(store: str) -> None:
    history(store, 1)
    found = {one.part: one for one in usage.usage(store)}
    assert list(found) == ["catalog", "logs", "fills", "wal", "checkpoints", "code.git", "scratch"]
    assert (found["logs"].files, found["fills"].files) == (4, 0)
    assert found["logs"].bytes == sum(os.path.getsize(os.path.join(store, path)) for path in files(store))


@pytest.mark.parametrize("collected", [True, False])
def test_what_unfill_dropped_is_freed_and_stays_dropped(store: str, collected: bool) -> None:
    history(store, 1)
    for id_ in ("f1", "f2"):
        write_fill(store, a_fill(id_, run="0100"), [Logged((Step("epoch", 0, 1),), "gnorm", 0.5, 5, 1, 1.0)])
    with Catalog.open(store) as catalog:
        catalog.put_fill(replace(catalog.fills()[0], state="cancelled"))
    if collected:
        (told,) = gc.collect(store, dry_run=True)
        assert [told] == gc.collect(store)
        assert told.reason == "UNFILL dropped cells in it"
        assert not os.path.exists(os.path.join(store, told.path))
    forget()
    rebuild.rebuild(store)
    assert [fill.id for fill in read_snapshot(store).fills if fill.state == "done"] == ["f2"]
    assert doctor.check(store) == []
