"""Values that Python has no type for: DuckDB's client says what they are, and its VARCHAR how they are written."""

from __future__ import annotations

import io
import json
import tempfile

import duckdb
import pyarrow.parquet as pq
import pytest

from logql import errors
from logql.formats import write_result
from logql.rows import python_rows

DAYS = [
    "'infinity'::DATE", "'-infinity'::DATE", "DATE '20000-02-29'", "'0044-03-15 (BC)'::DATE", "'0001-12-31 (BC)'::DATE",
    "DATE '0001-01-01'", "DATE '9999-12-31'", "DATE '10000-01-01'", "DATE '5881580-07-10'",
    "'5877642-06-25 (BC)'::DATE",
    "'infinity'::TIMESTAMP", "'-infinity'::TIMESTAMP", "TIMESTAMP '290000-01-01 10:00:00.5'", "NULL::DATE",
    "'0044-03-15 (BC) 23:59:59.000001'::TIMESTAMP", "TIMESTAMP_S '20000-01-01 00:00:01'", "'infinity'::TIMESTAMP_MS",
    "'24:00:00'::TIME", "TIME '23:59:59'", "'0101'::BIT", "2::BIGNUM", "(-3000)::BIGNUM", "0::BIGNUM", "NULL::BIGNUM",
    "(12345678901234567890::HUGEINT * 98765432109876543)::VARCHAR::BIGNUM",
]  # fmt: skip
NESTED = [
    "['infinity'::DATE, NULL, DATE '2024-01-02']", "{'a': DATE '20000-01-01', 'b': ['-infinity'::TIMESTAMP]}",
    "MAP {'a': 'infinity'::DATE, 'b': NULL}", "MAP {{'a': 1}: 'x'}", "MAP {[1, 2]: DATE '20000-01-01'}",
    "union_value(a := 'infinity'::DATE)", "[]::DATE[]",
]  # fmt: skip


@pytest.mark.parametrize("expression", [*DAYS, *NESTED])
def test_values_are_those_of_duckdbs_client(expression: str) -> None:
    with duckdb.connect() as connection:
        found = connection.sql(f"SELECT {expression} AS a, 1 AS b UNION ALL SELECT NULL, 2")
        types = [str(type_) for type_ in found.types]
        assert python_rows(found.to_arrow_table(), types) == found.fetchall()


@pytest.mark.parametrize("expression", DAYS)
def test_texts_are_those_of_duckdb(expression: str) -> None:
    with duckdb.connect() as connection:
        found = connection.sql(f"SELECT {expression} AS a")
        types = [str(type_) for type_ in found.types]
        ((expected,),) = connection.sql(f"SELECT ({expression})::VARCHAR").fetchall()
        stream = io.StringIO()
        write_result(found.to_arrow_table().to_reader(), "csv", stream, types)
    written = stream.getvalue().splitlines()[1].strip('"')
    assert (written or None) == expected


def test_keys_of_maps_are_text_in_json() -> None:
    stream = io.StringIO()
    with duckdb.connect() as connection:
        sql = "SELECT MAP {{'a': 1}: DATE '20000-01-01'} AS m, [MAP {[1]: 2}] AS n"
        write_result(connection.sql(sql).to_arrow_table().to_reader(), "jsonl", stream)
    assert json.loads(stream.getvalue()) == {"m": {'{"a": 1}': "20000-01-01"}, "n": [{"[1]": 2}]}


@pytest.mark.parametrize("expression", ["INTERVAL 1 MONTH", "[INTERVAL 1 DAY]", "{'a': INTERVAL 2 DAY}", "MAP {}"])
def test_parquet_has_what_arrow_cannot_write(expression: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    with duckdb.connect() as connection:
        found = connection.sql(f"SELECT {expression} AS a, range AS b FROM range(3)")
        with pytest.raises(Exception, match=r"type|nullable"):
            pq.write_table(found.to_arrow_table(), io.BytesIO())
        assert write_result(found.to_arrow_table().to_reader(), "parquet", stream) == 3
        connection.execute(f"CREATE TEMP TABLE kept AS SELECT {expression} AS a, range AS b FROM range(3)")
        expected = connection.sql("FROM kept").fetchall()
    assert _read_back(stream.buffer) == expected


def test_parquet_refuses_what_it_has_no_type_for() -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    with duckdb.connect() as connection:
        table = connection.sql("SELECT INTERVAL '-1 month' AS a").to_arrow_table()
    with pytest.raises(errors.Error, match="negative intervals"):
        write_result(table.to_reader(), "parquet", stream)


def _read_back(stream: io.BytesIO) -> list[tuple[object, ...]]:
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file, duckdb.connect() as connection:
        file.write(stream.getvalue())
        file.flush()
        return connection.sql(f"FROM '{file.name}'").fetchall()
