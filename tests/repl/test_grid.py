"""Tables for terminals: they fit, they say what they leave out, and NULL is no text."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logql.repl.grid import View, cut, cut_lines, draw, text_width


def lines(table: pa.Table, style: str = "duckbox", **view: object) -> list[str]:
    types = ["BIGINT" if pa.types.is_integer(field.type) else "VARCHAR" for field in table.schema]
    return list(draw(table.to_reader(), types, style, View(**view)))  # type: ignore[arg-type]


def test_duckbox() -> None:
    table = pa.table({"n": [1, None], "text": ["日本", "NULL"]})
    assert lines(table) == [
        "┌────────┬─────────┐",
        "│      n │ text    │",
        "│ bigint │ varchar │",
        "├────────┼─────────┤",
        "│      1 │ 日本    │",
        "│   NULL │ 'NULL'  │",
        "└────────┴─────────┘",
        "2 rows",
    ]


def test_column_and_table() -> None:
    table = pa.table({"n": [1], "t": ["x"]})
    assert lines(table, "column") == ["n  t", "-  -", "1  x"]
    assert lines(table, "table") == ["+---+---+", "| n | t |", "+---+---+", "| 1 | x |", "+---+---+"]


def test_rows_left_out_are_told() -> None:
    shown = lines(pa.table({"n": list(range(1000))}), rows=5)
    assert [line.strip("│ ") for line in shown[4:-2]] == ["0", "1", "2", "·", "·", "·", "998", "999"]
    assert shown[-1] == "1,000 rows (5 shown)"


def test_columns_left_out_are_told() -> None:
    table = pa.table({f"column_{i}": ["a long text that takes room"] for i in range(20)})
    shown = lines(table, width=60)
    assert max(map(text_width, shown)) <= 60
    assert shown[-1] == "1 row  20 columns (4 shown)"
    assert "column_0" in shown[1]
    assert "column_19" in shown[1]
    assert "…" in shown[1]


def test_styles_only_where_wanted() -> None:
    table = pa.table({"n": [None]}, schema=pa.schema([("n", pa.int64())]))
    assert "\x1b" not in "".join(lines(table))
    assert "│ \x1b[2m  NULL\x1b[0m │" in lines(table, styled=True, width=80)


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in "".join(lines(pa.table({"a\x1b[31m": ["\x1b[2J", "a\nb"][:2]})))


def test_no_rows_and_one_long_text() -> None:
    assert lines(pa.table({"n": pa.array([], pa.int64())}))[-1] == "0 rows"
    (row,) = [line for line in lines(pa.table({"t": ["x" * 500_000]}), width=40) if "xx" in line]
    assert text_width(row) == 40
    assert "…" in row


def test_plans_are_cut_and_say_so() -> None:
    assert cut_lines("short\na much longer line\n", 10) == (
        "short\na much lo…\n(lines cut to fit: .output FILE writes them whole)\n"
    )
    assert cut_lines("short\n", 10) == "short\n"
    assert cut_lines("a much longer line\n", None) == "a much longer line\n"


@given(st.text(), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_cut_texts_fit(text: str, width: int) -> None:
    assert text_width(cut(text, width)) <= width or text_width(text) <= width


@given(
    st.lists(st.tuples(st.text(max_size=40), st.integers(0, 10**12)), max_size=6),
    st.integers(20, 120),
    st.sampled_from(["duckbox", "box", "table", "column"]),
)
@settings(max_examples=60, deadline=None)
def test_tables_fit(rows: list[tuple[str, int]], width: int, style: str) -> None:
    table = pa.table({"text": pa.array([row[0] for row in rows], pa.string()), "n": [row[1] for row in rows]})
    grid = [line for line in lines(table, style, width=width) if not line.endswith("shown)")]
    assert all(text_width(line) <= width for line in grid)


@pytest.mark.parametrize("style", ["duckbox", "box", "table"])
def test_lines_of_a_grid_are_equally_wide(style: str) -> None:
    table = pa.table({"t": ["é", "日本語", "plain", ""], "n": [1, 22, None, 4]})
    shown = [line for line in lines(table, style) if not line.endswith("rows")]
    assert len({text_width(line) for line in shown}) == 1


@given(st.lists(st.integers(0, 7), max_size=8), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_batches_make_no_difference(sizes: list[int], rows: int) -> None:
    table = pa.table({"n": pa.array(range(sum(sizes)), pa.int64())})
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    batches = [batch for i, n in zip(starts, sizes, strict=True) for batch in table.slice(i, n).to_batches()]
    reader = pa.RecordBatchReader.from_batches(table.schema, batches)
    assert list(draw(reader, ["BIGINT"], "duckbox", View(rows=rows))) == lines(table, rows=rows)
