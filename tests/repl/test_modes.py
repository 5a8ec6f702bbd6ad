"""The forms of `.mode`, each as DuckDB writes it or read back by a reader of that form."""

from __future__ import annotations

import csv
import io
import json

import duckdb
import pyarrow as pa
import pytest

from logql.errors import ProgrammingError
from logql.repl.grid import View
from logql.repl.modes import MODES, check_mode, write

TABLE = pa.table({"n": [1, None], "text": ["a|b's", None]})
TYPES = ["BIGINT", "VARCHAR"]


def text(mode: str, table: pa.Table = TABLE) -> str:
    stream = io.StringIO()
    write(table.to_reader(), TYPES, mode, stream, View())
    return stream.getvalue()


def test_all_of_duckdbs_are_there() -> None:
    names = "ascii box column csv duckbox html insert json jsonlines latex line list markdown quote table tabs trash"
    assert set(names.split()) == set(MODES)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("list", "n|text\n1|a|b's\n|\n"),
        ("tabs", "n\ttext\n1\ta|b's\n\t\n"),
        ("ascii", "n\x1ftext\n1\x1fa|b's\n\x1f\n"),
        ("line", "   n = 1\ntext = a|b's\n\n   n = NULL\ntext = NULL\n"),
        ("quote", "'n','text'\n1,'a|b''s'\nNULL,NULL\n"),
        ("trash", ""),
        (
            "html",
            (
                "<table>\n<tr><th>n</th><th>text</th></tr>\n<tr><td>1</td><td>a|b&#x27;s</td></tr>\n"
                "<tr><td>NULL</td><td>NULL</td></tr>\n</table>\n"
            ),
        ),
        ("latex", "\\begin{tabular}{ll}\nn & text \\\\\n1 & a|b's \\\\\nNULL & NULL \\\\\n\\end{tabular}\n"),
    ],
)
def test_text(mode: str, expected: str) -> None:
    assert text(mode) == expected


def test_read_back() -> None:
    assert list(csv.reader(io.StringIO(text("csv")))) == [["n", "text"], ["1", "a|b's"], ["", ""]]
    assert json.loads(text("json")) == TABLE.to_pylist()
    assert [json.loads(line) for line in text("jsonlines").splitlines()] == TABLE.to_pylist()


def test_insert_runs() -> None:
    table = pa.table({"n": [1.5, float("inf"), None], "l": [["a'b"], [], None], "b": [b"\0x", None, b""]})
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE result (n DOUBLE, l VARCHAR[], b BLOB)")
        connection.execute(text("insert", table))
        assert connection.execute("SELECT * FROM result").fetchall() == [
            (1.5, ["a'b"], b"\0x"),
            (float("inf"), [], None),
            (None, None, b""),
        ]


def test_unknown_mode() -> None:
    assert check_mode("CSV") == "csv"
    with pytest.raises(ProgrammingError, match="there is no mode 'excel'"):
        check_mode("excel")
