"""Every type that a script may log."""

from __future__ import annotations

import datetime
import enum
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from logql.record import guard
from logql.record.values import convert
from tests.record.running import read_logged, read_runs, read_values, record


class Color(enum.IntEnum):
    RED = 2


def test_plain_values_stay() -> None:
    now = datetime.datetime(2026, 1, 2, 3, 4, 5)
    values = [None, True, 3, 2**80, 0.5, "text", b"bytes", now, now.date()]
    assert [convert(value) for value in values] == values
    assert [type(convert(value)) for value in values] == [type(value) for value in values]


def test_subclasses_become_what_they_are_of() -> None:
    class Text(str):
        __slots__ = ()

    assert type(convert(Color.RED)) is int
    assert type(convert(Text("a"))) is str


def test_containers_are_copied() -> None:
    value: dict[Any, Any] = {"a": [1, (2, {"b": {3}})], 4: None}
    found = convert(value)
    value["a"].append(5)
    assert found == {"a": [1, [2, {"b": [3]}]], "4": None}


def test_a_container_that_holds_itself_ends() -> None:
    value: list[Any] = [1]
    value.append(value)
    assert isinstance(convert(value), list)


def test_anything_else_is_its_repr_with_one_warning(capsys: pytest.CaptureFixture[str]) -> None:
    guard.forget_warnings()
    assert convert(Decimal("1.5")) == "Decimal('1.5')"
    assert convert(Decimal("2.5")) == "Decimal('2.5')"
    assert capsys.readouterr().err.count("Decimal") == 1


def test_what_stands_in_for_a_value_while_a_function_is_traced_is_none(tmp_path: Path) -> None:
    done = record(
        tmp_path,
        """
        import logql
        Tracer = type("Tracer", (), {"__module__": "jax._src.core"})
        JitTracer = type("JitTracer", (Tracer,), {"__module__": "jax._src.core", "tolist": lambda self: 1 / 0})
        for value in (JitTracer(), {"loss": [JitTracer()]}):
            assert logql.log("x", value) is value
        logql.log("y", 1.5)
        """,
    )
    assert read_values(tmp_path / ".logql", "x") == []
    assert read_values(tmp_path / ".logql", "y") == [1.5]
    assert "a value of 'x' is not recorded" in done.stderr
    assert "log what it returns" in done.stderr


def test_an_object_that_raises_when_looked_at() -> None:
    class Bad:
        def __repr__(self) -> str:
            raise RuntimeError

    assert convert(Bad()) == "<Bad>"


def test_numpy() -> None:
    np = pytest.importorskip("numpy")
    cases = [
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array(3.5), 3.5),
        (np.arange(3), [0, 1, 2]),
        (np.ones((2, 2), dtype=np.float32), [[1.0, 1.0], [1.0, 1.0]]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.datetime64("2026-01-02T03:04:05.678901"), datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)),
        (np.datetime64("2026-01-02T03:04:05.678901234"), datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)),
        (np.array(["2026-01-02"], "datetime64[ns]"), [datetime.datetime(2026, 1, 2)]),
        (np.datetime64("2026-01-02"), datetime.date(2026, 1, 2)),
        (np.datetime64("NaT", "ns"), None),
        (np.timedelta64(1500, "ms"), 1.5),
        (np.timedelta64(5, "ns"), 5e-9),
        (np.array([1, 90], "timedelta64[m]"), [60.0, 5400.0]),
        ({"a": np.float32(1)}, {"a": 1.0}),
    ]
    for value, expected in cases:
        assert convert(value) == expected
        assert type(convert(value)) is type(expected)
    assert math.isnan(convert(np.float32("nan")))  # type: ignore[arg-type]


def test_durations_are_seconds_and_moments_are_moments() -> None:
    pd = pytest.importorskip("pandas")
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)
    cases = [
        (datetime.timedelta(minutes=1, microseconds=5), 60.000005),
        (pd.Timedelta("1500ms"), 1.5),
        (pd.Timestamp("2026-01-02 03:04:05.678901234"), moment),
        (pd.NaT, None),
        (pd.Series([moment, None]), [moment, None]),
        (pd.to_timedelta([1, 2], "D").to_series(), [86400.0, 172800.0]),
    ]
    for value, expected in cases:
        assert convert(value) == expected
        assert type(convert(value)) is type(expected)


