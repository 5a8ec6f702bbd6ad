"""The runs of a snapshot as a table, which every reference that uses a column of the run joins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter

import pyarrow as pa

from logql.catalog.history import History
from logql.catalog.relations import RUN_TYPES
from logql.execute.tables import typed
from logql.store.columns import timestamps

#: Name under which the table is registered.
RUNS_TABLE = "_lq_runs"


class RunColumns:
    """The columns of `runs` without names logged at run level, and the args; each is made when it is first asked."""

    def __init__(self, history: History, comments: Mapping[str, object]) -> None:
        self._history = history
        self._comments = comments
        self._types = {**RUN_TYPES, **history.schema.args}
        self._made: dict[str, pa.Array] = {}

    def table(self, columns: Iterable[str]) -> pa.Table:
        """One row per run, with `run` and those of `columns` that there are."""
        wanted = {"run", *columns}
        names = [name for name in self._types if name in wanted]
        for name in names:
            if name not in self._made:
                self._made[name] = self._column(name)
        return pa.table({name: self._made[name] for name in names})

    def _column(self, name: str) -> pa.Array:
        if name in ("started_at", "ended_at"):
            return timestamps(map(attrgetter(name), self._history.snapshot.runs))
        return typed({name: self._values(name)}, self._types).column(0)

    def _values(self, name: str) -> list[object]:
        runs = self._history.snapshot.runs
        if name in self._history.schema.args:
            type_, arg = self._types[name], self._history.schema.arg_names.get(name, name)
            return [_arg(run.args.get(arg), type_) for run in runs]
        if name in ("argv", "tags"):
            return [list(getattr(run, name)) for run in runs]
        if name == "duration_s":
            return [None if run.ended_at is None else run.ended_at - run.started_at for run in runs]
        if name == "comment":
            return [self._comments.get(run.id) for run in runs]
        return list(map(attrgetter("id" if name == "run" else name), runs))


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
