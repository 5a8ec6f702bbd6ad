"""What a syntax tree is written as means what was read: DuckDB itself says so, of each of its functions."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest
from sqlglot import exp

from logql.sql.dialect import LEFT_ALONE, read, write
from logql.sql.macros import parse

#: Arguments by DuckDB's names of types, by place.
ARGUMENTS = {
    "BIGINT": ("3", "2", "7"), "INTEGER": ("3", "2", "1"), "DOUBLE": ("2.5::DOUBLE", "0.75::DOUBLE", "0.5::DOUBLE"),
    "DECIMAL": ("1.25", "2.5"), "BOOLEAN": ("true", "false"), "VARCHAR": ("'aBcd'", "'Bc'", "'x'", "'i'"),
    "DATE": ("DATE '2024-03-31'", "DATE '2023-01-05'"), "INTERVAL": ("INTERVAL 5 DAY", "INTERVAL 2 HOUR"),
    "TIMESTAMP": ("TIMESTAMP '2024-03-31 06:07:08.5'", "TIMESTAMP '2023-01-05 01:02:03'"),
    "TIME": ("TIME '06:07:08'", "TIME '01:02:03'"), "BLOB": ("'a\\xFF'::BLOB", "'b'::BLOB"), "BIT": ("'101'::BIT",),
    "LAMBDA": ("lambda x: x + 1", "lambda x, y: x + y", "lambda x, y: x - y"), "MAP": ("MAP {1: 2}", "MAP {3: 4}"),
    "STRUCT": ("{'a': 1}", "{'b': 2}"), "JSON": ("""'{"a": [1, 2]}'::JSON""", "'[1]'::JSON"),
    "VARCHAR[]": ("['b', 'a']", "['c']"), "DOUBLE[]": ("[3.5, 1]::DOUBLE[]", "[1, 0]::DOUBLE[]"),
}  # fmt: skip
LISTS = ("[3, 1, 2]", "[2, 5]")
#: Other answers at each call.
FLEETING = (
    "random",
    "uuid",
    "current",
    "get_current",
    "now",
    "local",
    "txid",
    "today",
    "clock",
    "transaction",
    "sleep",
)

EXPRESSIONS = """
j -> 'a.b'
j ->> 'a.b'
j ->> '$.b[1]'
j -> 'b' -> 1
json_extract(j, 'a.b')
json_extract_string(j, 'b[0]')
json_extract_string(j, ['$.a', 'a.b'])
d <=> [1, 2]::DOUBLE[2]
d <=> [1, 2]::DOUBLE[2] < 0.3
(d::DOUBLE[] <=> [1, 2]::DOUBLE[]) + (d::DOUBLE[] <-> [1, 2]::DOUBLE[])
i IS NOT DISTINCT FROM 2
decode('a\\xFFb'::BLOB, 'replace')
reduce(apply(xs, lambda x: x + i), lambda a, b: a - b)
reduce(xs, lambda a, b: a - b, 100)
list_reduce(xs, lambda a, b: a - b, 100)
xs[::-1]
xs[:-:2]
date_add(DATE '2024-01-31', 1)
jaro_winkler_similarity('abc', 'ABD')
jaro_winkler_similarity('abc', 'abd', 0.99)
regexp_replace('a.b axb', 'a.b', 'X', 'lg')
regexp_extract('axb a.b', 'a.b', 0, 'l')
regexp_extract_all('axb a.b', 'a.b', 0, 'l')
regexp_matches('AXB', 'a.b', 'i')
log2(i + 4)
-i ^ 2
2 ^ 3 ^ 2
i // 2 % 2
NOT i & 1 = 1
m['k']
s.n.z
[x * 2 FOR x IN xs IF x > 1]
list_sort(xs, 'DESC', 'NULLS FIRST')
strftime(DATE '2024-01-02', '%d %-d %j')
substring('abc' FROM 2 FOR 1)
TRY_CAST('x' AS INT)
INTERVAL 3 MONTH + INTERVAL '2' DAY
""".strip().split("\n")
SOURCE = """SELECT i, [i, i + 1, 9] AS xs, [1, i]::DOUBLE[2] AS d, MAP {'k': i} AS m, {'n': {'z': i}} AS s,
    ('{"a": ' || i || ', "a.b": 5, "b": [1, 2], "b[0]": 7}')::JSON AS j FROM range(1, 4) r(i)"""


@pytest.fixture(scope="module")
def plain() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def answer(plain: duckdb.DuckDBPyConnection, sql: str) -> str | None:
    """Types and rows as text; None where DuckDB refuses."""
    try:
        found = plain.sql(sql)
        return f"{found.types} {found.fetchall()}"
    except duckdb.Error:
        return None


def calls(plain: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """A call of each variant of each of DuckDB's functions."""
    listed = (
        "SELECT DISTINCT function_name, parameter_types, varargs FROM duckdb_functions() "
        "WHERE function_type IN ('scalar', 'aggregate', 'macro') ORDER BY ALL"
    )
    for name, types, more in plain.execute(listed).fetchall():
        if not name.replace("_", "").isalnum() or name.startswith(FLEETING):
            continue
        for extra in range(3 if more else 1):
            yield f"{name}({', '.join(argument(kind, n) for n, kind in enumerate([*types, *[more] * extra]))})"


def argument(kind: str | None, place: int) -> str:
    kind = kind or "ANY"
    known = ARGUMENTS.get(kind) or (LISTS if kind.endswith("]") else ARGUMENTS.get(kind.partition("(")[0]))
    known = known or (f"{place + 2}::{kind}" if kind.endswith(("INT", "FLOAT", "INTEGER")) else str(4 - place),)
    return known[place % len(known)]


def test_functions_are_called_with_what_was_given(plain: duckdb.DuckDBPyConnection) -> None:
    """But for those without arguments, which take none in sqlglot either, and are no use."""
    asked, wrong = 0, []
    for call in calls(plain):
        sql = f"SELECT {call} AS v FROM (SELECT 1 AS i) AS t"
        expected = None if call.endswith("()") else answer(plain, sql)
        if expected is not None:
            asked += 1
            if answer(plain, write(parse(sql))) != expected:
                wrong.append(call)
    assert not wrong
    assert asked > 800


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_operators_mean_the_same(plain: duckdb.DuckDBPyConnection, expression: str) -> None:
    sql = f"SELECT {expression} AS v FROM ({SOURCE}) AS t ORDER BY i"
    expected = answer(plain, sql)
    assert expected is not None
    assert answer(plain, write(parse(sql))) == expected


def test_calls_that_are_left_alone_are_calls_all_the_same() -> None:
    tree = read("SELECT decode(b, 'x') /* a remark */, apply FROM t apply WHERE (log2(x)) > 1")
    assert [str(call.this).upper() for call in tree.find_all(exp.Anonymous)] == ["DECODE", "LOG2"]
    assert write(tree) == "SELECT DECODE(b, 'x') /* a remark */, apply FROM t AS apply WHERE (LOG2(x)) > 1"
    assert all(name == name.upper() for name in LEFT_ALONE)


def test_what_sqlglot_is_not_sure_of_is_no_message(caplog: pytest.LogCaptureFixture) -> None:
    assert write(parse("SELECT approx_top_k(x, 2), any_value(y) FROM t")) == (
        "SELECT APPROX_TOP_K(x, 2), ANY_VALUE(y) FROM t"
    )
    assert not caplog.records
