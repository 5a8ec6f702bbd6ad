"""The engine against the reference implementation of the row rule, on generated histories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logql.catalog.history import History
from logql.catalog.schema import Column
from logql.catalog.status import OWN, NoSources, Status
from logql.execute.engine import Database, Engine
from logql.model import Enter, Event, Fill, Logged, Path, Step
from logql.sql.binder import bind_query
from tests.execute.reference import level_of, reference_rows
from tests.execute.traces import Trace, places_beside, snapshot_of
from tests.execute.worlds import TestWorld

NAMES = ("a", "b", "x")
LOOPS = ("epoch", "step", "eval")
COMMENTS: dict[str, dict[str, object]] = {"run": {}, "version": {}, "column": {}}

_engines: list[Engine] = []


@pytest.fixture(scope="module", autouse=True)
def _engine() -> Iterator[None]:
    database = Database("/nowhere-oracle")
    _engines.append(Engine(database))
    yield
    _engines.pop().close()
    database.close()


@st.composite
def bodies(draw: st.DrawFn, depth: int = 0) -> list[Any]:
    """A body: names that are logged, and loops (name, iterations' bodies)."""
    found: list[Any] = []
    for _ in range(draw(st.integers(0, 5 if depth < 2 else 3))):
        if depth < 2 and draw(st.booleans()):
            loop = "epoch" if depth == 0 else draw(st.sampled_from(("step", "eval")))
            found.append((loop, draw(st.lists(bodies(depth + 1), min_size=1, max_size=3))))
        else:
            found.append(draw(st.sampled_from(NAMES)))
    return found


def events_of(body: list[Any]) -> list[Event]:
    """The events of a run with this body; values are 0, 1, 2, ..., now and then None."""
    events: list[Event] = []
    _walk(body, (), events)
    return events


def _walk(body: list[Any], path: Path, events: list[Event]) -> None:
    entries: Counter[str] = Counter()
    for part in body:
        seq = len(events)
        if isinstance(part, str):
            value = None if seq % 7 == 6 else seq
            events.append(Logged(path, part, value, seq, 0, seq + 1.0))
            continue
        loop, iterations = part
        for index, inner in enumerate(iterations):
            here = (*path, Step(loop, entries[loop], index))
            events.append(Enter(here, index, len(events), len(events) + 1.0))
            _walk(inner, here, events)
        entries[loop] += 1


def answer(engine: Engine, history: History, names: list[str], loops: list[str]) -> Counter[tuple[object, ...]]:
    """The rows of a query over `names` and `loops`, with all loops' coordinates where L is not empty."""
    engine.use(history, COMMENTS)
    columns = ["run", "rank", *names, *[f"{loop}{part}" for loop in loops for part in ("", "_entry", "_index")]]
    known = [column for column in columns if _known(column, history)]
    sql = f"SELECT {', '.join(known)} FROM logs"
    rows = engine.run(bind_query(sql, TestWorld(history, engine))).table.to_pylist()
    return Counter(tuple(row.get(column) for column in columns) for row in rows)


def _known(column: str, history: History) -> bool:
    return column in history.schema.relation("logs") or history.virtual(column) is not None


def expected(traces: list[Trace], names: list[str], loops: list[str], virtual: str = "") -> Counter[tuple[object, ...]]:
    """The same from the reference."""
    found: Counter[tuple[object, ...]] = Counter()
    entered = {step.loop for t in traces for s in t.events.values() for e in s for step in e.path}
    logged = {e.name for t in traces for s in t.events.values() for e in s if isinstance(e, Logged)}
    for trace in traces:
        used = [loop for loop in loops if loop in entered]
        for rank, path, values in reference_rows(trace.events, [n for n in names if n in logged or n == virtual], used):
            steps = {step.loop: step for step in path}
            cells: list[object] = [trace.run, rank, *[values.get(name) for name in names]]
            for loop in loops:
                step = steps.get(loop)
                cells += [step.index, step.entry, step.index] if step else [None, None, None]
            found[tuple(cells)] += 1
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(bodies(), min_size=1, max_size=3),
    st.lists(st.sampled_from(NAMES), unique=True),
    st.lists(st.sampled_from(LOOPS), unique=True),
)
def test_engine_follows_the_rule(found: list[list[Any]], names: list[str], loops: list[str]) -> None:
    traces = [Trace(f"R{number}", "v", events={0: events_of(body)}) for number, body in enumerate(found)]
    history = History(snapshot_of(traces))
    assert answer(_engines[0], history, names, loops) == expected(traces, names, loops)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bodies(), st.sets(st.sampled_from(NAMES)), st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
