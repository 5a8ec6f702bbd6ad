"""What replays have settled, as tables that nodes join."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logql.catalog.schema import explicit
from logql.execute.groups import cells_of
from logql.execute.tables import typed

if TYPE_CHECKING:
    from logql.execute.nodes import Nodes

_COVERAGE_TYPES = {
    "run": "VARCHAR",
    "loop": "VARCHAR",
    "entry": "BIGINT",
    "idx": "BIGINT",
    "filled": "BOOLEAN",
    "fill": "VARCHAR",
    "fidelity": "VARCHAR",
    "reason": "VARCHAR",
}


def coverage_table(nodes: Nodes, name: str) -> str:
    """Name of a table with the filled and failed iterations of `name` in the group's runs."""
    table = f"{nodes.prefix}_cov{nodes._number(name)}"
    if table not in nodes.tables:
        rows: dict[str, list[object]] = {column: [] for column in _COVERAGE_TYPES}
        for run in nodes.group.runs:
            fingerprint = nodes.history.cells(explicit(name, nodes.history)[0], run).fingerprint
            if fingerprint is None:
                continue
            coverage = nodes.history.coverage(explicit(name, nodes.history)[0], run.id, fingerprint)
            for loop, entry, index, filled, fill in coverage.rows():
                reason = None if filled else fill.failure or _distrust(fill.fidelity)
                fidelity = fill.fidelity if fill.state == "done" else None
                values = (run.id, loop, entry, index, filled, fill.id, fidelity, reason)
                for column, value in zip(rows.values(), values, strict=True):
                    column.append(value)
        nodes.tables[table] = typed(rows, _COVERAGE_TYPES)
    return table


def reasons_table(nodes: Nodes, name: str) -> str:
    """Name of a table with the reason why `name` cannot be filled in each run."""
    table = f"{nodes.prefix}_why{nodes._number(name)}"
    if table not in nodes.tables:
        runs = [run.id for run in nodes.group.runs]
        reasons: list[object] = [cells_of(nodes.history, name, run).reason for run in nodes.group.runs]
        nodes.tables[table] = typed({"run": runs, "reason": reasons}, {"run": "VARCHAR", "reason": "VARCHAR"})
    return table


def _distrust(fidelity: str | None) -> str:
    return f"its replay is {fidelity or 'unchecked'} and replay_fidelity is strict"
