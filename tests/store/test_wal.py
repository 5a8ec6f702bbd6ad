"""WAL chunks: what was appended is read, a torn tail is the end, anything else that is wrong names the file."""

from __future__ import annotations

import datetime
import math
import os
from array import array
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logql.errors import CorruptFile
from logql.model import Enter, Line, Logged, Step
from logql.store import plain, wal

EPOCH = 1 << wal.INDEX_BITS
STEP = 2 << wal.INDEX_BITS


def make_batch(seq: int = 0) -> wal.Batch:
    """An epoch with a step that logs a loss, a line, a dropped value, and a text of the run."""
    return wal.Batch(
        seq=seq,
        contexts=array("q", [EPOCH | 3, STEP, STEP, STEP, EPOCH | 3, 0]),
        kinds=array("B", [wal.ENTER, wal.ENTER, 3, wal.LINE, wal.DROPPED, 4]),
        values=array("d", [0, 0, 0.5, 0, 0, 0]),
        times=array("d", [10, 11, 12, 13, 14, 15]),
        names=["loss", "note"],
        entries=[wal.Entry(1, "epoch", 0, 0), wal.Entry(2, "step", 1, EPOCH | 3)],
        items={0: "c", 1: 7},
        others={5: "n/a"},
        lines=[("stdout", None, None, "hello")],
    )


def events_of(seq: int = 0) -> list[object]:
    epoch = (Step("epoch", 0, 3),)
    step = (*epoch, Step("step", 1, 0))
    return [
        Enter(epoch, "c", seq, 10),
        Enter(step, 7, seq + 1, 11),
        Logged(step, "loss", 0.5, seq + 2, 0, 12),
        Line(step, "stdout", None, None, "hello", seq + 2, 13),
        Logged((), "note", "n/a", seq + 4, 0, 15),
    ]


@pytest.fixture
def store(tmp_path: Path) -> str:
    (tmp_path / "wal").mkdir()
    return str(tmp_path)


def write(store: str, *batches: wal.Batch, chunk_bytes: int = wal.CHUNK_BYTES) -> list[str]:
    writer = wal.Writer(store, "RUN", 0, chunk_bytes=chunk_bytes)
    for batch in batches:
        writer.append(batch)
    writer.close()
    return [chunk.path for chunk in wal.list_chunks(store)]


def test_events_come_back_with_paths_and_numbers(store: str) -> None:
    (path,) = write(store, make_batch(), make_batch(5))
    assert list(wal.read(path)) == [*events_of(), *events_of(5)]


def test_reading_goes_on_where_it_ended(store: str) -> None:
    (path,) = write(store, make_batch(), make_batch(5))
    (_, first_end), (second, end) = wal.read_batches(path)
    assert [batch for batch, _ in wal.read_batches(path, first_end)] == [second]
    assert list(wal.read_batches(path, end)) == []


def test_a_grown_chunk_is_followed_by_the_next(store: str) -> None:
    paths = write(store, make_batch(), make_batch(5), make_batch(10), chunk_bytes=300)
    assert len(paths) > 1
    assert [event for path in paths for event in wal.read(path)] == [*events_of(), *events_of(5), *events_of(10)]
    assert [(chunk.run, chunk.rank, chunk.writer) for chunk in wal.list_chunks(store, "RUN")] == [("RUN", 0, "")] * len(
        paths
    )


def test_a_childs_stream_has_a_name_of_its_own(store: str) -> None:
    writer = wal.Writer(store, "RUN", 1, "77")
    writer.append(make_batch())
    writer.close()
    ((_, run, rank, name, number, _),) = wal.list_chunks(store)
    assert (run, rank, name, number) == ("RUN", 1, "77", 0)
    assert wal.list_chunks(store, "OTHER") == []


def test_every_truncation_is_an_end(store: str) -> None:
    (path,) = write(store, make_batch(), make_batch(5))
    content = Path(path).read_bytes()
    whole = [*events_of(), *events_of(5)]
    for size in range(len(content)):
        Path(path).write_bytes(content[:size])
        found = list(wal.read(path))
        assert found == whole[: len(found)]
        assert len(found) in (0, 5)


def test_every_flipped_bit_before_the_tail_is_told(store: str) -> None:
    (path,) = write(store, make_batch(), make_batch(5))
    content = bytearray(Path(path).read_bytes())
    ends = [end for _, end in wal.read_batches(path)]
    for position in range(0, ends[0], 3):
        content[position] ^= 0x10
        Path(path).write_bytes(content)
        with pytest.raises(CorruptFile, match=r"RUN-0-0"):
            list(wal.read(path))
        content[position] ^= 0x10


