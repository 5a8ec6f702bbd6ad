"""Counts of a name's cells by origin, for the relation `columns`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from logql.execute.lower import lower
from logql.execute.runs import RUNS_TABLE
from logql.execute.sqltext import ident
from logql.execute.tables import integers
from logql.sql.bound import LogsRef

if TYPE_CHECKING:
    from logql.execute.engine import Engine

#: Number of the reference that counts; those of a query start at 0.
_ID = 1_000_000
ORIGINS = ("recorded", "hindsight", "not_logged", "missing", "unfillable", "other_type")


def count_origins(table: pa.Table, engine: Engine) -> pa.Table:
    """The relation `columns` with its counts by origin filled in."""
    names, versions = table.column("name").to_pylist(), table.column("version").to_pylist()
    counts = {name: _counts_of(name, engine) for name in dict.fromkeys(names)}
    for origin in ORIGINS:
        values = [counts[name].get((version, origin), 0) for name, version in zip(names, versions, strict=True)]
        place = table.schema.get_field_index(origin)
        table = table.set_column(place, origin, integers(values))
    return table


def _counts_of(name: str, engine: Engine) -> dict[tuple[str, str], int]:
    virtual = frozenset([name]) if engine.history.may_miss(name) else frozenset()
    columns = ("version", name, f"{name}$origin")
    ref = LogsRef(_ID, "l", names=frozenset([name]), virtual=virtual, columns=columns)
    lowered = lower(ref, engine.history, engine)
    tables = {**lowered.tables, RUNS_TABLE: engine.runs_table()}
    sql = f"SELECT version, {ident(columns[-1])} AS origin, count(*) AS n FROM ({lowered.sql}) GROUP BY ALL"
    return {(row["version"], row["origin"]): row["n"] for row in engine.read(sql, tables)}