@pytest.mark.torch
def test_torch() -> None:
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.tensor(2.5))
    assert convert(weight * 2) == 5.0
    assert convert(torch.arange(3)) == [0, 1, 2]
    assert convert(torch.tensor([1.5], dtype=torch.bfloat16)) == [1.5]
    assert convert(torch.tensor(True)) is True
    assert convert({"loss": (weight * 2).sum()}) == {"loss": 5.0}


def test_values_and_names_of_all_kinds_are_recorded(tmp_path: Path) -> None:
    record(
        tmp_path,
        """
        import datetime, math, logql
        values = [1, True, None, "text", b"raw", 2**100, -math.inf, 0.1, {"a": [1, 2]}, datetime.date(2026, 1, 2)]
        for name in ("train/loss", "a.b", 'quo"te', "läß", ""):
            for value in values:
                logql.log(name, value)
                logql.log("always", 1.5)
        logql.log(5, 2.5)
        logql.log(["x"], 3.5)
        """,
    )
    values = [1, True, None, "text", b"raw", 2**100, -math.inf, 0.1, {"a": [1, 2]}, datetime.date(2026, 1, 2)]
    expected: list[tuple[str, object]] = []
    for name in ("train/loss", "a.b", 'quo"te', "läß", ""):
        for value in values:
            expected += [(name or "_", value), ("always", 1.5)]
    found = [(name, value) for _, name, value in read_logged(tmp_path / ".logql")]
    assert repr(found) == repr([*expected, ("5", 2.5), ("['x']", 3.5)])


def test_containers_are_copied_at_the_call(tmp_path: Path) -> None:
    record(tmp_path, "import logql\nx = [1]\nlogql.log('x', x)\nx.append(2)\nlogql.log('x', x)\n")
    assert read_values(tmp_path / ".logql", "x") == [[1], [1, 2]]


def test_a_name_that_repeats_a_column_is_dropped_and_another_value_kept(tmp_path: Path) -> None:
    done = record(
        tmp_path,
        """
        import logql
        lr = logql.arg("lr", 0.1)
        logql.log("lr", lr)
        logql.log("lr", 0.2)
        for epoch in logql.loop("epoch", ["a", "b"]):
            logql.log("epoch", epoch)
            logql.log("epoch_index", 0)
            logql.log("version", "v1")
            logql.log("rank", 0)
        logql.log("epoch", "b")
        """,
    )
    found = [(name, value) for _, name, value in read_logged(tmp_path / ".logql")]
    assert found == [("lr", 0.2), ("version", "v1"), ("epoch_index", 0), ("version", "v1"), ("epoch", "b")]
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    assert '"version_"' in done.stderr


def test_arguments_take_the_type_of_their_default(tmp_path: Path) -> None:
    script = """
        import logql
        wanted = [("lr", 0.1), ("n", 3), ("on", False), ("s", "a"), ("x", None), ("l", [1]), ("q", 7)]
        print([logql.arg(*pair) for pair in wanted])
        """
    assert record(tmp_path, script).stdout == "[0.1, 3, False, 'a', None, [1], 7]\n"
    overrides = {"LOGQL_ARGS": "lr=1 n=5 on=true s='b c' x=2.5 l=4,5 q=many"}
    done = record(tmp_path, script, env=overrides)
    assert done.stdout == "[1.0, 5, True, 'b c', 2.5, [4, 5], 7]\n"
    assert done.stderr.count("q='many' is no int") == 1
    first, second = read_runs(tmp_path / ".logql")
    assert first.args == {"lr": 0.1, "n": 3, "on": False, "s": "a", "x": None, "l": [1], "q": 7}
    assert second.args == {"lr": 1.0, "n": 5, "on": True, "s": "b c", "x": 2.5, "l": [4, 5], "q": 7}
