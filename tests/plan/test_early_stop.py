"""LIMIT without a total order: any sub-bag of the right size will do."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.plan.generate import Queries, history
from tests.plan.oracle import ask, truth


@pytest.mark.parametrize("seed", range(25))
def test_a_limited_answer_is_part_of_the_whole_one(seed: int) -> None:
    rng = random.Random(f"limit{seed}")
    past, queries = history(rng), Queries(rng)
    whole, count = queries.block(queries.columns(), 1), rng.randint(1, 3)
    found, everything = Counter(ask(f"{whole} LIMIT {count}", past).rows), Counter(truth(whole, past))
    assert found <= everything, whole
    assert found.total() == min(count, everything.total()), whole
