"""Lazily filled == logged from the start, through the real binder and engine, over histories of whole runs."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from logql.execute.engine import Engine
from tests.plan.histories import make_past
from tests.plan.long_run import check, real_engine
from tests.plan.whole_way import ask, truth

EXAMPLES = int(os.environ.get("LOGQL_WHOLE_WAY_EXAMPLES", "40"))
FIRST = int(os.environ.get("LOGQL_WHOLE_WAY_FIRST", "0"))
#: Ways of tests/plan/long_run.py through the real engine, and the share of the examples that each gets.
WAYS = {"engine": 0.75, "typed": 0.5, "varied": 0.75, "limit": 0.25, "ties": 0.25}
PAIRS = [(way, seed) for way, share in WAYS.items() for seed in range(FIRST, FIRST + int(EXAMPLES * share))]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with real_engine() as found:
        yield found


@pytest.mark.parametrize(("way", "seed"), PAIRS)
def test_a_lazily_filled_answer_is_that_of_a_full_history(engine: Engine, way: str, seed: int) -> None:
    assert check(way, seed, engine) is None


REDUCED = (
    "SELECT run, other FROM logs a NATURAL JOIN (SELECT run, epoch, gn AS other FROM logs) b WHERE a.val_acc > 1",
    "SELECT run, sum(gn) FROM logs WHERE val_acc > 1 GROUP BY CUBE (run, epoch) HAVING grouping(epoch) = 1",
    "SELECT run AS r, epoch % 2 AS e, count(gn) FROM logs GROUP BY GROUPING SETS ((r, e), (2), ()) ORDER BY 1",
    "SELECT gn, max(hn) FROM logs GROUP BY ROLLUP (gn) HAVING max(hn) > 1",
    "PIVOT logs ON epoch USING max(gn) GROUP BY run",
    "WITH c AS (SELECT run, epoch, gn FROM logs) PIVOT c ON epoch USING count(gn) ORDER BY run",
    "SELECT * FROM logs PIVOT (max(gn) FOR epoch IN (0, 1) GROUP BY run) p WHERE run = 'R0'",
    "FROM (UNPIVOT (SELECT run, gn, hn FROM logs WHERE val_acc > 1) ON gn, hn INTO NAME n VALUE v)",
)


@pytest.mark.parametrize("sql", REDUCED, ids=range(len(REDUCED)))
@pytest.mark.parametrize("seed", range(4))
def test_what_has_a_rule_is_not_demanded_whole(engine: Engine, sql: str, seed: int) -> None:
    past = make_past(random.Random(seed))
    expected, found = truth(sql, engine, past), ask(sql, engine, past)
    assert found.rows == expected
    assert found.whole is None


#: Rows that an inner query ties by more than equality, of which only the first count.
TIED = (
    (
        "SELECT a.run, a.epoch, a.val_acc, a.best FROM logs a WHERE a.run IN (SELECT b.run FROM (SELECT run, epoch, hn"
        " FROM logs WHERE loss >= 2) b WHERE NOT (b.hn BETWEEN 3 AND b.hn) AND b.run = a.run AND b.epoch < a.epoch)"
        " ORDER BY 4 DESC, 2 DESC, 1, 3 DESC LIMIT 3"
    ),
    (
        "SELECT a.run, a.epoch, a.val_acc, a.best FROM logs a WHERE EXISTS (SELECT 1 FROM (SELECT run, epoch, hn"
        " FROM logs WHERE loss >= 2) b WHERE NOT (b.hn BETWEEN 3 AND b.hn) AND b.run = a.run AND b.epoch < a.epoch)"
        " ORDER BY 4 DESC, 2 DESC, 1, 3 DESC LIMIT 3"
    ),
)


@pytest.mark.parametrize("sql", TIED, ids=range(len(TIED)))
@pytest.mark.parametrize("seed", [*range(4), 313713])
def test_a_row_that_nothing_can_settle_keeps_no_place_of_a_limit(engine: Engine, sql: str, seed: int) -> None:
    past = make_past(random.Random(seed))
    expected = truth(sql, engine, past)
    assert ask(sql, engine, past).rows == expected
