"""EXPLAIN and EXPLAIN ANALYZE: logql's plan, as text or JSON, then DuckDB's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from logql.execute.answers import Answer
from logql.execute.tables import typed
from logql.filling import Filled, place_demands
from logql.model import Run
from logql.plan.demand import demand
from logql.plan.segments import FillPlan, plan_fill
from logql.sql.bound import BoundQuery
from logql.sql.statements import Explain

if TYPE_CHECKING:
    from logql.session import Session

_HEADS = (
    "version", "runs", "columns", "segments", "iterations", "executed", "checkpoints", "seconds", "confidence", "place",
)  # fmt: skip
_RIGHT = frozenset({"runs", "segments", "iterations", "executed", "checkpoints", "seconds", "confidence"})


def explain_query(session: Session, bound: BoundQuery, statement: Explain) -> Answer:
    """What would be filled and at which cost, and DuckDB's plan; ANALYZE does it and tells what it took."""
    plan, whole = _first_round(session, bound)
    rows = _rows(session, plan)
    if statement.analyze:
        filled = session.fill(bound)
        return _answer(session, bound, _told(plan, rows, whole) + _actual(filled, plan), statement)
    if statement.format == "json":
        return _table([("logql_plan", json.dumps(_json(plan, rows, whole)))])
    return _answer(session, bound, _told(plan, rows, whole), statement)


def describe_plan(session: Session, plan: FillPlan) -> str:
    """The segments of a plan and their cost, by version: what a person decides on before a replay."""
    return _told(plan, _rows(session, plan), None)


def _first_round(session: Session, bound: BoundQuery) -> tuple[FillPlan, str | None]:
    """The plan of what would be filled first; rounds after it depend on the values that it finds."""
    if not bound.virtual:
        return plan_fill((), session.history), None
    found = demand(bound, session.engine, session.options.disabled_rules)
    placed, options = place_demands(found.demands, session.history), session.options
    return plan_fill(placed, session.history, options.replay_workers, options.replay_threads), found.whole


def _rows(session: Session, plan: FillPlan) -> list[dict[str, object]]:
    """One row per version and set of columns."""
    history = session.history
    groups: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for number, segment in enumerate(plan.segments):
        groups.setdefault((segment.version, tuple(sorted(segment.names))), []).append(number)
    rows = []
    for (version, names), numbers in groups.items():
        segments = [plan.segments[number] for number in numbers]
        estimates = [plan.estimates[number] for number in numbers]
        run: Run = history.runs[segments[0].run]
        statuses = [history.status(name, run) for name in names]
        rows.append(
            {
                "version": version,
                "runs": len({segment.run for segment in segments}),
                "columns": ", ".join(names),
                "segments": len(segments),
                "iterations": sum(len(segment.wanted) for segment in segments),
                "executed": sum(estimate.executed for estimate in estimates),
                "checkpoints": sum(estimate.start is not None for estimate in estimates),
                "seconds": round(sum(estimate.seconds for estimate in estimates), 2),
                "confidence": round(min(status.confidence for status in statuses), 2),
                "place": ", ".join(f"{status.file}:{status.line}" for status in statuses),
            }
        )
    return sorted(rows, key=lambda row: list(history.versions).index(str(row["version"])))


def _told(plan: FillPlan, rows: Sequence[dict[str, object]], whole: str | None) -> str:
    if not rows:
        return "nothing is to be replayed"
    lines = [
        (
            f"replay {len(plan.segments)} segments: about {plan.seconds:.1f} s on {plan.workers} workers "
            f"({plan.cpu_seconds:.1f} s of CPU time)"
        ),
        *_aligned(rows),
    ]
    return "\n".join([*lines, *([f"demanded whole: {whole}"] if whole else [])])


def _aligned(rows: Sequence[dict[str, object]]) -> list[str]:
    widths = {head: max(len(head), *(len(str(row[head])) for row in rows)) for head in _HEADS}
    return [_line({head: head for head in _HEADS}, widths), *(_line(row, widths) for row in rows)]


def _line(row: dict[str, object] | dict[str, str], widths: dict[str, int]) -> str:
    cells = [
        str(row[head]).rjust(widths[head]) if head in _RIGHT else str(row[head]).ljust(widths[head]) for head in _HEADS
    ]
    return "  ".join(cells).rstrip()


def _actual(filled: Sequence[Filled], plan: FillPlan) -> str:
    fills = [fill for each in filled for fill in each.fills]
    if not fills:
        return ""
    took = sum(fill.actual_s for fill in fills)
    executed = sum(fill.executed for fill in fills)
    agreed = ", ".join(sorted({str(fill.fidelity or fill.state) for fill in fills}))
    return (
        f"\nreplayed {len(fills)} segments in {len(filled)} rounds: {executed} iterations, {took:.1f} s of work "
        f"(estimated {plan.cpu_seconds:.1f} s for the first round); fidelity: {agreed}"
    )


def _json(plan: FillPlan, rows: Sequence[dict[str, object]], whole: str | None) -> dict[str, object]:
    return {
        "seconds": round(plan.seconds, 3),
        "cpu_seconds": round(plan.cpu_seconds, 3),
        "workers": plan.workers,
        "segments": len(plan.segments),
        "demanded_whole": whole,
        "versions": list(rows),
    }


def _answer(session: Session, bound: BoundQuery, told: str, statement: Explain) -> Answer:
    found = session.engine.explain(bound, statement.analyze)
    return _table([("logql_plan", told), *found])


def _table(rows: Sequence[tuple[str, str]]) -> Answer:
    columns = {"explain_key": [key for key, _ in rows], "explain_value": [value for _, value in rows]}
    return Answer(typed(columns, {}), ("VARCHAR", "VARCHAR"))
