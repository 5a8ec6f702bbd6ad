"""Groups whose rows are formed value by value: reads their contexts, applies the row rule, makes a table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from logql.catalog.history import Cells, History
from logql.catalog.schema import explicit
from logql.execute.groups import Group, Source, cells_of, counting_levels
from logql.execute.rowrule import Context, Formed, Key, Position, Value, form_rows
from logql.execute.scans import FRAME_TYPES, misfits, scan
from logql.execute.sqltext import ident, key_columns, loop_column_names, texts
from logql.execute.tables import Tables, typed
from logql.execute.untyped import type_of
from logql.model import RUN_LEVEL, Fill, Level, Run
from logql.sql.bound import LogsRef
from logql.store import columns
from logql.store.layout import level_directory

if TYPE_CHECKING:
    from logql.execute.nodes import Wanted

_BATCH = 200
#: What stands in for the value of a name that a replay may still log.
MISSING = Value((0.0, 0, 0), "", None, "missing")


def slow_rows(group: Group, history: History, ref: LogsRef, wanted: Wanted, source: Source) -> pa.Table:
    """The rows of `ref` in the group's runs, in every column that the reference delivers."""
    former = _Former(history, ref, wanted, source)
    for start in range(0, len(group.runs), _BATCH):
        former.add(group.runs[start : start + _BATCH])
    return former.table()