def test_ranks_see_rank_0(body: list[Any], silent: set[str], names: list[str]) -> None:
    events = events_of(body)
    second = [e for e in events if not (isinstance(e, Logged) and e.name in silent)]
    trace = Trace("R", "v", events={0: events, 1: second})
    history = History(snapshot_of([trace]))
    assert answer(_engines[0], history, names, []) == expected([trace], names, [])


class Hidden(NoSources):
    """One version lacks `x`; its statements have a place there, at the levels that the truth logs it at."""

    def __init__(self, levels: tuple[tuple[str, ...], ...]) -> None:
        self.levels = levels

    def names(self) -> dict[str, Column]:
        return {"x": Column("x", "BIGINT", frozenset(), True)}

    def status(self, name: str, version: str, script: str) -> Status:  # noqa: ARG002
        if name == "x" and version == "old":
            return Status("placed", levels=self.levels, fingerprint="f", once=False)
        return OWN


def hide(events: list[Event], run: str) -> tuple[list[Event], list[tuple[Fill, list[Logged]]]]:
    """The events without `x`, and fills that bring it back: one per main-loop entry, one for the run's level."""
    kept: list[Event] = []
    found: dict[tuple[str | None, int], list[Logged]] = {(None, 0): []}
    last: dict[tuple[str | None, int], int] = {}
    sub = 0
    for event in events:
        place = (event.path[0].loop, event.path[0].entry) if event.path else (None, 0)
        found.setdefault(place, [])
        if event.path:
            last[place] = event.path[0].index
        if isinstance(event, Logged) and event.name == "x":
            sub += 1
            found[place].append(event._replace(seq=len(kept) - 1, sub=sub))
        else:
            kept.append(event._replace(seq=len(kept)))
            sub = 0
    fills = []
    for number, ((loop, entry), values) in enumerate(found.items()):
        levels = {"x": tuple({level_of(value.path) for value in values})}
        first = None if loop is None else 0
        fill = Fill(f"f{number}", "q", run, "old", {"x": "f"}, loop, entry, first, last.get((loop, entry)), "done",
                    fidelity="exact", levels=levels)  # fmt: skip
        fills.append((fill, [*values, *places_beside(values, kept)]))
    return kept, fills


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bodies(), bodies(), st.lists(st.sampled_from(NAMES), unique=True))
def test_filled_equals_logged_from_the_start(new: list[Any], old: list[Any], names: list[str]) -> None:
    """What a replay gave back lies in the rows as if it had been logged."""
    names = list(dict.fromkeys([*names, "x"]))
    fresh, truth = events_of(new), events_of(old)
    kept, fills = hide(truth, "B")
    levels = tuple({level_of(e.path) for e in truth if isinstance(e, Logged) and e.name == "x"})
    recorded = [Trace("A", "new", events={0: fresh}), Trace("B", "old", events={0: kept})]
    history = History(snapshot_of(recorded, fills), Hidden(levels or (("epoch",),)))
    full = [Trace("A", "new", events={0: fresh}), Trace("B", "old", events={0: truth})]
    assert answer(_engines[0], history, names, ["epoch"]) == expected(full, names, ["epoch"], "x")
