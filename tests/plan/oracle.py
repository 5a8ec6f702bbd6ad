"""The oracle: a query filled lazily, round by round, answers as if everything had been logged from the start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa
from sqlglot import exp

from logql.plan.demand import Demand, Round, demand
from tests.plan.stand_in import History, StandIn, bind


@dataclass
class Outcome:
    """What a lazily filled query did."""

    rows: list[str]
    filled: set[tuple[str, int]] = field(default_factory=set)
    rounds: int = 0
    whole: str | None = None


def bag(table: pa.Table) -> list[str]:
    """A result's rows as a sorted list, whatever their order."""
    return sorted(repr(list(row.values())) for row in table.to_pylist())


def answer(step: Round, run: Callable[[exp.Expr], pa.Table]) -> pa.Table:
    """The answer after the last round: from settled rows if they are enough."""
    found = run(step.settled) if step.settled is not None else None
    return found if found is not None and found.num_rows >= step.wanted else run(step.answer)


def ask(sql: str, history: History, disabled: frozenset[str] = frozenset()) -> Outcome:
    """Fill what is demanded until nothing is, then answer."""
    query, outcome = bind(sql), Outcome([])
    history = History(history.units, set(history.missing))
    with StandIn(history) as engine:
        while True:
            step = demand(query, engine, disabled, round_number=outcome.rounds)
            outcome.whole = outcome.whole or step.whole
            if step.final:
                outcome.rows = bag(answer(step, engine.run))
                return outcome
            _check_progress(step.demands, history)
            outcome.filled |= {(item.run, index or 0) for item in step.demands for index, _ in item.cells()}
            history.fill(step.demands)
            outcome.rounds += 1


def truth(sql: str, history: History) -> list[str]:
    """The answer over the history in which everything was logged."""
    with StandIn(history.full()) as engine:
        return bag(engine.run(bind(sql).tree))


def _check_progress(demands: tuple[Demand, ...], history: History) -> None:
    cells = [(item.run, index or 0, name) for item in demands for index, name in item.cells()]
    assert cells, "a round that is not final demands something"
    assert all(cell in history.missing for cell in cells), "only missing cells are demanded"
