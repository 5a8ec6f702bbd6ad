"""Section 15 of the row rule's examples: a version that lacks a name, before, during and after filling."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from logql.catalog.history import History
from logql.catalog.schema import Column
from logql.catalog.status import OWN, NoSources, Status
from logql.execute.engine import Database, Engine
from logql.model import Fill, Logged, Step
from logql.plan.demand import demand
from logql.sql.binder import bind_query
from tests.execute.examples import Example, read_examples
from tests.execute.traces import parse_traces, snapshot_of
from tests.execute.worlds import TestWorld

COMMENTS: dict[str, dict[str, object]] = {"run": {}, "version": {}, "column": {}}
EXAMPLES = {example.note.split(",")[0].strip() or example.query: example for example in read_examples()
            if example.section.startswith("15.")}  # fmt: skip
STEPS = (("epoch", "step"),)


class Gnorm(NoSources):
    """Run B's version lacks `gnorm`."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def names(self) -> dict[str, Column]:
        return {"gnorm": Column("gnorm", "BIGINT", frozenset(), False)}

    def status(self, name: str, version: str, script: str) -> Status:  # noqa: ARG002
        return self._status if (name, version) == ("gnorm", "vB") else OWN


PLACED = Status("placed", levels=STEPS, fingerprint="f")
REFUSED = Status("refused", reason="no place")
RAN_ONCE = [Logged((Step("epoch", 0, 0), Step("step", 0, 1)), "gnorm", 3, 2, 1, 0.0)]


def fill(state: str = "done", first: int = 0, last: int = 1, fidelity: str = "exact") -> Fill:
    return Fill(f"fill{first}{state}", "q", "B", "vB", {"gnorm": "f"}, "epoch", 0, first, last, state,  # type: ignore[arg-type]
                fidelity=fidelity, error="it crashed" if state == "failed" else None,  # type: ignore[arg-type]
                levels={"gnorm": STEPS} if state == "done" else {})  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    database = Database("/nowhere-virtual")
    found = Engine(database)
    yield found
    found.close()
    database.close()


def ask(engine: Engine, example: Example, history: History, query: str | None = None) -> list[tuple[str, ...]]:
    engine.use(history, COMMENTS)
    table = engine.run(bind_query(query or example.query, TestWorld(history, engine))).table
    return sorted(tuple("-" if cell is None else str(cell) for cell in row.values()) for row in table.to_pylist())


def example_with(words: str) -> Example:
    return next(example for example in EXAMPLES.values() if words in example.note or words in example.query)


def test_before_any_fill_rows_are_assumed(engine: Engine) -> None:
    example = example_with("SET replay")
    history = History(snapshot_of(parse_traces(example.trace)), Gnorm(PLACED))
    assert ask(engine, example, history) == sorted(example.rows)
    assert ask(engine, example, history, "SELECT origin(gnorm), run FROM logs ORDER BY 1, 2") == sorted(
        [("recorded", "A"), ("missing", "B"), ("missing", "B")]
    )


def test_filled_it_is_as_if_logged_from_the_start(engine: Engine) -> None:
    example = example_with("filled")
    history = History(snapshot_of(parse_traces(example.trace), [(fill(), RAN_ONCE)]), Gnorm(PLACED))
    assert ask(engine, example, history) == sorted(example.rows)
    assert ask(engine, example, history, "SELECT count(*) FROM logs WHERE gnorm IS NULL OR TRUE") == [("2",)]
    assert ask(engine, example, history, "SELECT gnorm, ts IS NULL FROM logs WHERE run = 'B'") == [("3", "True")]


@pytest.mark.parametrize("failed", [False, True])
def test_what_cannot_be_filled_keeps_main_loop_rows(engine: Engine, failed: bool) -> None:
    example = example_with("cannot be placed")
    fills: list[tuple[Fill, list[Logged]]] = [(fill("failed"), [])] if failed else []
    history = History(snapshot_of(parse_traces(example.trace), fills), Gnorm(PLACED if failed else REFUSED))
    assert ask(engine, example, history) == sorted(example.rows)
    reasons = ask(engine, example, history, "SELECT DISTINCT reason(gnorm), origin(gnorm) FROM logs WHERE run = 'B'")
    assert reasons == [("it crashed" if failed else "no place", "unfillable")]


def test_unused_names_do_not_matter(engine: Engine) -> None:
    example = next(example for example in EXAMPLES.values() if example.query == "SELECT run, epoch, acc FROM logs")
    history = History(snapshot_of(parse_traces(example.trace)), Gnorm(PLACED))
    assert ask(engine, example, history) == sorted(example.rows)


def test_a_segment_may_be_filled_and_another_not(engine: Engine) -> None:
    example = example_with("filled")
    fills = [(fill("done", 0, 0), RAN_ONCE), (fill("failed", 1, 1), [])]
    history = History(snapshot_of(parse_traces(example.trace), fills), Gnorm(PLACED))
    found = ask(engine, example, history, "SELECT epoch, step, gnorm, origin(gnorm) FROM logs WHERE run = 'B'")
    assert found == [("0", "1", "3", "hindsight"), ("1", "-", "-", "unfillable")]


def test_strict_fidelity_hides_what_diverged(engine: Engine) -> None:
    example = example_with("filled")
    snapshot = snapshot_of(parse_traces(example.trace), [(fill(fidelity="diverged"), RAN_ONCE)])
    loose, strict = History(snapshot, Gnorm(PLACED)), History(snapshot, Gnorm(PLACED), strict=True)
    query = "SELECT gnorm, fidelity(gnorm) FROM logs WHERE run = 'B' AND epoch = 0"
    assert ask(engine, example, loose, query) == [("3", "diverged")]
    assert ask(engine, example, strict, query) == [("-", "diverged")]


def test_another_fingerprint_makes_cells_missing_again(engine: Engine) -> None:
    example = example_with("SET replay")
    changed = Status("placed", levels=STEPS, fingerprint="g")
    history = History(snapshot_of(parse_traces(example.trace), [(fill(), RAN_ONCE)]), Gnorm(changed))
    assert ask(engine, example, history) == sorted(example.rows)


def test_fixed_grain_has_the_values_too(engine: Engine) -> None:
    example = example_with("filled")
    history = History(snapshot_of(parse_traces(example.trace), [(fill(), RAN_ONCE)]), Gnorm(PLACED))
    found = ask(engine, example, history, "SELECT run, epoch, step, gnorm, acc FROM step")
    assert found == [("A", "0", "0", "1", "7"), ("B", "0", "0", "-", "8"), ("B", "0", "1", "3", "8")]


def test_planning_rows_of_repeated_values_line_up_with_the_others(engine: Engine) -> None:
    """Run A is read set-wise, run B value by value: both branches must agree on what is missing."""
    example = example_with("filled")
    twice = [*RAN_ONCE, Logged((Step("epoch", 0, 0), Step("step", 0, 1)), "gnorm", 4, 2, 2, 0.0)]
    history = History(snapshot_of(parse_traces(example.trace), [(fill(), twice)]), Gnorm(PLACED))
    engine.use(history, COMMENTS)
    query = bind_query("SELECT run, epoch, step, gnorm FROM logs", TestWorld(history, engine))
    assert demand(query, engine, frozenset()).demands == ()
    assert ("B", "0", "1", "4") in ask(engine, example, history, "SELECT run, epoch, step, gnorm FROM logs")
