"""The runs of a snapshot as one table, which every reference that uses a column of the run joins."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from logql.catalog.history import History
from logql.catalog.relations import RUN_TYPES
from logql.execute.tables import typed
from logql.model import Run

#: Name under which the table is registered.
RUNS_TABLE = "_lq_runs"


def runs_table(history: History, comments: Mapping[str, object]) -> pa.Table:
    """One row per run: the columns of `runs` without names logged at run level, then the args."""
    runs = history.snapshot.runs
    rows: dict[str, list[object]] = {}
    for column in RUN_TYPES:
        rows[column] = [_value(run, column, comments) for run in runs]
    for arg in history.schema.args:
        rows[arg] = [_arg(run.args.get(arg), history.schema.args[arg]) for run in runs]
    return typed(rows, {**RUN_TYPES, **history.schema.args})


def _value(run: Run, column: str, comments: Mapping[str, object]) -> object:
    if column == "run":
        return run.id
    if column in ("argv", "tags"):
        return list(getattr(run, column))
    if column == "duration_s":
        return None if run.ended_at is None else run.ended_at - run.started_at
    if column in ("started_at", "ended_at"):
        return timestamp(getattr(run, column))
    if column == "comment":
        return comments.get(run.id)
    found: object = getattr(run, column)
    return found


def timestamp(seconds: float | None) -> object:
    """Seconds since the epoch as a naive UTC time."""
    import datetime

    if seconds is None:
        return None
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)


def _arg(value: object, type_: str) -> object:
    if value is None or type_ != "VARCHAR" or isinstance(value, str):
        return value
    return str(value)
