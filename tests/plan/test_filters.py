"""A filter's one value per row, against the filter itself over every completion of what is missing."""

from __future__ import annotations

import itertools
import random

import duckdb
import pytest

from tests.plan.show import show_possible

KNOWN, MISSING = ("a", "b"), ("gn", "hn")
VALUES = (None, 0, 1, 2)
ATOMS = ("a < 2", "a = 1", "b >= 1", "b = a", "gn > 0", "gn < 2", "gn = a", "hn > 0", "hn <> gn", "a IN (0, 2)",
         "gn BETWEEN 1 AND 2", "hn IN (0, 1)", "NOT (gn > 1)", "NOT (a < 1)")  # fmt: skip


def _condition(rng: random.Random, depth: int) -> str:
    """An OR of ANDs, most often, whose terms have parts in common."""
    if depth == 0:
        return rng.choice(ATOMS)
    joint = rng.choice((" OR ", " OR ", " AND ")) if depth > 1 else " AND "
    parts = [_condition(rng, depth - 1) for _ in range(rng.randint(2, 4))]
    return ("NOT " if rng.random() < 0.15 else "") + f"({joint.join(parts)})"


@pytest.fixture(scope="module")
def completions() -> duckdb.DuckDBPyConnection:
    """Each row of known values and flags, with each completion of it."""
    connection = duckdb.connect()
    rows = [
        (*known, *now, *flags, *final)
        for known in itertools.product(VALUES, repeat=len(KNOWN))
        for final in itertools.product(VALUES, repeat=len(MISSING))
        for flags in itertools.product((False, True), repeat=len(MISSING))
        for now in [tuple(None if flag else value for flag, value in zip(flags, final, strict=True))]
    ]
    columns = ["a INT", "b INT", "gn INT", "hn INT", '"gn$missing" BOOL', '"hn$missing" BOOL', "gn_ INT", "hn_ INT"]
    connection.execute(f"CREATE TABLE t ({', '.join(columns)})")
    connection.executemany(f"INSERT INTO t VALUES ({', '.join('?' * 8)})", rows)
    return connection


@pytest.mark.parametrize("seed", range(60))
def test_a_filters_value_is_what_it_is_under_every_completion(
    completions: duckdb.DuckDBPyConnection, seed: int
) -> None:
    condition = _condition(random.Random(seed), 2 + seed % 2)
    final = condition.replace("gn", "gn_").replace("hn", "hn_")
    found = completions.execute(
        f"SELECT now, coalesce({final}, false) AS then, count(*) FROM "
        f"(SELECT *, {show_possible(condition)} AS now FROM t) GROUP BY ALL"
    ).fetchall()
    assert not [row for row in found if row[0] is not None and row[0] != row[1]], condition
    decided = completions.execute(
        f"SELECT count(*) FROM (SELECT *, {show_possible(condition)} AS now FROM t) "
        'WHERE now IS NULL AND NOT "gn$missing" AND NOT "hn$missing"'
    ).fetchone()
    assert decided == (0,), condition


def test_terms_that_share_what_is_known_of_them_share_its_text() -> None:
    shown = show_possible("acc < 1 AND gn > 5 OR gn < 2 AND acc < 1 OR acc < 2 AND gn < 1")
    assert "(acc < 1 AND (gn > 5 OR gn < 2) OR acc < 2 AND gn < 1)" in shown
