"""The catalog alone: what goes in comes out, from several processes and threads, and damage is named."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path as FilePath

import pytest

from logql.errors import CorruptFile, StoreError, StoreTooNew
from logql.model import Checkpoint, Fill, MainLoop, Run, Version
from logql.store import layout, schema
from logql.store.catalog import Catalog
from logql.store.liveness import hold_claims


def a_run(id_: str = "01A", version: str = "a" * 12, **changes: object) -> Run:
    values: dict[str, object] = {
        "id": id_,
        "version": version,
        "script": "train.py",
        "argv": ("train.py", "--lr", "0.1"),
        "status": "running",
        "started_at": 1000.5,
        "project": "/p",
        "cwd": "/p/sub",
        "args": {"lr": 0.1, "name": None, "layers": [1, 2]},
        "environment": {"python": "3.11", "packages": {f"package{n}": "1.0" for n in range(50)}},
        "tags": ("a", "b"),
    }
    return Run(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: FilePath) -> str:
    return str(tmp_path / ".logql")


def test_create_makes_the_tree_and_its_gitignore(store: str) -> None:
    Catalog.open(store, create=True).close()
    assert sorted(os.listdir(store)) == [
        ".gitignore", "catalog.sqlite", "checkpoints", "fills", "logs", "scratch", "wal"
    ]  # fmt: skip
    assert (FilePath(store) / ".gitignore").read_text() == "*\n"


def test_open_without_a_store_says_so(store: str) -> None:
    with pytest.raises(StoreError, match="no store at"):
        Catalog.open(store)
    assert not os.path.exists(store)


def test_versions_get_ordinals_once(store: str) -> None:
    with Catalog.open(store, create=True) as catalog:
        first = catalog.add_version(Version("a" * 12, "a" * 40, parents=("p",), message="one", committed_at=1.5))
        second = catalog.add_version(Version("b" * 12, "b" * 40, dirty=True))
        again = catalog.add_version(Version("a" * 12, "a" * 40, message="other"))
        assert (first.ordinal, second.ordinal, again) == (1, 2, first)
        assert catalog.versions() == [first, second]


def test_runs_round_trip_and_change(store: str) -> None:
    with Catalog.open(store, create=True) as catalog:
        run = catalog.add_run(a_run())
        other = catalog.add_run(a_run("01B"))
        assert (run.key, other.key) == (1, 2)
        assert run == a_run(key=1)
        assert catalog.add_run(a_run(status="failed")) == run
        catalog.update_run("01A", status="finished", ended_at=2000.0, args={"lr": 0.2}, environment={"x": "y" * 500})
        (changed, unchanged) = catalog.runs()
        assert unchanged == other
        assert (changed.status, changed.ended_at, changed.args) == ("finished", 2000.0, {"lr": 0.2})
        assert changed.environment == {"x": "y" * 500}
        with pytest.raises(StoreError, match="no column nonsense"):
            catalog.update_run("01A", nonsense=1)


def test_another_process_reads_what_this_one_wrote(store: str) -> None:
    with Catalog.open(store, create=True) as catalog, Catalog.open(store) as reader:
        assert reader.runs() == []
        run = catalog.add_run(a_run())
        assert reader.runs() == [run]
        assert reader.change_counter() == catalog.change_counter()


def test_main_loops_are_replaced_by_key(store: str) -> None:
    with Catalog.open(store, create=True) as catalog:
        loop = MainLoop("01A", "epoch", 0, "train.py", 12, "main", 3, False, 1.5, 0.5, 0)
        done = MainLoop("01A", "epoch", 0, "train.py", 12, "main", 10, True, 5.5, 0.5, 0)
        catalog.put_main_loop(loop)
        catalog.put_main_loop(done)
        assert catalog.main_loops("01A") == [done]
        assert catalog.main_loops("other") == []


def test_a_replay_never_overwrites_a_checkpoint_of_a_training(store: str) -> None:
    with Catalog.open(store, create=True) as catalog:
        training = Checkpoint("01A", 0, "epoch", 0, 3, 40, "m1", 10, 0.1)
        at_exit = Checkpoint("01A", 0, "epoch", 0, None, 90, None, 0, 0.0, reason="a generator", by="replay")
        catalog.add_checkpoint(training)
        catalog.add_checkpoint(Checkpoint("01A", 0, "epoch", 0, 3, 40, "m2", 10, 0.1, by="replay"))
        catalog.add_checkpoint(at_exit)
        assert catalog.checkpoints("01A") == [training, at_exit]
        catalog.remove_checkpoints([at_exit])
        assert catalog.checkpoints() == [training]


def a_fill(id_: str, first: int | None, last: int | None, names: dict[str, str] | None = None) -> Fill:
    names = names or {"gnorm": "f1"}
    return Fill(
        id_, "SELECT 1", "01A", "v", names, "epoch", 0, first, last, "done",
        fidelity="exact", covered=None, levels={"gnorm": (("epoch",), ())},
    )  # fmt: skip


def test_fills_round_trip(store: str) -> None:
    with Catalog.open(store, create=True) as catalog:
        catalog.put_fill(a_fill("f", 1, 4))
        assert catalog.fills() == [a_fill("f", 1, 4)]


def test_claims_see_live_claims_on_the_same_cells_only(store: str) -> None:
    with Catalog.open(store, create=True) as catalog, hold_claims(store) as lock:
        me = FilePath(lock.path).name
        assert catalog.claim(a_fill("f1", 0, 4), me) == []
        assert [fill.id for fill in catalog.claim(a_fill("f2", 4, 6), me)] == ["f1"]
        assert catalog.claim(a_fill("f3", 7, 9), me) == []
        assert catalog.claim(a_fill("f4", 0, 9, {"gnorm": "other text"}), me) == []
        assert {fill.id for fill in catalog.claim(a_fill("f5", None, None), me)} == {"f1", "f2", "f3"}


def test_claims_of_a_dead_process_are_cancelled(store: str) -> None:
    script = (
        "import os, sys; from tests.store.test_catalog import a_fill; from logql.store.catalog import Catalog\n"
        "from logql.store.liveness import hold_claims\n"
        "catalog = Catalog.open(sys.argv[1], create=True); lock = hold_claims(sys.argv[1])\n"
        "catalog.claim(a_fill('dead', 0, 4), os.path.basename(lock.path)); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, store], check=True, cwd=FilePath(__file__).parents[2])
    with Catalog.open(store) as catalog:
        (left,) = os.listdir(os.path.join(store, "scratch", "claims"))
        assert catalog.claim(a_fill("f1", 0, 4), "nobody") == []
        states = {fill.id: (fill.state, fill.error) for fill in catalog.fills()}
        assert catalog.claim(a_fill("f2", 0, 4), "nobody either") == []
    assert states["dead"] == ("cancelled", "the replaying process died")
    with hold_claims(store) as lock:
        assert left not in os.listdir(os.path.dirname(lock.path))


def test_kept_values_of_every_kind(store: str) -> None:
    with Catalog.open(store, create=True) as catalog:
        before = catalog.change_counter()
        catalog.put("view", "v", {"sql": "SELECT 1"})
        catalog.put_all("pin", {"a": [1, None], "b": "x"})
        assert catalog.change_counter() > before
        assert catalog.get("view", "v") == {"sql": "SELECT 1"}
        assert catalog.items("pin") == {"a": [1, None], "b": "x"}
        catalog.remove("pin", "a")
        assert catalog.get("pin", "a") is None


@pytest.mark.parametrize(
    ("logged", "stored"),
    [
        (["loss", "Loss", "LOSS"], ["loss", "Loss_2", "LOSS_3"]),
        (["version", "ts", "run_"], ["version_", "ts_", "run_"]),
        (["lr", "LR"], ["lr_", "LR__2"]),
        (["a$text", "_seq", "", "train/loss"], ["a$text_", "_seq_", "_", "train/loss"]),
    ],
)
def test_names_that_clash(store: str, logged: list[str], stored: list[str]) -> None:
    with Catalog.open(store, create=True) as catalog:
        catalog.add_run(a_run())
        assert list(catalog.resolve_names(logged).values()) == stored
        assert list(catalog.resolve_names(reversed(logged)).values()) == stored[::-1]


def test_a_name_makes_way_for_an_arg_of_a_later_run(store: str) -> None:
    with Catalog.open(store, create=True) as catalog:
        assert catalog.resolve_names(["momentum"]) == {"momentum": "momentum"}
        catalog.add_run(a_run(args={"momentum": 0.9}))
        assert catalog.resolve_names(["momentum"]) == {"momentum": "momentum_"}


def test_a_newer_store_is_refused(store: str) -> None:
    Catalog.open(store, create=True).close()
    with sqlite3.connect(os.path.join(store, layout.CATALOG)) as db:
        db.execute("UPDATE settings SET value = 99 WHERE key = 'format'")
    db.close()
    with pytest.raises(StoreTooNew, match="format 99"):
        Catalog.open(store)


def test_an_older_store_is_brought_up_to_date(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Catalog.open(store, create=True) as catalog:
        run = catalog.add_run(a_run())
    steps = {1: "ALTER TABLE runs ADD COLUMN note TEXT;\nUPDATE runs SET note = 'old'", 2: "CREATE TABLE later (x)"}
    monkeypatch.setattr(schema, "FORMAT_VERSION", 3)
    monkeypatch.setattr(schema, "MIGRATIONS", {**steps, 2: "CREATE TABLE later (x);\nNO SQL"})
    with pytest.raises(StoreError, match="syntax error"):
        Catalog.open(store)  # nothing of it is there, and nobody is kept waiting
    monkeypatch.setattr(schema, "MIGRATIONS", steps)
    with pytest.raises(StoreError, match=r"has format 1, this logql reads 3\n.*may be written"):
        Catalog.open(store, read_only=True)
    with Catalog.open(store) as catalog, Catalog.open(store, read_only=True), Catalog.open(store):
        assert catalog.runs() == [run]
        with catalog.connection.read() as db:
            assert db.execute("SELECT note, (SELECT count(*) FROM later) FROM runs").fetchall() == [("old", 0)]
            assert db.execute("SELECT value FROM settings WHERE key = 'format'").fetchone() == (3,)


@pytest.mark.parametrize("damage", ["garbage", "middle"])
def test_a_damaged_catalog_is_named(store: str, damage: str) -> None:
    Catalog.open(store, create=True).close()
    path = FilePath(store) / layout.CATALOG
    data = bytearray(path.read_bytes())
    data[:] = b"x" * 9000 if damage == "garbage" else data[:100] + b"\xff" * (len(data) - 100)
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptFile, match=r"catalog\.sqlite.*\n.*doctor --rebuild"), Catalog.open(store) as catalog:
        catalog.runs()


def test_reading_only(store: str) -> None:
    with Catalog.open(store, create=True) as writer, Catalog.open(store, read_only=True) as catalog:
        run = writer.add_run(a_run())
        assert catalog.runs() == [run]
        with pytest.raises(StoreError, match="for reading only"):
            catalog.put("view", "v", 1)
        assert catalog.resolve_names(["loss", "Loss"]) == {"loss": "loss", "Loss": "Loss_2"}


def test_threads_and_forked_children_share_a_catalog(store: str) -> None:
    with Catalog.open(store, create=True) as catalog:
        threads = [threading.Thread(target=catalog.add_run, args=(a_run(f"01{n}"),)) for n in range(8)]
        for thread in threads:
            thread.start()
        child = os.fork()
        if child == 0:
            catalog.add_run(a_run("01child"))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        for thread in threads:
            thread.join()
        assert {run.id for run in catalog.runs()} == {"01child", *(f"01{n}" for n in range(8))}


def test_processes_that_create_at_once_make_one_store(store: str) -> None:
    script = (
        "import sys; from tests.store.test_catalog import a_run; from logql.store.catalog import Catalog\n"
        "c = Catalog.open(sys.argv[1], create=True)\n"
        "for n in range(20): c.add_run(a_run(sys.argv[2] + str(n)))\nc.close()"
    )
    root = FilePath(__file__).parents[2]
    children = [subprocess.Popen([sys.executable, "-c", script, store, f"0{n}-"], cwd=root) for n in range(4)]
    assert [child.wait(60) for child in children] == [0] * 4
    with Catalog.open(store) as catalog:
        runs = catalog.runs()
    assert len(runs) == 80
    assert [run.key for run in runs] == list(range(1, 81))


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "logs//x", "logs/../../x", "a\0b", ""])
def test_no_path_leaves_the_store(store: str, path: str) -> None:
    Catalog.open(store, create=True).close()
    with pytest.raises(CorruptFile, match="outside of the store"):
        layout.inside(store, path)


def test_no_link_leaves_the_store(store: str, tmp_path: FilePath) -> None:
    Catalog.open(store, create=True).close()
    os.symlink(tmp_path, os.path.join(store, "logs", "run"))
    with pytest.raises(CorruptFile, match="outside of the store"):
        layout.inside(store, "logs/run/x.parquet")


@pytest.mark.parametrize("level", [(), ("epoch",), ("epoch", "step"), ("a.b",), ("run",), ("output",), ("é/ü", "x y")])
def test_level_directories(level: tuple[str, ...]) -> None:
    name = layout.level_directory(level)
    assert "/" not in name
    assert layout.level_of(name) == level
