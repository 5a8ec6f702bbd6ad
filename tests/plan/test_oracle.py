"""Lazily filled == logged from the start, over generated histories and queries; the filler looks values up."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logql.plan.demand import RULES
from tests.plan.generate import Queries, history
from tests.plan.oracle import ask, truth

EXAMPLES = int(os.environ.get("LOGQL_ORACLE_EXAMPLES", "380"))
#: Parts, so that none runs into the time limit of a test where the machine is busy.
PARTS = 10
QUICK = settings(max_examples=EXAMPLES // PARTS, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@pytest.mark.parametrize("part", range(PARTS))
@given(seed=st.integers(0, 2**32))
@QUICK
def test_a_lazily_filled_answer_is_that_of_a_full_history(part: int, seed: int) -> None:  # noqa: ARG001
    rng = random.Random(seed)
    past, sql = history(rng), Queries(rng).query()
    assert ask(sql, past).rows == truth(sql, past), sql


@pytest.mark.parametrize("rule", [rule.__name__ for rule in RULES])
def test_answers_stay_the_same_without_a_rule(rule: str) -> None:
    for seed in range(4):
        rng = random.Random(f"{rule}{seed}")
        past, sql = history(rng), Queries(rng).query()
        assert ask(sql, past, frozenset({rule})).rows == truth(sql, past), sql
