"""Level tables from events: types, parts, names, order."""

from __future__ import annotations

import datetime
import math
import subprocess
import sys
from pathlib import Path as FilePath
from typing import Any

import pytest

from logql.model import Enter, Event, Line, Logged, Path, Shape, Step
from logql.store import levels
from logql.store.columns import scatter
from logql.store.types import unify


def program(*actions: tuple[Any, ...]) -> list[Event]:
    """Events from ("enter", path) and (path, name, value); seq counts them."""
    found: list[Event] = []
    for seq, action in enumerate(actions):
        if action[0] == "enter":
            found.append(Enter(action[1], action[1][-1].index, seq, float(seq)))
        else:
            found.append(Logged(action[0], action[1], action[2], seq, 0, float(seq)))
    return found


def at(*steps: tuple[str, int] | tuple[str, int, int]) -> Path:
    return tuple(Step(step[0], step[2] if len(step) == 3 else 0, step[1]) for step in steps)


def rows(table: Any, *columns: str) -> list[tuple[object, ...]]:
    return [tuple(row[column] for column in columns) for row in table.to_pylist()]


def values_of(*values: object) -> Any:
    """The epoch table where `x` is one of `values` per epoch."""
    actions: list[tuple[Any, ...]] = []
    for index, value in enumerate(values):
        actions += [("enter", at(("epoch", index))), (at(("epoch", index)), "x", value)]
    return levels.build("R", "V", 0, program(*actions))["epoch"]


def test_every_iteration_has_a_row_and_the_run_has_one() -> None:
    tables = levels.build("R", "V", 3, program(("enter", at(("epoch", 0))), ("enter", at(("epoch", 1)))))
    assert rows(tables["run"], "version", "run", "rank", "ts", "_part") == [("V", "R", 3, None, None)]
    assert rows(tables["epoch"], "epoch", "epoch_index", "epoch_entry", "_seq") == [(0, 0, 0, 0), (1, 1, 0, 1)]


def test_a_level_has_the_columns_of_all_loops_around_it() -> None:
    outer, inner = at(("epoch", 2)), at(("epoch", 2), ("step", 5, 1))
    events: list[Event] = [
        Enter(outer, "red", 0, 1.0), Enter(inner, None, 1, 2.0), Logged(inner, "loss", 0.5, 2, 0, 3.0)
    ]  # fmt: skip
    table = levels.build("R", "V", 0, events)["epoch.step"]
    assert table.column_names == [
        "version", "run", "rank", "epoch", "epoch_index", "epoch_entry", "step", "step_index", "step_entry",
        "ts", "_seq", "_sub", "_part", "_order", "_null", "loss",
    ]  # fmt: skip
    assert rows(table, "epoch", "epoch_index", "step", "step_index", "step_entry", "loss") == [("red", 2, 5, 5, 1, 0.5)]
    assert rows(table, "ts") == [(datetime.datetime(1970, 1, 1, 0, 0, 3),)]


