"""Which columns become axes and lines."""

from __future__ import annotations

from datetime import date, datetime

import pyarrow as pa
import pytest

from logql.errors import NotSupportedError, ProgrammingError
from logql.plotting import choose_series


def test_a_line_per_version() -> None:
    table = pa.table({"version": ["b", "b", "a"], "lr": [0.1, 0.1, 0.1], "epoch": [1, 0, 0], "loss": [0.5, 0.7, 0.9]})
    series = choose_series(table)
    assert (series.x, series.y, series.x_kind) == ("epoch", "loss", "number")
    assert [(line.label, line.x, line.y) for line in series.lines] == [("b", [0, 1], [0.7, 0.5]), ("a", [0], [0.9])]


def test_runs_are_named_only_where_a_version_has_several() -> None:
    alone = pa.table({"version": ["a", "b"], "run": ["01X", "01Y"], "epoch": [0, 0], "loss": [1.0, 2.0]})
    assert [line.label for line in choose_series(alone).lines] == ["a", "b"]
    two = pa.table({"version": ["a", "a", "b"], "run": ["0123456X", "0123456Y", "Z"], "e": [0, 0, 0], "l": [1.0, 2, 3]})
    assert [line.label for line in choose_series(two).lines] == ["a 23456X", "a 23456Y", "b Z"]


def test_the_innermost_loop_that_does_not_repeat() -> None:
    table = pa.table({"epoch": [0, 0, 1, 1], "step": [0, 1, 2, 3], "loss": [4.0, 3.0, 2.0, 1.0]})
    assert choose_series(table).x == "step"
    again = pa.table({"epoch": [0, 0, 1, 1], "step": [0, 1, 0, 1], "loss": [4.0, 3.0, 2.0, 1.0]})
    series = choose_series(again)
    assert (series.x, series.lines[0].x) == ("row", [0, 1, 2, 3])


def test_several_measures_and_gaps() -> None:
    table = pa.table({"epoch": [0, 1, 2], "a": [1.0, None, float("nan")], "b": [3, 4, 5], "c": [0.5, 0.6, 0.7]})
    series = choose_series(table)
    assert series.y == "value"
    assert [(line.label, line.y) for line in series.lines] == [("a", [1.0, None, None]), ("c", [0.5, 0.6, 0.7])]


@pytest.mark.parametrize("times", [[date(2026, 1, 2), date(2026, 1, 1)], [datetime(2026, 1, 2), datetime(2026, 1, 1)]])
def test_times(times: list[date]) -> None:
    series = choose_series(pa.table({"at": times, "n": [2, 1]}))
    assert (series.x_kind, series.lines[0].y) == ("time", [1.0, 2.0])


def test_roles_as_asked() -> None:
    table = pa.table({"x": [3.5, 1.5], "kind": ["p", "q"], "y": [1, 2], "z": [5, 6]})
    series = choose_series(table, {"x": "X", "y": "z", "by": "kind"})
    assert [(line.label, line.x, line.y) for line in series.lines] == [("p", [3.5], [5.0]), ("q", [1.5], [6.0])]


@pytest.mark.parametrize(
    ("table", "roles", "message"),
    [
        (pa.table({"t": ["a"]}), {}, "no numeric column"),
        (pa.table({"n": [1], "t": ["a"]}), {"y": "t"}, "t has no numbers"),
        (pa.table({"n": [1], "v": [1.5]}), {"x": "nothing"}, "has no column 'nothing'"),
        (pa.table({"n": [1], "v": pa.array([None], pa.float64())}), {}, "v has no numbers"),
        (pa.table({"run": [str(i) for i in range(50)], "v": [1.5] * 50}), {}, "50 lines are too many"),
    ],
)
def test_what_cannot_be_drawn(table: pa.Table, roles: dict[str, str], message: str) -> None:
    with pytest.raises(ProgrammingError, match=message):
        choose_series(table, roles)


def test_too_many_rows_are_refused() -> None:
    table = pa.table({"n": pa.nulls(1_000_001, pa.int64())})
    with pytest.raises(NotSupportedError, match="too many to draw"):
        choose_series(table)