class _Former:
    """Forms rows run by run and collects them column by column."""

    def __init__(self, history: History, ref: LogsRef, wanted: Wanted, source: Source) -> None:
        self.history = history
        self.ref = ref
        self.wanted = wanted
        self.source = source
        self.asked: dict[str, list[str]] = {}
        for name in ref.names:
            self.asked.setdefault(explicit(name, self.history)[0], []).append(name)
        self.out: dict[str, list[object]] = {"run": []}
        for column in ref.columns:
            self.out[column] = []
        if wanted.planning:
            for column in ("_lq_run", "_lq_loop", "_lq_entry", "_lq_index", "_lq_sure"):
                self.out[column] = []
            for name in sorted(ref.names):
                self.out[f"{name}$missing"] = []

    def add(self, runs: Sequence[Run]) -> None:
        """Form the rows of some runs."""
        levels = sorted({level for run in runs for level in self.history.shape(run.id).levels})
        contexts: dict[str, dict[tuple[int, Level, Key], Context]] = {run.id: {} for run in runs}
        for level in levels:
            self._read(level, runs, contexts, hindsight=False)
        for level in levels:
            self._read(level, runs, contexts, hindsight=True)
        for run in runs:
            self._form(run, list(contexts[run.id].values()))

    def _read(
        self,
        level: Level,
        runs: Sequence[Run],
        contexts: Mapping[str, dict[tuple[int, Level, Key], Context]],
        hindsight: bool,
    ) -> None:
        """Read one level's rows into contexts: recorded values, or values of replays under valid fingerprints."""
        pieces = (self.history.snapshot.hindsight if hindsight else self.history.snapshot.levels).get(
            level_directory(level), ()
        )
        bare = {explicit(name, self.history)[0]: type_of(name, self.history) for name in self.ref.names}
        frame = {column: type_ for column, type_ in FRAME_TYPES.items() if hindsight or column != "_fill"}
        schema = self.history.schema
        loops = {own: schema.loop_columns.get(column, "BIGINT") for own, column in schema.shown(level).items()}
        texts_ = {f"{name}$text": "VARCHAR" for name in misfits(pieces, bare)}
        tables: Tables = {}
        sql = scan(pieces, {**frame, **loops, **bare, **texts_}, tables)
        if sql is None:
            return
        where = f"run IN {texts(run.id for run in runs)}"
        order = ", ".join(map(ident, ("run", "rank", *key_columns(level), "_part")))
        for row in self.source.read(f"SELECT * FROM ({sql}) WHERE {where} ORDER BY {order}", tables):
            self._take(row, level, contexts[row["run"]], hindsight)

    def _take(
        self, row: Mapping[str, Any], level: Level, contexts: dict[tuple[int, Level, Key], Context], hindsight: bool
    ) -> None:
        places = key_columns(level)
        key = tuple((row[places[at]], row[places[at + 1]]) for at in range(0, len(places), 2))
        at: Position = (row["_seq"], row["_sub"] or 0, 0)
        context = contexts.get((row["rank"], level, key))
        if context is None:
            if hindsight:
                return
            loops = tuple(row[column] for column in loop_column_names(level))
            context = Context(level, key, row["rank"], at, loops)
            contexts[row["rank"], level, key] = context
        if not hindsight and row["ts"] is not None:
            context.ts = row["ts"] if context.ts is None else max(context.ts, row["ts"])
        context.parted = context.parted or (not hindsight and row["_part"] is not None)
        names = row["_order"] or self._logged(row)
        for place, name in enumerate(names):
            self._take_value(context, row, name, (at[0], at[1], place), hindsight)

    def _logged(self, row: Mapping[str, Any]) -> list[str]:
        nulls = row["_null"] or ()
        bare = {explicit(name, self.history)[0] for name in self.ref.names}
        return sorted(n for n in bare if row[n] is not None or n in nulls or row.get(f"{n}$text") is not None)

    def _take_value(self, context: Context, row: Mapping[str, Any], name: str, at: Position, hindsight: bool) -> None:
        for wanted in self.asked.get(name, ()):
            other = row.get(f"{name}$text")
            origin = "other_type" if other is not None else "hindsight" if hindsight else "recorded"
            context.values.append(Value(at, wanted, row[name], origin, row.get("_fill"), other))

    def _form(self, run: Run, contexts: list[Context]) -> None:
        """Form the rows of one run."""
        cells = {name: cells_of(self.history, name, run) for name in self.ref.names}
        counting: dict[Level, set[str]] = {}
        for name, found in cells.items():
            for level in counting_levels(found):
                counting.setdefault(level, set()).add(name)
        _enter_times(contexts)
        fills = {name: self._fills(name, run, found) for name, found in cells.items()}
        for context in contexts:
            here = counting.get(context.level, set())
            _place_recorded(context)
            context.values = [
                value for value in context.values if value.name in here and _valid(value, context, fills[value.name])
            ]
            for name in sorted(here):
                self._stand_in(context, name, cells[name], fills[name])
        frozen = {level: frozenset(names) for level, names in counting.items()}
        for formed in form_rows(contexts, frozen):
            self._put(run, formed, cells, fills)

    def _stand_in(self, context: Context, name: str, cells: Cells, fills: Mapping[object, tuple[bool, Fill]]) -> None:
        """Where a replay may give a value, or could not, the context has a row for it all the same."""
        if context.level in cells.recorded:
            return
        settled = fills.get(_place(context))
        if context.level in cells.placed and settled is None:
            origin = "missing"
        elif context.level in cells.unfillable and (not cells.failed or (settled is not None and not settled[0])):
            origin = "unfillable"
        else:
            return
        context.values.append(Value((context.entered[0], -1, 0), name, None, origin))

    def _fills(self, name: str, run: Run, cells: Cells) -> dict[object, tuple[bool, Fill]]:
        if cells.fingerprint is None:
            return {}
        coverage = self.history.coverage(explicit(name, self.history)[0], run.id, cells.fingerprint)
        return {(loop, entry, index): (good, fill) for loop, entry, index, good, fill in coverage.rows()}

    def _put(
        self,
        run: Run,
        formed: Formed,
        cells: Mapping[str, Cells],
        fills: Mapping[str, Mapping[object, tuple[bool, Fill]]],
    ) -> None:
        context, values = formed.context, formed.values
        shown = self.history.schema.shown(context.level).values()
        loops, planning = dict(zip(shown, context.loops, strict=True)), self.wanted.planning
        open_ = self._open_names(context, cells, fills)
        system = {"run": run.id, "version": run.version, "rank": context.rank, "ts": _ts(context, values)}
        for column, into in self.out.items():
            bare, mark, what = column.rpartition("$")
            if column in self.ref.names:
                into.append(values[column].value if column in values and not (planning and column in open_) else None)
            elif mark and what == "missing" and bare in self.ref.names:
                into.append(bare in open_)
            elif column in system:
                into.append(system[column])
            elif mark and bare in self.ref.names:
                value = values.get(bare) or (MISSING if bare in open_ else None)
                into.append(self._hidden(what, value, cells[bare], fills[bare].get(_place(context))))
            elif not column.startswith("_lq_"):
                into.append(loops.get(column))
        if planning:
            self._put_planning(run, context, sure=not open_)

    def _open_names(
        self, context: Context, cells: Mapping[str, Cells], fills: Mapping[str, Mapping[object, tuple[bool, Fill]]]
    ) -> frozenset[str]:
        """Names of which a replay may still log values in the context or around it: into any of its rows."""
        found = set()
        for name, held in cells.items():
            for level in held.placed:
                place = _place(context) if level != RUN_LEVEL else (None, 0, None)
                around = level == context.level[: len(level)] and level not in held.recorded
                if around and place not in fills[name]:
                    found.add(name)
        return frozenset(found)

    def _hidden(self, what: str, value: Value | None, cells: Cells, settled: tuple[bool, Fill] | None) -> object:
        origin = value.origin if value is not None else "not_logged"
        if what == "origin":
            return origin
        if what == "text":
            return value.text if value is not None else None
        if what == "fidelity":
            replayed = settled is not None and settled[1].state == "done" and origin != "recorded"
            return settled[1].fidelity if settled is not None and replayed else None
        if what == "reason" and origin == "unfillable":
            return cells.reason if settled is None else settled[1].failure
        return None

    def _put_planning(self, run: Run, context: Context, *, sure: bool) -> None:
        place = _place(context)
        self.out["_lq_run"].append(run.id)
        for column, part in zip(("_lq_loop", "_lq_entry", "_lq_index"), place, strict=True):
            self.out[column].append(part if context.level else None)
        self.out["_lq_sure"].append(sure)

    def table(self) -> pa.Table:
        """All rows as a table; logged values keep the type that they have, for DuckDB to cast."""
        logged = {column: values for column, values in self.out.items() if self._is_value(column)}
        types = {"rank": "INTEGER", "_lq_entry": "BIGINT", "_lq_index": "BIGINT", "_lq_sure": "BOOLEAN"}
        types |= {column: "BOOLEAN" for column in self.out if column.endswith("$missing")}
        rest = {column: values for column, values in self.out.items() if column not in logged}
        arrays = {column: columns.column(values)[0] for column, values in logged.items()}
        fixed = typed(rest, types)
        return pa.table({c: arrays[c] if c in arrays else fixed.column(c) for c in self.out})

    def _is_value(self, column: str) -> bool:
        return column in self.ref.names or column in self.history.schema.loop_columns or column == "ts"