@pytest.mark.parametrize(
    ("values", "type_", "stored", "texts"),
    [
        ((1, 2), "int64", [1, 2], None),
        ((True, False, None), "bool", [True, False, None], None),
        ((True, 2), "int64", [1, 2], None),
        ((1, 2.5, False), "double", [1.0, 2.5, 0.0], None),
        ((1.5, "n/a", None), "double", [1.5, None, None], [None, "n/a", None]),
        ((1, 1 << 70), "int64", [1, None], [None, str(1 << 70)]),
        ((0.5, (1 << 53) + 1, 1 << 53), "double", [0.5, None, 2.0**53], [None, str((1 << 53) + 1), None]),
        (("a", "é\udc80"), "string", ["a", "é?"], None),
        ((b"\0x",), "binary", [b"\0x"], None),
        (([1, 2], [0.5], []), "list<item: double>", [[1, 2], [0.5], []], None),
        (([1, None], None), "list<item: int64>", [[1, None], None], None),
        (([1], ["a"]), "list<item: int64>", [[1], None], [None, '["a"]']),
        (({"a": 1}, {"a": 0.5}), "struct<a: double>", [{"a": 1.0}, {"a": 0.5}], None),
        (({"a": 1}, {"b": 2}), "string", ['{"a": 1}', '{"b": 2}'], None),
        (({"a": {"b": [1]}},), "struct<a: struct<b: list<item: int64>>>", [{"a": {"b": [1]}}], None),
        ((datetime.date(2026, 1, 2),), "date32[day]", [datetime.date(2026, 1, 2)], None),
        (
            (datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC)),
            "timestamp[us]",
            [datetime.datetime(2026, 1, 2), datetime.datetime(2026, 1, 2, 3)],
            None,
        ),
        ((datetime.time(1, 2, 3, 4),), "time64[us]", [datetime.time(1, 2, 3, 4)], None),
        ((None, None), "null", [None, None], None),
        ((math.inf, -math.inf), "double", [math.inf, -math.inf], None),
    ],
)
def test_types_of_values(values: tuple[object, ...], type_: str, stored: list[object], texts: list[str] | None) -> None:
    table = values_of(*values)
    assert str(table.schema.field("x").type) == type_
    assert table.column("x").to_pylist() == stored
    assert (table.column("x$text").to_pylist() if "x$text" in table.column_names else None) == texts


def test_nan_is_a_value_and_none_is_listed() -> None:
    table = values_of(math.nan, None)
    assert table.column("x").null_count == 1
    assert math.isnan(table.column("x").to_pylist()[0])
    assert table.column("_null").to_pylist() == [None, ["x"]]


def test_a_repeated_name_makes_parts() -> None:
    epoch = at(("epoch", 0))
    table = levels.build("R", "V", 0, program(
        ("enter", epoch), (epoch, "a", 1), (epoch, "b", 1), (epoch, "b", 2), (epoch, "c", None),
        ("enter", at(("epoch", 1))), (at(("epoch", 1)), "a", 5),
    ))["epoch"]  # fmt: skip
    assert rows(table, "epoch", "_part", "_seq", "_order", "_null", "a", "b", "c") == [
        (0, 0, 1, ["a", "b"], None, 1, 1, None),
        (0, 1, 3, ["b", "c"], ["c"], None, 2, None),
        (1, None, 5, None, None, 5, None, None),
    ]


def test_an_inner_iteration_ends_a_part_only_where_names_repeat() -> None:
    epoch, step = at(("epoch", 0)), at(("epoch", 0), ("step", 0))
    once = program(("enter", epoch), (epoch, "a", 1), ("enter", step), (epoch, "b", 2))
    assert rows(levels.build("R", "V", 0, once)["epoch"], "_part", "a", "b") == [(None, 1, 2)]
    again = [*once, *program((epoch, "a", 3))]
    again[-1] = again[-1]._replace(seq=4)
    assert rows(levels.build("R", "V", 0, again)["epoch"], "_part", "_seq", "_order", "a", "b") == [
        (0, 1, ["a"], 1, None),
        (1, 3, ["b", "a"], 3, 2),
    ]


def test_contexts_that_interleave_find_their_repeats() -> None:
    one, two = at(("epoch", 0)), at(("epoch", 1))
    table = levels.build("R", "V", 0, program(
        ("enter", one), ("enter", two), (one, "a", 1), (two, "a", 2), (one, "a", 3)
    ))["epoch"]  # fmt: skip
    assert rows(table, "epoch", "_part", "a") == [(0, 0, 1), (0, 1, 3), (1, None, 2)]


def test_rows_are_sorted_by_context() -> None:
    paths = [at(("epoch", 1)), at(("epoch", 0)), at(("epoch", 0, 1))]
    table = levels.build("R", "V", 0, program(*[("enter", path) for path in paths]))["epoch"]
    assert rows(table, "epoch_entry", "epoch_index") == [(0, 0), (0, 1), (1, 0)]


def test_loops_with_one_name_or_a_reserved_one() -> None:
    path = at(("run", 1), ("run", 2))
    table = levels.build("R", "V", 0, program(("enter", path)))["run.run"]
    assert levels.loop_names(("run", "run")) == ("run_", "run__2")
    assert rows(table, "run", "run_", "run__2_index") == [("R", 1, 2)]