def test_zeros_that_a_power_failure_left_are_an_end(store: str) -> None:
    (path,) = write(store, make_batch(), make_batch(5))
    content = Path(path).read_bytes()
    Path(path).write_bytes(content + b"\0" * 100)
    assert len(list(wal.read(path))) == 10
    Path(path).write_bytes(content[:-40] + b"\0" * 40)
    assert len(list(wal.read(path))) == 5


def test_a_failed_write_leaves_nothing_behind(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = wal.Writer(store, "RUN", 0)
    writer.append(make_batch())
    real = os.write
    calls = []

    def fill(descriptor: int, data: memoryview) -> int:
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:10])

    monkeypatch.setattr(os, "write", fill)
    with pytest.raises(OSError, match="No space"):
        writer.append(make_batch(5))
    monkeypatch.undo()
    writer.append(make_batch(10))
    writer.close()
    (chunk,) = wal.list_chunks(store)
    assert list(wal.read(chunk.path)) == [*events_of(), *events_of(10)]


@pytest.mark.parametrize(
    "change",
    [
        {"kinds": array("B", [wal.ENTER, wal.ENTER, 3, wal.LINE, wal.DROPPED, 9])},
        {"entries": [wal.Entry(1, "epoch", 0, 0)]},
        {"entries": [wal.Entry(1, "epoch", 0, STEP), wal.Entry(2, "step", 0, EPOCH)]},
        {"lines": []},
        {"names": ["loss", 5]},
        {"times": array("d", [1.0])},
        {"times": array("d", [math.nan] * 6)},
        {"contexts": array("q", [1] * 6)},
        {"contexts": array("q", [0] * 6)},
        {"seq": -1},
    ],
)
def test_a_batch_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    batch = make_batch()
    for name, value in change.items():
        setattr(batch, name, value)
    with pytest.raises(CorruptFile):
        wal.decode_batch(wal.encode_batch(batch))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400))
@example(b"\x01", 277)
def test_crafted_payloads_are_refused_or_harmless(junk: bytes, at: int) -> None:
    payload = wal.encode_batch(make_batch())
    for crafted in (junk, payload[:at] + junk + payload[at + len(junk) :]):
        try:
            list(wal.events(wal.decode_batch(crafted)))
        except CorruptFile:
            continue


def test_a_short_record_cannot_ask_for_much_memory() -> None:
    batch = make_batch()
    batch.contexts = array("q", [0])
    text = wal.encode_batch(batch).replace(b'"count":1,', b'"count":1000000000000,')
    with pytest.raises(CorruptFile):
        wal.decode_batch(text)


def test_a_hot_loop_takes_little_room() -> None:
    count = 10_000
    batch = wal.Batch(
        0,
        array("q", [0]) * count,
        array("B", [3]) * count,
        array("d", range(count)),
        array("d", range(count)),
        ["x"],
        [],
    )
    payload = wal.encode_batch(batch)
    assert len(payload) < 16 * count + 300
    assert wal.decode_batch(payload) == batch


def test_a_column_that_repeats_keeps_its_bits() -> None:
    zeros = array("d", [0.0, -0.0, 0.0, 0.0, math.nan, math.nan])
    batch = wal.Batch(0, array("q", [0]) * 6, array("B", [3]) * 6, zeros, array("d", range(6)), ["x"], [])
    assert wal.decode_batch(wal.encode_batch(batch)).values.tobytes() == zeros.tobytes()


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
    | st.datetimes()
    | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_values_come_back_as_they_were(value: object) -> None:
    back = plain.loads(plain.dumps(value))
    assert back == value
    assert type(back) is type(value)


def test_numbers_come_back_bit_for_bit() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=2))
    values = [2**20_000, -(2**63) - 1, math.inf, -0.0, 0.1, datetime.datetime(2026, 1, 2, tzinfo=zone), "\ud800"]
    assert plain.loads(plain.dumps(values)) == values
    assert repr(plain.loads(plain.dumps([math.nan]))) == "[nan]"


@pytest.mark.parametrize("text", [b"{", b'{"z":1}', b'{"b":"*"}', b'{"t":"soon"}', b"[" * 100_000, b'{"d":[1]}', b"{}"])
def test_what_is_no_value_is_refused(text: bytes) -> None:
    with pytest.raises(CorruptFile):
        plain.loads(text)
