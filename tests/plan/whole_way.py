"""The oracle over the real binder and engine: planned and filled round by round, answered from what is there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pyarrow as pa

from logql.catalog.history import History
from logql.execute.engine import Engine
from logql.filling import place_demands
from logql.model import Segment
from logql.plan.demand import demand
from logql.plan.segments import plan_fill
from logql.sql.binder import bind_query
from logql.sql.bound import BoundQuery
from tests.execute.worlds import TestWorld
from tests.plan.histories import Past
from tests.plan.oracle import answer, bag
from tests.plan.typed import kept

KEPT = kept()
COMMENTS: dict[str, dict[str, object]] = {"run": {}, "version": {}, "column": {}}


@dataclass
class Answered:
    """Rows of an answer and what was replayed for it."""

    rows: list[str]
    segments: list[Segment] = field(default_factory=list)
    rounds: int = 0
    whole: str | None = None


def bind(sql: str, engine: Engine, history: History) -> BoundQuery:
    """Bind a query over a history and hand both to the engine."""
    engine.use(history, COMMENTS)
    world = TestWorld(history, engine)
    world.statements.update(KEPT)
    return bind_query(sql, world)


def run(sql: str, engine: Engine, history: History) -> pa.Table:
    """The answer as things stand."""
    return engine.run(bind(sql, engine, history)).table


def truth(sql: str, engine: Engine, past: Past) -> list[str]:
    """The answer where everything was logged from the start."""
    return bag(run(sql, engine, past.truth()))


def ask(sql: str, engine: Engine, past: Past, disabled: frozenset[str] = frozenset()) -> Answered:
    """Fill what is demanded until nothing is, then answer."""
    history = past.history()
    bound, found = bind(sql, engine, history), Answered([])
    while True:
        engine.use(history, COMMENTS)
        step = demand(bound, engine, disabled, round_number=found.rounds)
        found.whole = found.whole or step.whole
        plan = plan_fill(place_demands(step.demands, history), history, 2)
        if not plan.segments:
            found.rows = bag(answer(step, lambda tree: engine.run(replace(bound, tree=tree, patches=None)).table))
            return found
        wanted = {(s.run, s.loop, s.entry, i, n) for s in plan.segments for i in s.wanted or (None,) for n in s.names}
        before = {(s.run, s.loop, s.entry, i, n) for s in found.segments for i in s.wanted or (None,) for n in s.names}
        assert not wanted <= before, "a round demands something new"
        past.fill(plan.segments)
        found.segments += plan.segments
        found.rounds += 1
        history = past.history()