def test_items_of_several_kinds_are_text() -> None:
    events = [Enter(at(("fold", 0)), "a", 0, 0.0), Enter(at(("fold", 1)), 7, 1, 0.0)]
    assert rows(levels.build("R", "V", 0, events)["fold"], "fold") == [("a",), ("7",)]


def test_output_is_a_level() -> None:
    epoch = at(("epoch", 4))
    events: list[Event] = [
        Line((), "stdout", None, None, "start", -1, 1.0),
        Enter(epoch, 40, 0, 1.0),
        Line(epoch, "log", "root", "INFO", "é", 0, 2.0),
    ]
    table = levels.build("R", "V", 0, events)["output"]
    assert rows(table, "epoch", "epoch_index", "stream", "logger", "severity", "line", "_seq") == [
        (None, None, "stdout", None, None, "start", -1), (40, 4, "log", "root", "INFO", "é", 0)
    ]  # fmt: skip


def test_stored_names_are_used_everywhere() -> None:
    epoch = at(("epoch", 0))
    events = program(("enter", epoch), (epoch, "Loss", None), (epoch, "Loss", "x"))
    table = levels.build("R", "V", 0, events, {"Loss": "Loss_2"})["epoch"]
    assert rows(table, "_order", "_null", "Loss_2") == [(["Loss_2"], ["Loss_2"], None), (["Loss_2"], None, "x")]


def test_shape_of_a_run() -> None:
    epoch, step = at(("epoch", 0)), at(("epoch", 0), ("step", 0))
    tables = levels.build("R", "V", 0, program(
        ("enter", epoch), ("enter", step), (step, "loss", 0.5), (epoch, "a", 1), (epoch, "a", "n/a"), (epoch, "b", 1)
    ))  # fmt: skip
    assert levels.shape_of(tables) == Shape(
        {(): {}, ("epoch",): {"a": "BIGINT", "b": "BIGINT"}, ("epoch", "step"): {"loss": "DOUBLE"}},
        {"epoch": "BIGINT", "step": "BIGINT"},
        {("epoch",): frozenset({"a"})},
    )


@pytest.mark.parametrize(
    ("types", "unified"),
    [
        (["BOOLEAN", "BIGINT"], "BIGINT"),
        (["VARCHAR", "DOUBLE"], "DOUBLE"),
        (["NULL", "VARCHAR", "NULL"], "VARCHAR"),
        (["DATE", "TIMESTAMP"], "TIMESTAMP"),
        (["BIGINT[]", "DOUBLE[]"], "DOUBLE[]"),
        (['STRUCT("a,b" BIGINT, "c""" DATE[])', 'STRUCT("a,b" DOUBLE, "c""" NULL[])'],
         'STRUCT("a,b" DOUBLE, "c""" DATE[])'),
        (['STRUCT("a" BIGINT)', 'STRUCT("b" BIGINT)'], "VARCHAR"),
        ([], "NULL"),
    ],
)  # fmt: skip
def test_types_of_several_files_unify(types: list[str], unified: str) -> None:
    assert unify(types) == unified


def test_building_does_not_import_pandas(tmp_path: FilePath) -> None:
    script = (
        "import sys; from tests.store.history import epochs; from logql.store import levels, parquet\n"
        "tables = levels.build('R', 'V', 0, epochs(3, 2)); levels.shape_of(tables)\n"
        "[parquet.write(sys.argv[1], f'logs/{n}.parquet', t, {}) for n, t in tables.items()]\n"
        "sys.exit('pandas' in sys.modules)"
    )
    root = FilePath(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=root, check=False).returncode == 0


def test_values_out_of_row_order_stay_with_their_rows() -> None:
    import pyarrow as pa

    assert scatter(pa.array(["a", "b", "c", "d"]), [0, 2, 1, 3], 4).to_pylist() == ["a", "c", "b", "d"]
    assert scatter(pa.array(["a"]), [1], 3).to_pylist() == [None, "a", None]
