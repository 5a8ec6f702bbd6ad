"""Lazily filled == logged from the start, through a session on real stores: recorded, sealed, filled by sidecars."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from logql import session as session_module
from logql.catalog.history import History
from logql.errors import BindError, DataError
from logql.filling import Filled
from logql.model import Segment
from logql.options import Options
from logql.session import Session
from logql.store import seal
from logql.store.catalog import Catalog
from logql.store.fills import write_fill
from logql.store.snapshot import forget
from tests.execute.traces import Trace, places_beside
from tests.plan.histories import Past, fill_of, make_past, make_typed_past
from tests.plan.oracle import bag
from tests.plan.rich import RichQueries
from tests.plan.typed import KEPT, TypedQueries
from tests.store.history import record

EXAMPLES = int(os.environ.get("LOGQL_END_TO_END_EXAMPLES", "6"))
QUERIES = 4


class LooksUp:
    """A filler that looks values up and writes them as replays do."""

    def __init__(self, store: str, past: Past) -> None:
        self.store = store
        self.past = past
        self.count = 0

    def fill(self, segments: Sequence[Segment], history: History, query: str, options: Options) -> Filled:  # noqa: ARG002
        found = []
        for segment in segments:
            self.count += 1
            fill, events = fill_of(segment, self.past.hidden[segment.run], self.count)
            (recorded,) = (trace for trace in self.past.recorded if trace.run == segment.run)
            write_fill(self.store, fill, events, places=places_beside(events, recorded.events[0]))
            found.append(fill)
        return Filled(tuple(found))


def _store(path: Path, traces: list[Trace], rng: random.Random) -> str:
    """A store with these runs, most of them sealed."""
    store = str(path)
    for trace in traces:
        record(store, trace.run, trace.events[0], trace.version)
        with Catalog.open(store) as catalog:
            for loop in trace.main_loops:
                catalog.put_main_loop(loop)
        if rng.random() < 0.7:
            seal.seal_run(store, trace.run)
    return store


def _past(rng: random.Random, make: Callable[[random.Random], Past]) -> Past:
    while True:
        past = make(rng)
        if all(len(trace.events) == 1 for trace in past.full):
            return past


@pytest.fixture
def stores() -> Iterator[list[str]]:
    found: list[str] = []
    yield found
    for store in found:
        forget(store)


@pytest.mark.parametrize("seed", range(EXAMPLES))
def test_a_store_filled_lazily_answers_as_a_full_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stores: list[str], seed: int
) -> None:
    rng = random.Random(f"end to end {seed}")
    past = _past(rng, make_typed_past if seed % 2 else make_past)
    virtual = past.sources.levels
    full = _store(tmp_path / "full" / ".logql", past.full, rng)
    lacking = _store(tmp_path / "lacking" / ".logql", past.recorded, rng)
    sources = {full: past.truth().sources, lacking: past.sources}
    monkeypatch.setattr(session_module, "ProjectSources", lambda catalog, *_: sources[str(catalog.store)])
    stores += [full, lacking]
    everything, lazily = Session(full, str(tmp_path)), Session(lacking, str(tmp_path), filler=LooksUp(lacking, past))
    try:
        everything.execute("SET replay = 'off'")
        for text in KEPT:
            everything.execute(text)
            lazily.execute(text)
        for _ in range(QUERIES):
            sql = (TypedQueries(rng, virtual) if seed % 2 else RichQueries(rng)).query()
            try:
                expected = bag(everything.execute(sql).answer.table)
            except (BindError, DataError):
                continue
            assert bag(lazily.execute(sql).answer.table) == expected, sql
        sql = "SELECT run, epoch, hn, val_acc FROM logs"
        whole = Counter(bag(everything.execute(sql).answer.table))
        part = Counter(bag(lazily.execute(f"{sql} LIMIT 3").answer.table))
        assert part <= whole
        assert part.total() == min(3, whole.total())
    finally:
        everything.close()
        lazily.close()
