"""Live runs that are read while they grow: what was settled and what still grows is what a whole reading gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import is_
from pathlib import Path as FilePath

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logql.model import Enter, Event, Line, Logged, Path, Step
from logql.store import growing, levels, live, merge, snapshot
from logql.store.catalog import Catalog
from tests.store.history import Recorder, epochs


@pytest.fixture
def store(tmp_path: FilePath) -> Iterator[str]:
    yield str(tmp_path / ".logql")
    snapshot.forget()


def rows_of(tables: Sequence[pa.Table]) -> list[dict[str, object]]:
    """Rows of several tables of one level, in the order of contexts and parts."""
    found = merge.merge(tables, {}).to_pylist()
    found = [{name: value for name, value in row.items() if value is not None} for row in found]
    return sorted(found, key=lambda row: repr(sorted(row.items())))


def read(store: str) -> dict[str, list[pa.Table]]:
    found = snapshot.read_snapshot(store)
    return {level: [piece.table for piece in pieces] for level, pieces in found.levels.items()}


def check(store: str, events: Sequence[Event]) -> dict[str, list[pa.Table]]:
    """The live tables hold what `events` built at once hold."""
    found = read(store)
    whole = levels.build("01A", "a" * 12, 0, events)
    assert {level for level, tables in found.items() if sum(table.num_rows for table in tables)} == {
        level for level, table in whole.items() if table.num_rows
    }
    for level, table in whole.items():
        assert rows_of(found[level]) == rows_of([table])
    assert snapshot.read_snapshot(store).shapes["01A"] == levels.shape_of(whole)
    return found


def test_settled_rows_are_built_once(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "ENOUGH", 50)
    events = epochs(20, 30)
    recorder = Recorder(store, "01A")
    seen = None
    for start in range(0, len(events), 97):
        recorder.append(events[start : start + 97])
        tables = check(store, events[: start + 97])
        if start > 97 * 5:
            first = tables["epoch.step"][0].column("loss").chunk(0)
            assert seen is None or first.buffers()[1].address == seen
            seen = first.buffers()[1].address
    (table,) = read(store)["epoch.step"]
    assert table.column("loss").num_chunks > 1
    recorder.finish()
    assert sum(piece.rows for piece in snapshot.read_snapshot(store).levels["epoch.step"]) == 600


def late(path: Path, seq: int) -> list[Event]:
    return [Logged(path, "late", 1.5, seq, 0, 5000.0)]


@pytest.mark.parametrize(
    "last",
    [
        late((Step("epoch", 0, 1),), 10_000),
        late((Step("epoch", 0, 1), Step("step", 0, 2)), 10_000),
        [Enter((Step("epoch", 0, 1), Step("eval", 0, 0)), 0, 10_000, 5000.0)],
        [Line((Step("epoch", 0, 1),), "stdout", None, None, "late", -1, 5000.0)],
        [Enter((Step("epoch", 0, 20),), "text", 10_000, 5000.0)],
    ],
)
def test_what_comes_late_stands_on_its_row(store: str, last: list[Event], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "ENOUGH", 50)
    events = epochs(20, 30)
    recorder = Recorder(store, "01A")
    recorder.append(events)
    check(store, events)
    recorder.append(last)
    check(store, [*events, *last])
    more = [Logged((), "more", 2.0, 10_002, 0, 6000.0)]
    recorder.append(more)
    check(store, [*events, *last, *more])
    recorder.abandon()


def test_a_name_that_changes_is_read_anew(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "ENOUGH", 50)
    recorder = Recorder(store, "01A")
    recorder.append(epochs(20, 30))
    assert "loss" in read(store)["epoch.step"][0].column_names
    with Catalog.open(store) as catalog:
        catalog.update_run("01A", args={"loss": 1})
    assert all("loss_" in table.column_names for table in read(store)["epoch.step"])
    recorder.abandon()


MOVES = st.lists(st.sampled_from(["epoch", "step", "eval", "log", "log2", "run", "print", "up"]), max_size=120)


def play(moves: Sequence[str]) -> list[Event]:
    """A program that enters, logs and leaves as `moves` say."""
    found: list[Event] = []
    path: Path = ()
    counts: dict[tuple[Path, str], int] = {}
    seq = 0
    for number, move in enumerate(moves):
        ts = 1000.0 + number
        if move in ("epoch", "step", "eval"):
            around = () if move == "epoch" else path[:1]
            entry = number % 7 == 0 and counts.get((around, move), 0) // 100
            key = around, move
            index = counts.get(key, -1) + 1
            counts[key] = index
            path = (*around, Step(move, int(entry), index))
            found.append(Enter(path, index, seq, ts))
            seq += 1
        elif move == "up":
            path = path[:-1]
        elif move == "print":
            found.append(Line(path, "stdout", None, None, str(number), max(0, seq - 1), ts))
        else:
            name = "b" if move == "log2" else "a"
            found.append(Logged(() if move == "run" else path, name, number / 8, seq, 0, ts))
            seq += 1
    return found


@settings(max_examples=60, deadline=None)
@given(MOVES, st.integers(1, 9), st.integers(3, 20))
def test_settled_and_growing_rows_are_those_of_the_whole(moves: list[str], size: int, batch: int) -> None:
    events = play(moves)
    builder = growing.GrowingBuilder("01A", "a" * 12, 0)
    builder._due = size
    for start in range(0, len(events), batch):
        builder.add(events[start : start + batch])
        if builder.is_due():
            builder.settle()
    assert not builder.late
    whole = levels.build("01A", "a" * 12, 0, events)
    tables = dict(builder.settled)
    for level, table in builder.tables().items():
        tables[level] = [*tables.get(level, []), table]
    assert set(tables) == set(whole)
    for level, table in whole.items():
        assert rows_of(tables[level]) == rows_of([table])


def test_reading_on_costs_what_is_new(store: str) -> None:
    recorder = Recorder(store, "01A")
    events = epochs(4, 10_000)
    for start in range(0, len(events), 20_000):
        recorder.append(events[start : start + 20_000])
    reader = live.LiveRuns(Catalog.open(store))
    with reader._catalog:
        runs = list(reader._catalog.runs())
        reader.read(runs, {}, {}, {}, 0)
        builder = reader._ranks["01A", 0].builder
        assert builder._gathered() < 2 * growing.ENOUGH + 10_000
        known = {group.path(index) for group in builder._groups.values() for index in group.rows}
        assert known == {rows.path(row) for rows in builder.levels.values() for row in range(len(rows))} - {()}
    recorder.abandon()


def test_only_what_changed_is_looked_at_again(store: str) -> None:
    recorders = [Recorder(store, run) for run in ("01A", "01B")]
    for recorder in recorders:
        recorder.append(epochs(2, 3))
    with Catalog.open(store) as catalog:
        reader, runs = live.LiveRuns(catalog), catalog.runs()

        def read() -> list[live._Run]:
            reader.read(runs, {}, {}, {}, catalog.change_counter())
            return [reader._runs[run.id] for run in runs]

        before = read()
        assert read() == before
        assert all(map(is_, read(), before))
        recorders[1].append(epochs(3, 3)[-8:])
        grown = read()
        assert grown[0] is before[0]
        assert grown[1] is not before[1]
        catalog.update_run("01A", args={"loss": 1.0})  # the name is taken: what is logged is called otherwise
        renamed = read()
        assert [sorted(one.names.values()) for one in renamed] == [["acc", "best", "loss_"]] * 2
        assert any("loss_" in table.column_names for _, table in renamed[0].tables)
    for recorder in recorders:
        recorder.abandon()
