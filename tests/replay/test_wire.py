"""Frames: what goes in comes out, torn and crafted ones do no harm."""

from __future__ import annotations

import datetime
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logql.errors import ReplayError
from logql.model import Logged, Step
from logql.replay.wire import FrameReader, decode_event, encode_event, encode_frame

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.datetimes()
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.text(), VALUES), max_size=5), st.integers(1, 40))
def test_events_come_through_in_pieces(pairs: list[tuple[str, object]], size: int) -> None:
    events = [Logged((Step("e", 0, at),), name, value, at, 1, 0.5) for at, (name, value) in enumerate(pairs)]
    data = b"".join(encode_frame("events", hindsight=[encode_event(event)], relogged=[]) for event in events)
    reader = FrameReader()
    frames = [frame for at in range(0, len(data), size) for frame in reader.feed(data[at : at + size])]
    assert [decode_event(frame["hindsight"][0]) for frame in frames] == events


def test_special_values() -> None:
    values = [
        math.inf,
        -math.inf,
        datetime.date(2020, 1, 2),
        [0.5] * 100,
        [math.nan] * 40,
        10**40,
        datetime.time(1, 2, 3),
    ]
    for value in values:
        event = Logged((), "n", value, 0, 0, 0.0)
        (frame,) = FrameReader().feed(encode_frame("events", relogged=[encode_event(event)]))
        found = decode_event(frame["relogged"][0]).value
        assert repr(found) == repr(value)


def test_a_torn_frame_never_comes_out() -> None:
    data = encode_frame("note", text="x" * 100)
    assert list(FrameReader().feed(data[:-1])) == []


def test_a_crafted_frame_is_refused() -> None:
    with pytest.raises(ReplayError):
        list(FrameReader().feed(b"\x04\x00\x00\x00[1,2"))
