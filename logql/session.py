"""The one orchestrator: parse, bind, then plan and fill in turn, lower, run. One session serves one connection."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from logql.catalog.history import History
from logql.catalog.virtual import ProjectSources
from logql.errors import BindError, BudgetExceeded, InternalError, Interrupted, ParseError
from logql.execute.answers import Answer
from logql.execute.engine import Database, Engine
from logql.execute.tables import parameter_table
from logql.filling import Filled, Filler, OnProgress, ReplayFiller, place_demands
from logql.options import Options
from logql.plan.demand import Round, demand
from logql.plan.segments import FillPlan, plan_fill
from logql.sql.binder import bind_query
from logql.sql.bound import BoundQuery
from logql.sql.many import SETS, insert_of_table
from logql.sql.notices import repeated_values
from logql.sql.parameters import Parameters, with_dollars, write_parameters
from logql.sql.parser import parse_statement
from logql.sql.statements import Query
from logql.statements import StatementRunner
from logql.store import layout
from logql.store.catalog import Catalog
from logql.store.snapshot import Snapshot, read_snapshot
from logql.telling import (
    earlier_told,
    fills_told,
    losses_told,
    misfits_told,
    missing_told,
    starred_told,
    unfillable_told,
)
from logql.world import StoreWorld

#: Asks a person whether to replay what a plan says.
Ask = Callable[[FillPlan], bool]
ASK_ABOVE_S = 10.0
_MOST_ROUNDS = 10_000
#: AT (VERSION => ?): which runs a reference reads is known when it is bound.
_VERSION_PARAMETER = re.compile(r"\bVERSION\s*=>\s*[?$]", re.IGNORECASE)


@dataclass(frozen=True)
class Outcome:
    """An answer, and what a person should know about it."""

    answer: Answer
    notices: tuple[str, ...] = ()


class Session:
    """Executes statements on one store. `filler` stands in for replaying, in tests."""

    def __init__(
        self,
        store: str,
        project: str,
        *,
        options: Options | None = None,
        database: str | None = None,
        read_only: bool = False,
        filler: Filler | None = None,
    ) -> None:
        self.store = os.path.abspath(store)
        self.project = project
        self.options = options or Options()
        self.defaults = self.options
        self.progress: OnProgress | None = None
        self.ask: Ask | None = None
        self._must_not_write = not read_only and not layout.is_writable(self.store)
        self.read_only = read_only or self._must_not_write
        self.catalog = Catalog.open(self.store, read_only=self.read_only)
        self._database = Database(self.store, database, read_only)
        self.engine = Engine(self._database)
        self._cancelled = threading.Event()
        self._filler = filler or ReplayFiller(self.store, project, lambda: self.progress, self._cancelled.is_set)
        self._runner = StatementRunner(self)
        self._lock = threading.RLock()
        self._history: History | None = None
        self._sources: ProjectSources | None = None
        self._pinned: tuple[Snapshot, ...] = ()
        self._settled: Round | None = None
        self.notices: list[str] = []

    def close(self) -> None:
        """Give back the catalog and the database."""
        self.engine.close()
        self._database.close()
        self.catalog.close()

    def interrupt(self) -> None:
        """Cancel the statement that is running, from another thread; what it filled is kept."""
        self._cancelled.set()
        self.engine.interrupt()

    def execute(self, sql: str, parameters: Parameters = None) -> Outcome:
        """Execute one statement."""
        with self._lock:
            self.notices = []
            self._cancelled.clear()
            statement = parse_statement(with_dollars(sql, parameters))
            if isinstance(statement, Query):
                answer = self.query(statement.sql, parameters)
            else:
                answer = self._runner.run(statement, parameters)
            return Outcome(answer, tuple(dict.fromkeys(self.notices)))

    def insert_rows(self, sql: str, sets: Sequence[Sequence[object]]) -> int | None:
        """Insert a row per set of parameters by one statement, and count them; None where that takes one for each."""
        with self._lock:
            self.notices = []
            self._cancelled.clear()
            text = insert_of_table(sql, len(sets[0]))
            table = parameter_table(sets) if text is not None else None
            if text is None or table is None or self.world().concerns(sql):
                return None
            return self.engine.execute(text, None, {SETS: table}).count

    def query(self, sql: str, parameters: Parameters = None) -> Answer:
        """Answer a query: bind, fill what it needs, run."""
        world = self.world()
        if not world.concerns(sql):
            return self._foreign(sql, parameters, world)
        if parameters and _VERSION_PARAMETER.search(sql):
            sql, parameters = write_parameters(sql, parameters), None
        bound = bind_query(sql, world)
        if bound.virtual and parameters:
            bound, parameters = bind_query(write_parameters(sql, parameters), world), None
        if bound.virtual and bound.moves:
            with self.engine.one_instant():
                return self._answer(bound, parameters)
        return self._answer(bound, parameters)

    def _answer(self, bound: BoundQuery, parameters: Parameters) -> Answer:
        self._settled = None
        if bound.virtual:
            done = self.fill(bound) if bound.needs_values else []
            told = {fill.id for filled in done for fill in filled.fills}
            self.notices += earlier_told(bound, self.engine, told)
        if bound.virtual and bound.needs_values:
            self.notices += unfillable_told(bound, self.engine)
        self.notices += [*bound.notices, *losses_told(bound, self.engine)]
        if bound.needs_values:
            self.notices += [*repeated_values(bound, self.history), *misfits_told(bound, self.engine)]
        answer = self._from_settled(bound) or self.engine.run(bound, parameters, in_parts=True)
        if answer.rest is not None:
            answer.rest.hold(self.history, self._pinned)
        return answer

    def _from_settled(self, bound: BoundQuery) -> Answer | None:
        """The answer from rows without missing cells alone, where there are as many as the query's LIMIT asks for."""
        round_ = self._settled
        if round_ is None or round_.settled is None:
            return None
        answer = self.engine.run(replace(bound, tree=round_.settled, patches=None))
        return answer if answer.table.num_rows >= round_.wanted else None

    def _foreign(self, sql: str, parameters: Parameters, world: StoreWorld) -> Answer:
        """Run what concerns DuckDB alone; a relation that nobody knows gets logql's candidates."""
        try:
            return self.engine.execute(sql, parameters, in_parts=True)
        except BindError as error:
            if error.message.startswith("Table with name"):
                with suppress(ParseError):
                    bind_query(sql, world)
            raise

    # -- history

    @property
    def history(self) -> History:
        """The history of the statement at hand."""
        assert self._history is not None, "world() comes first"
        return self._history

    def world(self) -> StoreWorld:
        """What names mean now: takes a new snapshot, which the whole statement then uses."""
        snapshot = read_snapshot(self.store, read_only=self.read_only)
        self.notices += getattr(snapshot, "notices", ())
        if self._must_not_write:
            self.notices.append(f"{self.store} cannot be written: it is read as it is, and nothing is replayed")
        self._use(snapshot)
        return StoreWorld(self.history, self.engine, self.catalog, self.project)

    def _use(self, snapshot: Snapshot) -> None:
        strict = self.options.replay_fidelity == "strict"
        known = self._history
        same = known is not None and known.snapshot is snapshot and known.strict == strict
        if not same or (self._sources is not None and self._sources.is_stale()):
            self._sources = ProjectSources(self.catalog, self.project, snapshot)
            self._history = History(snapshot, self._sources, strict)
        self.engine.use(self.history, self._runner.comments())

    def _settle(self) -> None:
        """Take in what was filled since, and nothing else: the statement stays on its snapshot."""
        now = read_snapshot(self.store, read_only=self.read_only)
        old = self.history
        merged = replace(old.snapshot, counter=now.counter, fills=now.fills, hindsight=now.hindsight)
        self._history = History(merged, old.sources, old.strict)
        self._pinned = (old.snapshot, now)
        self.engine.use(self.history, self._runner.comments())

    # -- planning and filling

    @property
    def replays_nothing(self) -> str | None:
        """Why nothing is replayed whatever is missing; None where it is."""
        if self.read_only:
            return "the connection is read-only"
        return "replay is off" if self.options.replay == "off" else None

    def fill(self, bound: BoundQuery) -> list[Filled]:
        """Fill in turn what the planner demands, until nothing that is missing can change the answer."""
        done: list[Filled] = []
        if self.replays_nothing:
            self.notices += missing_told(bound, self.engine, self.replays_nothing)
            return done
        budget = self.options.replay_budget
        before: FillPlan | None = None
        for number in range(_MOST_ROUNDS):
            round_ = demand(bound, self.engine, self.options.disabled_rules, round_number=number)
            self._settled = round_ if round_.final else None
            plan = self._plan(round_)
            if not plan.segments:
                break
            if before is not None and _cells(plan) <= _cells(before):
                raise InternalError("cells that were just filled are demanded again; the fills are kept")
            if not self._may_replay(plan, budget, first=number == 0):
                self.notices += missing_told(bound, self.engine, f"replay is {self.options.replay}")
                break
            if self._cancelled.is_set():
                raise Interrupted("the query was cancelled; what was filled is kept")
            filled = self._filler.fill(plan.segments, self.history, bound.sql, self.options)
            done.append(filled)
            budget -= plan.seconds
            before = plan if not filled.elsewhere else None
            self._settle()
            if not filled.fills and not filled.elsewhere:
                break
        self.notices += [*fills_told(done), *starred_told(bound, self.engine)]
        return done

    def _plan(self, round_: Round) -> FillPlan:
        demands, options = place_demands(round_.demands, self.history), self.options
        return plan_fill(demands, self.history, options.replay_workers, options.replay_threads)

    def _may_replay(self, plan: FillPlan, budget: float, first: bool) -> bool:
        """Whether to go on; BudgetExceeded where the estimate says that it would take too long."""
        if plan.seconds > budget:
            spent = "" if first else " more, after what was replayed and is kept"
            raise BudgetExceeded(
                f"the query needs {len(plan.segments)} segments replayed, about {plan.seconds:.1f} s{spent}; "
                f"replay_budget is {self.options.replay_budget:g} s",
                hint=f"SET replay_budget = {max(1, round(plan.seconds * 1.5))}, ask for less, or SET replay = 'off'",
            )
        if self.options.replay == "ask" and self.ask is not None and plan.seconds > ASK_ABOVE_S:
            return self.ask(plan)
        return True


def _cells(plan: FillPlan) -> set[tuple[str, str | None, int, int | None, tuple[str, str]]]:
    """What a plan fills: run, loop, entry, index and name."""
    return {
        (segment.run, segment.loop, segment.entry, index, name)
        for segment in plan.segments
        for index in (segment.wanted or (None,))
        for name in segment.names.items()
    }
