"""What is demanded against what brute force finds to be needed; bench/minimality.py tells it at length."""

from __future__ import annotations

import random
from collections.abc import Iterator

import duckdb
import pytest

from tests.plan.completions import Completions, small_history
from tests.plan.generate import CONSTANTS
from tests.plan.oracle import ask
from tests.plan.stand_in import NAMES

COMPARISONS = ("=", "<", ">", "<>", "<=", ">=")


@pytest.fixture(scope="module")
def completions() -> Iterator[Completions]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield Completions(connection)


def conjunctive(rng: random.Random) -> str:
    """A query whose conditions, joined by AND, can all hold: each column is in one of them at most."""
    aliases = ("a", "b")[: rng.choice((1, 1, 2))]
    columns = [f"{alias}.{name}" for alias in aliases for name in NAMES]
    rng.shuffle(columns)
    conditions = [_condition(rng, columns) for _ in range(rng.randint(0, 3))]
    join = " JOIN logs b ON a.run = b.run AND a.epoch = b.epoch + 1" if len(aliases) > 1 else ""
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT a.run, a.epoch, {rng.choice(aliases)}.{rng.choice(NAMES)} AS x FROM logs a{join}{where}"


def _condition(rng: random.Random, columns: list[str]) -> str:
    column = columns.pop()
    kind = rng.choice(("constant", "constant", "column", "known", "in", "between", "null", "distinct"))
    if kind == "column" and columns:
        return f"{column} {rng.choice(COMPARISONS)} {columns.pop()}"
    if kind == "known":
        return f"a.epoch {rng.choice(COMPARISONS)} {rng.randint(0, 2)}"
    if kind == "in":
        return f"{column} {rng.choice(('', 'NOT '))}IN (1, 3)"
    if kind == "between":
        return f"{column} BETWEEN 1 AND 3"
    if kind == "null":
        return f"{column} IS {rng.choice(('', 'NOT '))}NULL"
    if kind == "distinct":
        return f"{column} IS {rng.choice(('', 'NOT '))}DISTINCT FROM {rng.choice(CONSTANTS)}"
    return f"{column} {rng.choice(COMPARISONS)} {rng.choice(CONSTANTS)}"


@pytest.mark.parametrize("seed", range(60))
def test_a_conjunctive_query_demands_what_it_needs_and_nothing_else(completions: Completions, seed: int) -> None:
    rng = random.Random(f"conjunctive {seed}")
    past, sql = small_history(rng, 4), conjunctive(rng)
    needed, outcome = completions.needed(sql, past), ask(sql, past)
    assert outcome.filled <= needed, sql
    assert outcome.rounds > 1 or outcome.filled == needed, sql


#: `val_acc` is logged in every epoch: where it is used, the rows are there whatever `gn` turns out to be.
NOTHING_NEEDED = (
    "SELECT run, gn FROM logs WHERE epoch > 9",
    "SELECT run, gn FROM logs WHERE epoch % 2 = 5 AND gn > 1",
    "SELECT max(gn) AS m FROM logs WHERE val_acc > 99",
    "SELECT count(*) AS n FROM logs WHERE val_acc IS NOT NULL AND (val_acc IS NULL AND gn > 1)",
    "SELECT a.val_acc FROM logs a WHERE a.epoch = 0 OR (a.epoch > 9 AND a.gn > 1)",
    "SELECT a.val_acc, CASE WHEN a.epoch < 9 THEN 1 ELSE a.gn END AS x FROM logs a",
    "SELECT val_acc, coalesce(epoch, gn) AS x FROM logs",
    "SELECT a.run FROM logs a LEFT JOIN logs b ON a.run = b.run AND b.epoch > 9 AND b.gn > 1",
    (
        "SELECT a.run FROM logs a WHERE a.epoch > 9 OR EXISTS "
        "(SELECT b.val_acc FROM logs b WHERE b.run = a.run AND (b.gn > 1 OR b.epoch < 9))"
    ),
    "SELECT t.run FROM (SELECT a.run, max(a.gn) OVER (PARTITION BY a.run) AS m FROM logs a) t WHERE t.run = 'x'",
    "SELECT DISTINCT a.run FROM logs a WHERE a.val_acc > 99 AND a.gn > 1",
    "WITH c AS (SELECT run, gn FROM logs) SELECT count(*) AS n FROM c WHERE c.run = 'x'",
    "SELECT run FROM logs WHERE epoch > 9 UNION SELECT run FROM logs WHERE run = 'x' AND gn > 1",
)


@pytest.mark.parametrize("sql", NOTHING_NEEDED)
@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_replayed_where_none_is_needed(completions: Completions, sql: str, seed: int) -> None:
    past = small_history(random.Random(seed), 4)
    assert completions.needed(sql, past) == set()
    assert ask(sql, past).filled == set()
