"""The one orchestrator: parse, bind, then plan and fill in turn, lower, run. One session serves one connection."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from logql.catalog.history import History
from logql.catalog.schema import explicit
from logql.catalog.virtual import ProjectSources
from logql.errors import BindError, BudgetExceeded, InternalError, Interrupted
from logql.execute.engine import Answer, Database, Engine
from logql.execute.tables import parameter_table
from logql.filling import Filled, Filler, OnProgress, ReplayFiller, place_demands
from logql.model import Run
from logql.options import Options
from logql.plan.demand import Round, demand
from logql.plan.segments import FillPlan, plan_fill
from logql.reach import iterations_in_reach, misfit_cells, missing_cells, runs_in_reach, starred_names
from logql.sql.binder import bind_query
from logql.sql.bound import BoundQuery
from logql.sql.many import SETS, insert_of_table
from logql.sql.notices import repeated_values
from logql.sql.parameters import Parameters, with_dollars, write_parameters
from logql.sql.parser import parse_statement
from logql.sql.statements import Query
from logql.statements import StatementRunner
from logql.store.catalog import Catalog
from logql.store.snapshot import Snapshot, read_snapshot
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
        self.read_only = read_only
        self.catalog = Catalog.open(self.store, read_only=read_only)
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
            self._tell_earlier(bound, {fill.id for filled in done for fill in filled.fills})
        if bound.virtual and bound.needs_values:
            self._tell_unfillable(bound)
        self.notices += [*bound.notices, *repeated_values(bound, self.history.schema)]
        self._tell_misfits(bound)
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

    def fill(self, bound: BoundQuery) -> list[Filled]:
        """Fill in turn what the planner demands, until nothing that is missing can change the answer."""
        done: list[Filled] = []
        if self.options.replay == "off" or self.read_only:
            self._count_missing(bound)
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
                self._count_missing(bound)
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
        self._tell(done)
        self._count_starred(bound)
        return done

    def _plan(self, round_: Round) -> FillPlan:
        demands, options = place_demands(round_.demands, self.history), self.options
        return plan_fill(demands, self.history, options.replay_workers, options.replay_threads)

    def _may_replay(self, plan: FillPlan, budget: float, first: bool) -> bool:
        """Whether to go on; BudgetExceeded where the estimate says that it would take too long."""
        if plan.seconds > budget:
            spent = "" if first else " more, after what was replayed and is kept"
            raise BudgetExceeded(
                f"the query needs {len(plan.segments)} segments replayed, about {plan.seconds:.0f} s{spent}; "
                f"replay_budget is {self.options.replay_budget:g} s",
                hint=f"SET replay_budget = {max(1, round(plan.seconds * 1.5))}, ask for less, or SET replay = 'off'",
            )
        if self.options.replay == "ask" and self.ask is not None and plan.seconds > ASK_ABOVE_S:
            return self.ask(plan)
        return True

    def _count_missing(self, bound: BoundQuery) -> None:
        missing = missing_cells(bound, self.engine)
        if missing:
            total = sum(missing.values())
            names = ", ".join(sorted(missing))
            self.notices.append(f"{total} cells of {names} are missing and stay NULL: replay is {self.options.replay}")

    def _count_starred(self, bound: BoundQuery) -> None:
        starred = starred_names(bound)
        if not starred:
            return
        missing = {name: count for name, count in missing_cells(bound, self.engine).items() if name in starred}
        if missing:
            names = ", ".join(sorted(missing))
            total = sum(missing.values())
            self.notices.append(
                f"{total} cells of {names} are missing under a star and stay NULL: name them to fill them"
            )

    def _tell_misfits(self, bound: BoundQuery) -> None:
        for name, count in misfit_cells(bound, self.engine).items():
            values = "1 value is" if count == 1 else f"{count} values are"
            self.notices.append(f'{values} of another type than {name} and NULL here: "{name}$text" has the text')

    def _tell(self, done: list[Filled]) -> None:
        """Notices of failures, of replays that disagree with the record, and of how they ran."""
        for filled in done:
            self.notices += filled.notes
            failed: dict[tuple[str, str], int] = {}
            for fill in filled.fills:
                if fill.state == "failed":
                    key = (fill.version, fill.error or "the replay failed")
                    failed[key] = failed.get(key, 0) + 1
                elif fill.fidelity in ("diverged", "impure", "unchecked"):
                    names = ", ".join(sorted(fill.names))
                    self.notices.append(f"{names} of run {fill.run} ({fill.version}): the replay is {fill.fidelity}")
            for (version, reason), count in failed.items():
                what = "a segment" if count == 1 else f"{count} segments"
                self.notices.append(f"{what} of version {version} could not be replayed: {reason}")

    def _tell_unfillable(self, bound: BoundQuery) -> None:
        """One notice per name and reason for the versions in which it has no place."""
        found: dict[tuple[str, str], dict[str, None]] = {}
        for name, run in self._refused(bound):
            reason = self.history.status(name, run).reason or "no place"
            found.setdefault((name, reason), {})[run.version] = None
        for (name, reason), versions in found.items():
            which = next(iter(versions)) if len(versions) == 1 else f"{len(versions)} versions"
            self.notices.append(f"{name} cannot be filled in {which}: {reason}")

    def _tell_earlier(self, bound: BoundQuery, told: set[str]) -> None:
        """Notices of cells in reach whose earlier replay failed or disagreed with the record."""
        names = {explicit(name)[0] for ref in bound.refs for name in ref.virtual}
        doubtful = [
            (name, fill)
            for fill in self.history.snapshot.fills
            if fill.id not in told and (fill.state == "failed" or fill.fidelity in ("diverged", "impure"))
            for name in sorted(names & set(fill.names))
        ]
        if not doubtful:
            return
        reached = iterations_in_reach(bound, self.engine)
        found: dict[tuple[str, str, str], None] = {}
        for name, fill in doubtful:
            coverage = self.history.coverage(name, fill.run, fill.names[name])
            run = next(run for run in self.history.snapshot.runs if run.id == fill.run)
            if self.history.status(name, run).fingerprint != fill.names[name]:
                continue
            shown = reached.get(name, set())
            if any(
                one.id == fill.id and (fill.run, loop, entry, index) in shown
                for loop, entry, index, _, one in coverage.rows()
            ):
                found[name, fill.version, fill.error or f"the replay is {fill.fidelity}"] = None
        self.notices += [f"{name} of version {version}: {reason}" for name, version, reason in found]

    def _refused(self, bound: BoundQuery) -> list[tuple[str, Run]]:
        """Names with runs in whose source they have no place; of the runs that the query's WHERE leaves."""
        names = {explicit(name)[0] for ref in bound.refs for name in ref.virtual}
        refused = [
            (name, run)
            for name in sorted(names)
            for run in self.history.snapshot.runs
            if self.history.status(name, run).state == "refused"
        ]
        if not refused:
            return []
        reached = runs_in_reach(bound, self.engine)
        return [(name, run) for name, run in refused if (runs := reached.get(name)) is None or run.id in runs]


def _cells(plan: FillPlan) -> set[tuple[str, str | None, int, int | None, tuple[str, str]]]:
    """What a plan fills: run, loop, entry, index and name."""
    return {
        (segment.run, segment.loop, segment.entry, index, name)
        for segment in plan.segments
        for index in (segment.wanted or (None,))
        for name in segment.names.items()
    }
