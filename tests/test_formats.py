"""Results as text and bytes: each format read back by its own reader where there is one."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import struct
import termios
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logql.formats import show, write_result


@pytest.fixture
def table() -> pa.Table:
    return pa.table(
        {
            "name": pa.array(["a,b", 'quo"te', None, "日本\n"]),
            "loss": pa.array([0.1, float("nan"), None, 12345678.9]),
            "big": pa.array([2**53 + 1, -1, None, 0], pa.int64()),
            "ok": pa.array([True, False, None, True]),
            "at": pa.array([datetime(2026, 3, 1, 12, 30, 0, 5), None, None, None], pa.timestamp("us")),
            "list": pa.array([[1.5, None], [], None, [float("inf")]], pa.list_(pa.float64())),
            "raw": pa.array([b"\0\xff", b"", None, b"x"]),
        }
    )


def write(table: pa.Table, form: str) -> str:
    stream = io.StringIO()
    assert write_result(table.to_reader(), form, stream) == table.num_rows
    return stream.getvalue()


def test_csv(table: pa.Table) -> None:
    rows = list(csv.reader(io.StringIO(write(table, "csv"))))
    assert rows[0] == table.schema.names
    assert rows[1] == ["a,b", "0.1", "9007199254740993", "true", "2026-03-01 12:30:00.000005", "[1.5, null]", "AP8="]
    assert rows[2][:4] == ['quo"te', "nan", "-1", "false"]
    assert rows[3] == [""] * 7


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json(table: pa.Table, form: str) -> None:
    text = write(table, form)
    rows = json.loads(text) if form == "json" else [json.loads(line) for line in text.splitlines()]
    assert rows[0]["big"] == 2**53 + 1
    assert rows[0]["list"] == [1.5, None]
    assert rows[1]["loss"] == "NaN"
    assert rows[2] == dict.fromkeys(table.schema.names)
    assert rows[3]["list"] == ["Infinity"]


def test_numbers_intervals_and_maps_as_duckdb_has_them() -> None:
    moments = [(0, 0, 0), (1, 0, 0), (-14, 1, -1), (0, 2, 3_600_500_000), (13, -1, 90_000_000_000), (0, 0, 1)]
    values = ", ".join(f"to_months({m}) + to_days({d}) + to_microseconds({us})" for m, d, us in moments)
    query = (
        "SELECT sum(i) AS s, 1.25::DECIMAL(5, 2) AS d, '12345678901234567890.5'::DECIMAL(38, 1) AS long, "
        f"[{values}] AS t, t::VARCHAR[] AS told, to_days(2) AS i, MAP {{'a': 1}} AS m, "
        "MAP {}::MAP(VARCHAR, INTEGER) AS e, [MAP {1: to_days(1)}] AS l FROM range(5) r(i)"
    )
    found = duckdb.sql(query).to_arrow_table()
    row = json.loads(write(found, "jsonl"))
    assert row.pop("t") == row.pop("told")
    assert row == {
        "s": 10, "d": 1.25, "long": "12345678901234567890.5", "i": "2 days",
        "m": {"a": 1}, "e": {}, "l": [{"1": "1 day"}],
    }  # fmt: skip
    assert show(found.column("i")[0].as_py()) == "2 days"


def test_json_without_rows(table: pa.Table) -> None:
    assert json.loads(write(table.slice(0, 0), "json")) == []


def test_columns_of_the_same_name_stay_apart_in_json() -> None:
    table = pa.table([pa.array([1]), pa.array([2])], names=["x", "x"])
    assert json.loads(write(table, "jsonl")) == {"x": 1, "x_1": 2}


def test_table_is_aligned() -> None:
    table = pa.table({"epoch": [0, 10], "grad_norm": [0.25, None], "text": ["一", "a\x1b[31m"]})
    assert write(table, "table").splitlines() == [
        "epoch  grad_norm  text",
        "-----  ---------  ---------",
        "    0       0.25  一",
        "   10       NULL  a\\x1b[31m",
    ]


def test_markdown() -> None:
    table = pa.table({"n": [1], "te|xt": ["a|b"]})
    assert write(table, "markdown").splitlines() == ["|   n | te\\|xt |", "| --: | ------ |", "|   1 | a\\|b   |"]


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_binary(table: pa.Table, form: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    write_result(table.to_reader(), form, stream)
    data = stream.buffer.getvalue() if isinstance(stream.buffer, io.BytesIO) else b""
    found = pq.read_table(io.BytesIO(data)) if form == "parquet" else pa.ipc.open_stream(data).read_all()
    assert found.schema.equals(table.schema)
    assert found.drop(["loss"]).equals(table.drop(["loss"]))  # a NaN equals nothing
    assert repr(found.column("loss").to_pylist()) == repr(table.column("loss").to_pylist())


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "NULL"), (0.1 + 0.2, "0.3"), (1e-9, "1e-09"), (float("nan"), "nan"), (True, "true"), ("a\tb", "a\\tb")],
)
def test_cells(value: object, text: str) -> None:
    assert show(value) == text


def on_terminal(table: pa.Table, columns: int) -> str:
    """What a terminal of that width gets to see of a table."""
    leader, follower = pty.openpty()
    try:
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        with open(follower, "w", encoding="utf-8", closefd=False) as stream:
            write_result(table.to_reader(), "table", stream)
        os.close(follower)
        chunks = []
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:
                break
            if not chunk:
                break
            chunks.append(chunk)
        return b"".join(chunks).decode().replace("\r\n", "\n")
    finally:
        os.close(leader)


def test_terminal_gets_what_fits_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    table = pa.table({f"column_number_{i}": ["x" * 40] for i in range(6)})
    lines = on_terminal(table, 60).splitlines()
    assert max(len(line) for line in lines[:3]) <= 60
    assert lines[-1] == "(2 columns not shown: use --format csv or a narrower query)"


def test_terminal_gets_the_ends_of_a_long_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    lines = on_terminal(pa.table({"n": list(range(300))}), 80).splitlines()
    assert len(lines) == 2 + 201 + 1
    assert lines[-2].strip() == "299"
    assert lines[-1] == "(100 of 300 rows not shown: use --format csv or a narrower query)"


def test_colour_only_where_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[1m" in on_terminal(pa.table({"n": [1]}), 80)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in on_terminal(pa.table({"n": [1]}), 80)