def _enter_times(contexts: Iterable[Context]) -> None:
    """Give each context the time of the first event in or below it, and tell it which iterations ran inside.

    A parted context stores when its first value was logged, which may be after iterations inside it.
    """
    known = {(context.rank, context.level, context.key): context for context in contexts}
    for context in sorted(known.values(), key=lambda found: -len(found.level)):
        if not context.level:
            continue
        outer = known.get((context.rank, context.level[:-1], context.key[:-1]))
        if outer is not None:
            outer.inner.append((context.entered, context.level[-1], context.key[-1][0]))
            outer.entered = min(outer.entered, context.entered)


def _place_recorded(context: Context) -> None:
    """Put recorded values where replays saw them, in contexts that log a name again: the record does not tell exactly.

    What no replay came to was logged behind all that they logged.
    """
    replayed = [value for value in context.values if value.fill is not None]
    counts = Counter((value.name, value.fill) for value in context.values)
    if not replayed or max(counts.values()) == 1:
        return
    seen: dict[str, list[Position]] = {}
    for name, fill in counts:
        places = sorted(value.at for value in replayed if (value.name, value.fill) == (name, fill))
        seen[name] = max(seen.get(name, []), places, key=len)
    recorded = sorted((value for value in context.values if value.fill is None), key=lambda value: value.at)
    if context.parted and not any(seen[value.name] for value in recorded):
        return
    last = max(value.at for value in replayed)
    context.values = replayed
    for value in recorded:
        places = seen[value.name]
        behind = max(value.at, (last[0], last[1], last[2] + 1 + value.at[2]))
        unseen = behind if context.parted else (math.inf, 0, value.at[2])
        context.values.append(replace(value, at=places.pop(0) if places else unseen))


def _place(context: Context) -> tuple[str | None, int, int | None]:
    """Main-loop coordinates, as coverage has them."""
    if context.level == RUN_LEVEL:
        return None, 0, None
    entry, index = context.key[0]
    return context.level[0], entry, index


def _valid(value: Value, context: Context, fills: Mapping[object, tuple[bool, Fill]]) -> bool:
    """Whether a hindsight value comes from the fill that its iteration belongs to."""
    if value.fill is None:
        return True
    settled = fills.get(_place(context))
    return settled is not None and settled[0] and settled[1].id == value.fill


def _ts(context: Context, values: Mapping[str, Value]) -> object:
    recorded = (value.fill is None and value.origin in ("recorded", "other_type") for value in values.values())
    return context.ts if any(recorded) else None
