"""Lazily filled == logged from the start, through the real binder and engine, over histories of whole runs."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator

import pytest

from logql.errors import BindError, DataError
from logql.execute.engine import Database, Engine
from tests.plan.histories import Past, make_past
from tests.plan.rich import RichQueries
from tests.plan.whole_way import ask, truth

EXAMPLES = int(os.environ.get("LOGQL_WHOLE_WAY_EXAMPLES", "60"))
FIRST = int(os.environ.get("LOGQL_WHOLE_WAY_FIRST", "0"))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    database = Database("/nowhere-whole-way")
    found = Engine(database)
    yield found
    found.close()
    database.close()


def _pairs(seed: int) -> Iterator[tuple[Past, RichQueries]]:
    for attempt in range(20):
        rng = random.Random(f"{seed}-{attempt}" if attempt else seed)
        yield make_past(rng), RichQueries(rng)


def _answerable(engine: Engine, seed: int) -> tuple[Past, str, list[str]]:
    """A history, a query and its true answer; queries that the full history itself refuses are passed over."""
    for past, queries in _pairs(seed):
        sql = queries.query()
        try:
            return past, sql, truth(sql, engine, past)
        except (BindError, DataError):  # a name of another level; a value that does not convert
            continue
    raise AssertionError("no answerable query")


@pytest.mark.parametrize("seed", range(FIRST, FIRST + EXAMPLES))
def test_a_lazily_filled_answer_is_that_of_a_full_history(engine: Engine, seed: int) -> None:
    past, sql, expected = _answerable(engine, seed)
    assert ask(sql, engine, past).rows == expected, sql


@pytest.mark.parametrize("seed", range(FIRST, FIRST + EXAMPLES // 4))
def test_a_limited_answer_is_part_of_the_whole_one(engine: Engine, seed: int) -> None:
    for past, queries in _pairs(seed):
        whole, count = queries.block(queries.columns(), 1), queries.rng.randint(1, 4)
        try:
            everything = Counter(truth(whole, engine, past))
        except (BindError, DataError):
            continue
        found = Counter(ask(f"{whole} LIMIT {count}", engine, past).rows)
        assert found <= everything, whole
        assert found.total() == min(count, everything.total()), whole
        return


REDUCED = (
    "SELECT run, other FROM logs a NATURAL JOIN (SELECT run, epoch, gn AS other FROM logs) b WHERE a.val_acc > 1",
    "SELECT run, sum(gn) FROM logs WHERE val_acc > 1 GROUP BY CUBE (run, epoch) HAVING grouping(epoch) = 1",
    "SELECT run AS r, epoch % 2 AS e, count(gn) FROM logs GROUP BY GROUPING SETS ((r, e), (2), ()) ORDER BY 1",
    "SELECT gn, max(hn) FROM logs GROUP BY ROLLUP (gn) HAVING max(hn) > 1",
)


@pytest.mark.parametrize("sql", REDUCED, ids=("natural", "cube", "sets", "rollup"))
@pytest.mark.parametrize("seed", range(4))
def test_what_has_a_rule_is_not_demanded_whole(engine: Engine, sql: str, seed: int) -> None:
    past = make_past(random.Random(seed))
    expected, found = truth(sql, engine, past), ask(sql, engine, past)
    assert found.rows == expected
    assert found.whole is None
