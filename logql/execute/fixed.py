"""The relations versions, columns, fills, checkpoints, output and packages as tables, columns by `FIXED_TYPES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from logql.catalog.history import History
from logql.catalog.relations import FIXED_TYPES
from logql.catalog.schema import UNKNOWN_TYPE
from logql.execute.runs import timestamp
from logql.execute.scans import scan
from logql.execute.sqltext import ident
from logql.execute.tables import Tables, typed
from logql.model import OUTPUT_LEVEL, Run, level_text

#: Comments by kind ('run', 'version', 'column') and target.
Comments = Mapping[str, Mapping[str, object]]
Rows = list[tuple[object, ...]]


def fixed_table(relation: str, history: History, comments: Comments) -> pa.Table:
    """The rows of a fixed relation."""
    rows = _MAKERS[relation](history, comments)
    types = FIXED_TYPES[relation]
    columns: Sequence[Sequence[object]] = list(zip(*rows, strict=True)) or [()] * len(types)
    return typed(dict(zip(types, columns, strict=True)), types)


def output_sql(history: History, tables: Tables) -> str:
    """SQL of the relation `output`."""
    types = history.schema.relation("output")
    found = scan(history.snapshot.levels.get(OUTPUT_LEVEL, ()), types, tables)
    empty = ", ".join(f"NULL::{type_} AS {ident(name)}" for name, type_ in types.items())
    return found or f"SELECT {empty} WHERE FALSE"


def _versions(history: History, comments: Comments) -> Rows:
    return [
        (v.id, v.commit, list(v.parents), v.branch, v.author, v.message, timestamp(v.committed_at), v.dirty,
         comments["version"].get(v.id))
        for v in history.snapshot.versions
    ]  # fmt: skip


def _fills(history: History, comments: Comments) -> Rows:  # noqa: ARG001
    return [
        (f.query, f.run, f.version, sorted(f.names), f.loop, f.entry, f.first_index, f.last_index, f.executed,
         f.compared, f.estimated_s, f.actual_s, f.fidelity, f.state, f.error, f.log, timestamp(f.started_at))
        for f in history.snapshot.fills
    ]  # fmt: skip


def _checkpoints(history: History, comments: Comments) -> Rows:  # noqa: ARG001
    runs = history.runs
    return [
        (c.run, runs[c.run].version if c.run in runs else None, c.rank, c.loop, c.entry, c.index, c.bytes, c.seconds,
         c.by, c.reason, timestamp(c.taken_at))
        for c in history.snapshot.checkpoints
    ]  # fmt: skip


def _packages(history: History, comments: Comments) -> Rows:  # noqa: ARG001
    found: Rows = []
    for run in history.snapshot.runs:
        packages = run.environment.get("packages")
        if isinstance(packages, Mapping):
            found += [(run.id, run.version, name, str(version)) for name, version in sorted(packages.items())]
    return found


def _columns(history: History, comments: Comments) -> Rows:
    """Name by version; the counts by origin are joined by the engine where they are asked for."""
    first_runs: dict[str, list[Run]] = {}
    for run in history.snapshot.runs:
        first_runs.setdefault(run.version, []).append(run)
    names = {**dict.fromkeys(history.sources.names()), **history.schema.columns}
    found: Rows = []
    for name in names:
        column = history.schema.columns.get(name) or history.virtual(name)
        if column is None:
            continue
        history.may_miss(name)
        type_ = column.type if column.type != UNKNOWN_TYPE else None
        for version, runs in first_runs.items():
            row = _column_row(history, name, runs)
            if row is not None:
                level, statement, file, line, reason = row
                comment = comments["column"].get(name)
                counts = (None,) * 6
                found.append((name, version, level, type_, comment, *counts, statement, file, line, reason))
    return found


def _column_row(history: History, name: str, runs: Sequence[Run]) -> tuple[object, ...] | None:
    """level, statement, file, line, reason of a name in the runs of a version; None where it has none of it."""
    cells = [history.cells(name, run) for run in runs]
    levels = sorted({level for found in cells for level in (*found.recorded, *found.placed)})
    status = history.status(name, runs[0])
    if not levels and status.state == "own":
        return None
    reason = next((found.reason for found in cells if found.reason), status.reason)
    statements = status.statements
    text = "\n".join(statement.text for statement in statements) or None
    file = status.file or (statements[0].file if statements else None)
    line = status.line or (statements[0].line if statements else None)
    return ", ".join(map(level_text, levels)) or None, text, file, line, reason


_MAKERS: dict[str, Callable[[History, Comments], Rows]] = {
    "versions": _versions,
    "fills": _fills,
    "checkpoints": _checkpoints,
    "packages": _packages,
    "columns": _columns,
}
