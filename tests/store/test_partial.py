"""Sealing while a run goes on: at every instant its rows are there once, in a file or in the stream."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import logql
from logql.errors import CorruptFile
from logql.model import Enter, Event, Line, Logged, Path, Step
from logql.store import carry, compact, doctor, growing, layout, levels, partial, rebuild, records, seal, streams, wal
from logql.store.catalog import Catalog
from logql.store.liveness import Lock, seal_lock
from logql.store.snapshot import Snapshot, forget, read_snapshot
from tests.store.history import Recorder, batch_of, epochs
from tests.store.test_live import MOVES, play, rows_of
from tests.store.test_seal import cells, files


@pytest.fixture
def store(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(growing, "ENOUGH", 20)
    monkeypatch.setattr(partial, "PART_BYTES", 1)
    yield str(tmp_path / ".logql")
    forget()


def tables_of(snapshot: Snapshot) -> dict[str, list[pa.Table]]:
    found: dict[str, list[pa.Table]] = {}
    for level, pieces in snapshot.levels.items():
        for piece in pieces:
            table = pq.ParquetFile(piece.path).read() if piece.table is None else piece.table
            kept = table.drop_columns([records.COLUMN]) if records.COLUMN in table.column_names else table
            if kept.num_rows:
                found.setdefault(level, []).append(kept)
    return found


def check(store: str, events: Sequence[Event]) -> Snapshot:
    """What a reader that was there before, and one that is new, see is what `events` are."""
    whole = levels.build("01A", "a" * 12, 0, events)
    for fresh in (False, True):
        if fresh:
            forget()
        snapshot = read_snapshot(store)
        found = tables_of(snapshot)
        assert set(found) == {level for level, table in whole.items() if table.num_rows}
        for level in found:
            assert rows_of(found[level]) == rows_of([whole[level]])
        assert snapshot.shapes["01A"] == levels.shape_of(whole)
    return snapshot


def stream_bytes(store: str) -> int:
    return sum(os.path.getsize(chunk.path) for chunk in wal.list_chunks(store))


def test_neither_the_stream_nor_what_a_reader_builds_grows_with_the_run(store: str) -> None:
    events = epochs(60, 12, outside=True)
    recorder = Recorder(store, "01A", chunk_bytes=4000)
    sizes = []
    for start in range(0, len(events), 50):
        recorder.append(events[start : start + 50])
        seal.seal_run(store, "01A")
        check(store, events[: start + 50])
        sizes.append(stream_bytes(store))
    assert len(files(store)) > 8
    assert max(sizes[10:]) < 1.3 * max(sizes[:10])
    recorder.finish()
    assert check(store, events).runs[0].status == "finished"
    forget()
    assert os.listdir(os.path.join(store, layout.WAL)) == []
    assert doctor.check(store) == []
    compact.compact(store)
    assert len(files(store)) == 4
    check(store, events)


@pytest.mark.parametrize("names", [("loss",), ("loss", "lr", "loss", "seen")])
def test_a_run_that_logs_outside_of_loops_alone_is_sealed_as_it_goes(store: str, names: tuple[str, ...]) -> None:
    logged = [Logged((), names[at % len(names)], at / 8, at, 0, 1000.0 + at) for at in range(2000)]
    once = Logged((), "best", 1, 2000, 0, 3000.0)
    recorder = Recorder(store, "01A", chunk_bytes=1000)
    for start in range(0, len(logged), 40):
        recorder.append(logged[start : start + 40])
        seal.seal_run(store, "01A")
        assert stream_bytes(store) < 9000
        if start % 400 == 0:
            check(store, logged[: start + 40])
    recorder.append([once])
    recorder.finish()
    check(store, [*logged, once])
    compact.compact(store)
    (path,) = [path for path in files(store) if "/run/" in path]
    parts = pq.ParquetFile(os.path.join(store, path)).read(["_part", "_seq"]).to_pylist()
    assert [row["_part"] for row in parts] == list(range(len(parts)))
    assert [row["_seq"] for row in parts] == sorted(row["_seq"] for row in parts)
    check(store, [*logged, once])
    with logql.connect(store) as connection:
        found = connection.execute("SELECT loss FROM logs").fetchall()
        assert found == [(event.value,) for event in logged if event.name == "loss"]
        assert connection.execute("SELECT loss, best FROM runs").fetchall() == [(found[-1][0], 1)]
    assert doctor.check(store) == []


@settings(max_examples=25, deadline=None)
@given(MOVES, st.integers(3, 20), st.integers(0, 3), st.integers(0, 1000))
def test_any_program_sealed_at_any_time(
    tmp_path_factory: pytest.TempPathFactory, moves: list[str], size: int, often: int, seed: int
) -> None:
    store = str(tmp_path_factory.mktemp("any") / ".logql")
    chance = random.Random(seed)
    played = play(moves)
    events: list[Event] = []
    recorder = Recorder(store, "01A", chunk_bytes=chance.choice((1, 700, 2000)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partial, "PART_BYTES", 1)
        patch.setattr(growing, "ENOUGH", chance.choice((4, 1000)))
        for start in range(0, len(played), size):
            batch = batch_of(played[start : start + size])
            batch.seq = sum(not isinstance(event, Line) for event in events)
            recorder.writer.append(batch)
            events += wal.events(batch)
            if chance.randrange(4) <= often:
                seal.seal_run(store, "01A")
            if chance.randrange(8) == 0:
                check(store, events)
        recorder.finish()
        check(store, events)
        forget()


def test_the_end_of_a_long_run_is_sealed_in_parts(store: str) -> None:
    events = epochs(40, 5)
    recorder = Recorder(store, "01A", chunk_bytes=2000)
    for start in range(0, len(events), 30):
        recorder.append(events[start : start + 30])
    recorder.finish()
    check(store, events)
    assert len([path for path in files(store) if "/epoch.step/" in path]) > 2


def test_several_ranks_are_sealed_each(store: str) -> None:
    events = epochs(20, 5)
    recorders = [Recorder(store, "01A", rank=rank, chunk_bytes=1500) for rank in (0, 1)]
    for start in range(0, len(events), 30):
        for recorder in recorders:
            recorder.append(events[start : start + 30])
        seal.seal_run(store, "01A")
    expected = sorted((rank, *row) for rank in (0, 1) for row in cells_of(events))
    assert sorted(cells(read_snapshot(store), "epoch.step", "rank", "epoch", "step", "loss")) == expected
    for recorder in recorders:
        recorder.finish()
    snapshot = read_snapshot(store)
    assert sorted(cells(snapshot, "epoch.step", "rank", "epoch", "step", "loss")) == expected
    assert snapshot.shapes["01A"].ranks == 2


def cells_of(events: Sequence[Event]) -> list[tuple[object, ...]]:
    table = levels.build("01A", "a" * 12, 0, events)["epoch.step"]
    return [(row["epoch"], row["step"], row["loss"]) for row in table.to_pylist()]


LATE: Path = (Step("epoch", 0, 1),)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("late", {"acc": [("acc",), ("late",)], "late": [("acc",), ("late",)]}),
        ("acc", {"acc": [("acc",), ("acc",)]}),
    ],
)
def test_what_comes_after_its_context_was_sealed_is_told_and_placed_at_the_end(
    store: str, name: str, expected: dict[str, list[tuple[str]]]
) -> None:
    events = epochs(30, 5)
    recorder = Recorder(store, "01A", chunk_bytes=1500)
    for start in range(0, len(events), 30):
        recorder.append(events[start : start + 30])
    seal.seal_run(store, "01A")
    inner = (*LATE, Step("eval", 0, 0))
    late = [
        Logged(LATE, name, 7.5, 10_000, 0, 5000.0),
        Enter(inner, 0, 10_001, 5000.0),
        Logged(inner, "score", 8.5, 10_002, 0, 5000.0),
        Line(LATE, "stdout", None, None, "late", 10_002, 5000.0),
    ]
    recorder.append(late)
    snapshot = read_snapshot(store)
    assert [notice for notice in snapshot.notices if "4 values or lines came long after" in notice]
    assert len(cells(snapshot, "epoch", "epoch", "acc")) == 30
    seal.seal_run(store, "01A")
    recorder.finish()
    snapshot = read_snapshot(store)
    rows = [row for row in cells(snapshot, "epoch", "epoch_index", "_part", "_order", name) if row[0] == 1]
    assert [row[1:3] for row in sorted(rows)] == [(0, ["acc"]), (1, [name])]
    assert sorted(rows)[1][3] == 7.5
    assert len(cells(snapshot, "epoch", "epoch")) == 31
    assert cells(snapshot, "epoch.eval", "epoch", "eval", "score") == [(1, 0, 8.5)]
    assert [row for row in cells(snapshot, "output", "line") if row[0] == "late"] == [("late",)]
    assert name in snapshot.shapes["01A"].repeats[("epoch",)]
    assert doctor.check(store) == []
    assert set(expected) <= {"acc", "late"}


def test_a_thread_that_is_a_little_behind_finds_its_row(store: str) -> None:
    recorder = Recorder(store, "01A", chunk_bytes=1500)
    events: list[Event] = []
    for number, event in enumerate(epochs(40, 5)):
        events.append(event)
        if isinstance(event, Enter) and len(event.path) == 1 and event.path[0].index > 0:
            before = (event.path[0]._replace(index=event.path[0].index - 1),)
            events.append(Logged(before, "behind", number / 4, event.seq, 1, event.ts))
    for start in range(0, len(events), 20):
        recorder.append(events[start : start + 20])
        seal.seal_run(store, "01A")
    recorder.finish()
    snapshot = read_snapshot(store)
    assert snapshot.notices == ()
    assert len(cells(snapshot, "epoch", "behind")) == 40
    assert snapshot.shapes["01A"].repeats == {}


def test_a_childs_stream_beside_it_or_damage_leaves_the_stream_alone(store: str) -> None:
    events = epochs(20, 5)
    recorder = Recorder(store, "01A", chunk_bytes=1500)
    for start in range(0, len(events), 30):
        recorder.append(events[start : start + 30])
    child = wal.Writer(store, "01A", 0, "7")
    child.append(batch_of(events[:1]))
    child.close()
    seal.seal_run(store, "01A")
    assert files(store) == []
    os.unlink(os.path.join(store, "wal", "01A-0.7-0"))
    path = FilePath(store) / "wal" / "01A-0-1"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    seal.seal_run(store, "01A")
    assert files(store) == []
    recorder.finish()
    assert "damaged record" in (read_snapshot(store).runs[0].error or "")


def test_a_listing_that_lacks_a_chunk_is_completed(store: str) -> None:
    events = epochs(20, 5)
    recorder = Recorder(store, "01A", chunk_bytes=1500)
    for start in range(0, len(events), 30):
        recorder.append(events[start : start + 30])
    listed = wal.list_chunks(store)
    assert len(listed) > 3
    for lacking in range(len(listed) - 1):
        found = streams.pending([*listed[:lacking], *listed[lacking + 1 :]], {})
        assert found == listed
        assert streams.gaps(found) == []
    seal.seal_run(store, "01A")
    with Catalog.open(store) as catalog:
        pending = streams.unsealed(catalog, "01A")
        assert [chunk.is_data for chunk in pending[:2]] == [False, True]
        os.unlink(pending[1].path)
        (gap,) = streams.gaps(streams.unsealed(catalog, "01A"))
        assert gap.message == f"{pending[1].path}: it is missing"
    assert gap.message in read_snapshot(store).notices
    (finding,) = doctor.check(store)
    assert finding.path == os.path.relpath(pending[1].path, store)
    recorder.finish()
    assert gap.message in (read_snapshot(store).runs[0].error or "")


def test_a_chunk_that_comes_while_sealed_ones_are_removed_stays(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    events = epochs(20, 5)
    recorder = Recorder(store, "01A", chunk_bytes=1)
    original = wal.list_chunks
    there = 0

    def list_chunks(*arguments: str) -> list[wal.Chunk]:
        """Another chunk comes just before every listing."""
        nonlocal there
        recorder.append(events[there : there + 10])
        there += 10
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(wal, "list_chunks", list_chunks)
        while there < 100:
            seal.seal_run(store, "01A")
    assert files(store) != []
    check(store, events[:there])
    recorder.abandon()


def test_two_sealers_at_once(store: str) -> None:
    events = epochs(20, 5)
    recorder = Recorder(store, "01A", chunk_bytes=1500)
    for start in range(0, len(events), 30):
        recorder.append(events[start : start + 30])
    other = Lock.take(seal_lock(store, "01A"))
    assert other is not None
    seal.seal_run(store, "01A", wait=0.0)
    assert files(store) == []
    other.release()
    seal.seal_run(store, "01A", wait=0.0)
    assert files(store) != []
    check(store, events)
    recorder.abandon()


def test_what_is_carried_is_checked(tmp_path: FilePath) -> None:
    builder = growing.GrowingBuilder("01A", "a" * 12, 0)
    builder.add(epochs(3, 2))
    path = str(tmp_path / "01A-0-7c")
    carry.write(path, builder.carried())
    again = carry.read(path)
    assert again.paths() == builder.carried().paths()
    data = bytearray(FilePath(path).read_bytes())
    data[len(data) // 2] ^= 1
    FilePath(path).write_bytes(data)
    with pytest.raises(CorruptFile, match="01A-0-7c"):
        carry.read(path)
    for payload in (b"[]", b'{"d":[["rows",[{"d":[["level",[1]]]}]]]}', b"\xff", b'{"d":[]}'):
        FilePath(path).write_bytes(wal.record(wal.CARRY, payload))
        with pytest.raises(CorruptFile, match="cannot be read"):
            carry.read(path)


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("outside", [False, True])
def test_a_catalog_is_rebuilt_from_the_parts_of_a_run(store: str, ends: bool, outside: bool) -> None:
    events = epochs(30, 5, outside=outside)
    recorder = Recorder(store, "01A", chunk_bytes=1500)
    for start in range(0, len(events), 30):
        recorder.append(events[start : start + 30])
        seal.seal_run(store, "01A")
    recorder.finish() if ends else recorder.abandon()
    if ends:
        seal.recover(store)
    forget()
    for name in os.listdir(store):
        if name.startswith(layout.CATALOG):
            os.unlink(os.path.join(store, name))
    with pytest.raises(CorruptFile, match=r"catalog\.sqlite is missing") as missing:
        Catalog.open(store, create=True)
    assert "--rebuild" in (missing.value.hint or "")
    rebuild.rebuild(store)
    check(store, events)
    assert doctor.check(store) == []
