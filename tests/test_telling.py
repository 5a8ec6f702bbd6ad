"""What notices tell of replays."""

from __future__ import annotations

from dataclasses import replace

from logql.filling import Filled
from logql.model import Fill
from logql.telling import fills_told


def test_unchecked_replays_are_told_where_they_gave_values() -> None:
    fill = Fill(
        "f1", "q", "run1", "v1", {"a": "x"}, None, 0, None, None, "done", fidelity="unchecked", levels={"a": ((),)}
    )
    told = list(fills_told([Filled((fill, replace(fill, id="f2", levels={})), ())]))
    assert told == ["a of run run1 (v1): the replay is unchecked"]
    assert list(fills_told([Filled((replace(fill, levels={}),), ())])) == []
    diverged = replace(fill, levels={}, fidelity="diverged")
    assert list(fills_told([Filled((diverged,), ())])) == ["a of run run1 (v1): the replay is diverged"]
