"""What a person should know of an answer: what is missing or NULL in it and why, and what its replays were worth.

Each function gives the notices of one kind; those that differ in their version or run alone are told as one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from logql.catalog.history import History
from logql.catalog.schema import explicit
from logql.execute.engine import Engine
from logql.filling import Filled
from logql.model import Fill, Run
from logql.reach import (
    iterations_in_reach,
    misfit_cells,
    missing_cells,
    recorded_runs_in_reach,
    runs_in_reach,
    starred_names,
)
from logql.sql.bound import BoundQuery

_DOUBTFUL = ("diverged", "impure")


def missing_told(bound: BoundQuery, engine: Engine, why: str) -> Iterator[str]:
    """How many cells stay NULL because nothing is replayed, and why."""
    missing = missing_cells(bound, engine)
    if missing:
        yield f"{sum(missing.values())} cells of {_names(missing)} are missing and stay NULL: {why}"


def starred_told(bound: BoundQuery, engine: Engine) -> Iterator[str]:
    """How many cells stay NULL because only a star asks for them."""
    starred = starred_names(bound)
    missing = missing_cells(bound, engine) if starred else {}
    missing = {name: count for name, count in missing.items() if name in starred}
    if missing:
        total = sum(missing.values())
        yield f"{total} cells of {_names(missing)} are missing under a star and stay NULL: name them to fill them"


def misfits_told(bound: BoundQuery, engine: Engine) -> Iterator[str]:
    """How many values are NULL because they do not fit their column."""
    for name, count in misfit_cells(bound, engine).items():
        values = "1 value is" if count == 1 else f"{count} values are"
        yield f'{values} of another type than {name} and NULL here: "{name}$text" has the text'


def losses_told(bound: BoundQuery, engine: Engine) -> Iterator[str]:
    """Runs in reach that lack values which could not be recorded."""
    incomplete = engine.history.snapshot.incomplete
    reached = recorded_runs_in_reach(bound, engine) if incomplete else set()
    for run in sorted(incomplete & reached):
        yield f"run {run} is not whole: {engine.history.runs[run].error}"


def fills_told(done: Sequence[Filled]) -> Iterator[str]:
    """Replays that failed or did not agree with the record, and how they ran."""
    doubtful: dict[tuple[str, str], list[Fill]] = {}
    failed: dict[str, list[Fill]] = {}
    for filled in done:
        yield from filled.notes
        for fill in filled.fills:
            if fill.state == "failed":
                failed.setdefault(fill.failure or "the replay failed", []).append(fill)
            elif fill.fidelity in _DOUBTFUL or (fill.fidelity == "unchecked" and any(fill.levels.values())):
                doubtful.setdefault((_names(fill.names), fill.fidelity), []).append(fill)
    for (names, fidelity), fills in doubtful.items():
        runs = {fill.run for fill in fills}
        if len(runs) == 1:
            yield f"{names} of run {fills[0].run} ({fills[0].version}): the replay is {fidelity}"
        else:
            yield f"{names} of {len(runs)} runs ({_versions(fills)}): the replays are {fidelity}"
    for reason, fills in failed.items():
        what = "a segment" if len(fills) == 1 else f"{len(fills)} segments"
        yield f"{what} of {_versions(fills)} could not be replayed: {reason}"


def unfillable_told(bound: BoundQuery, engine: Engine) -> Iterator[str]:
    """The versions in which a name has no place, by reason."""
    found: dict[tuple[str, str], set[str]] = {}
    for name, run in _refused(bound, engine):
        reason = engine.history.status(name, run).reason or "no place"
        found.setdefault((name, reason), set()).add(run.version)
    for (name, reason), versions in found.items():
        which = min(versions) if len(versions) == 1 else f"{len(versions)} versions"
        yield f"{name} cannot be filled in {which}: {reason}"


def earlier_told(bound: BoundQuery, engine: Engine, told: Collection[str]) -> Iterator[str]:
    """Cells in reach whose earlier replay failed or disagreed with the record; `told` are the fills of this query."""
    names = {explicit(name, engine.history)[0] for ref in bound.refs for name in ref.virtual}
    doubtful = [
        (name, fill)
        for fill in engine.history.snapshot.fills
        if fill.id not in told and (fill.state == "failed" or fill.fidelity in _DOUBTFUL)
        for name in sorted(names & set(fill.names))
    ]
    if not doubtful:
        return
    reached = iterations_in_reach(bound, engine)
    found: dict[tuple[str, str], list[Fill]] = {}
    for name, fill in doubtful:
        if _shows(fill, name, engine.history, reached.get(name, set())):
            found.setdefault((name, fill.failure or f"the replay is {fill.fidelity}"), []).append(fill)
    for (name, reason), fills in found.items():
        yield f"{name} of {_versions(fills)}: {reason}"


def _shows(fill: Fill, name: str, history: History, shown: set[tuple[str, str | None, int, int | None]]) -> bool:
    """Whether one of the iterations in `shown` has its value, or its lack of one, from a fill."""
    if history.status(name, history.runs[fill.run]).fingerprint != fill.names[name]:
        return False
    coverage = history.coverage(name, fill.run, fill.names[name])
    return any(
        one.id == fill.id and (fill.run, loop, entry, index) in shown for loop, entry, index, _, one in coverage.rows()
    )


def _refused(bound: BoundQuery, engine: Engine) -> list[tuple[str, Run]]:
    """Names with runs in whose source they have no place; of the runs that the query's WHERE leaves."""
    names = {explicit(name, engine.history)[0] for ref in bound.refs for name in ref.virtual}
    history = engine.history
    refused = [
        (name, run)
        for name in sorted(names)
        for run in history.snapshot.runs
        if history.status(name, run).state == "refused"
    ]
    if not refused:
        return []
    reached = runs_in_reach(bound, engine)
    return [(name, run) for name, run in refused if (runs := reached.get(name)) is None or run.id in runs]


def _names(names: Collection[str]) -> str:
    return ", ".join(sorted(names))


def _versions(fills: Sequence[Fill]) -> str:
    versions = {fill.version for fill in fills}
    return f"version {fills[0].version}" if len(versions) == 1 else f"{len(versions)} versions"
