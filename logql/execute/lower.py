"""A reference to logs, a loop's relation or runs as SQL over the level tables.

The runs of one signature (see `groups`) get one branch per level at which their rows can stand: the level's node, left
joined to the nodes of enclosing levels, without the rows that a deeper node has rows below. Groups in which a context
has several rows are formed in Python (`rows`) and read as tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from logql.catalog.history import History
from logql.catalog.relations import RUN_TYPES, SYSTEM_TYPES
from logql.execute.groups import NO_GROUP, Group, Source, counting_levels, fixed_groups, group_runs
from logql.execute.nodes import Nodes, Wanted
from logql.execute.rows import slow_rows
from logql.execute.runs import RUNS_TABLE
from logql.execute.sqltext import ident, key_columns, same_context, text
from logql.execute.tables import Tables
from logql.model import RUN_LEVEL, Level
from logql.sql.bound import LOGS, RUNS, LogsRef
from logql.sql.sources import HIDDEN

#: Columns of a lowered reference in planning mode, besides "<name>$missing" of the names of N.
PLANNING_TYPES = {
    "_lq_run": "VARCHAR",
    "_lq_loop": "VARCHAR",
    "_lq_entry": "BIGINT",
    "_lq_index": "BIGINT",
    "_lq_sure": "BOOLEAN",
}


@dataclass
class Lowered:
    """SQL and the tables that it reads by name."""

    sql: str
    tables: Tables = field(default_factory=dict)


def lower(
    ref: LogsRef, history: History, source: Source, planning: bool = False, times: frozenset[str] = frozenset()
) -> Lowered:
    """SQL that yields what `ref` must deliver; `times`: names without a type that are taken for times."""
    return Lowering(ref, history, source, planning, times).lower()


class Lowering:
    """Lowers one reference."""

    def __init__(self, ref: LogsRef, history: History, source: Source, planning: bool, times: frozenset[str]) -> None:
        self.ref = ref
        self.history = history
        self.source = source
        self.planning = planning
        self.tables: Tables = {}
        self.needs_run = False
        self.wanted = Wanted(
            frozenset(c for c in ref.columns if c in history.schema.loop_columns),
            _hidden(ref),
            planning,
            "ts" in ref.columns and ref.relation != RUNS,
            times,
        )

    def lower(self) -> Lowered:
        """The whole reference."""
        find = group_runs if self.ref.relation == LOGS else fixed_groups
        groups = find(self.ref, self.history, self.source)
        branches = [branch for number, group in enumerate(groups) for branch in self._group(number, group)]
        return Lowered(" UNION ALL BY NAME ".join(branches) or self._nothing(), self.tables)

    def _group(self, number: int, group: Group) -> Iterable[str]:
        prefix = f"_lq_{self.ref.id}{'p' if self.planning else ''}_{number}"
        if group.signature.slow and self.ref.relation == LOGS:
            return [self._slow(group, prefix)]
        nodes = Nodes(group, self.history, self.wanted, self.tables, prefix, self.ref.relation != LOGS)
        if self.ref.relation == RUNS:
            return [self._runs(nodes)]
        if self.ref.relation == LOGS and not self.ref.names and not self.ref.loops:
            return [self._bare_runs(nodes)]
        found = (self._branch(nodes, level) for level in self._levels(group))
        return [branch for branch in found if branch is not None]

    def _levels(self, group: Group) -> list[Level]:
        if group.signature.levels:
            return list(group.signature.levels)
        return sorted({level for _, cells in group.signature.cells for level in counting_levels(cells)})

    def _branch(self, nodes: Nodes, level: Level) -> str | None:
        """The rows that stand at `level`."""
        fixed = self.ref.relation != LOGS
        homes = self._homes(nodes, level)
        here = [name for name, levels in homes.items() if level in levels]
        node = nodes.node(level, here)
        if node is None:
            return None
        joins, sources = "", {level: "r"}
        outer = sorted({place for levels in homes.values() for place in levels if place != level})
        for count, place in enumerate(outer):
            inner = nodes.node(place, [name for name, levels in homes.items() if place in levels])
            if inner is not None:
                sources[place] = f"e{count}"
                joins += f" LEFT JOIN ({inner}) e{count} ON {same_context('r', f'e{count}', place, fixed)}"
        deeper = [] if fixed or not self.ref.names else self._deeper(nodes, level)
        where = " AND ".join(f"NOT EXISTS (FROM ({d}) d WHERE {same_context('d', 'r', level, False)})" for d in deeper)
        if where and not self._stands(nodes, level, f"FROM ({node}) r WHERE {where}"):
            return None
        columns = self._columns(nodes, level, homes, sources)
        join_run = f" JOIN {RUNS_TABLE} u ON u.run = r.run" if self._uses_run(self.ref.columns) else ""
        return f"SELECT {columns} FROM ({node}) r{joins}{join_run}" + (f" WHERE {where}" if where else "")

    def _stands(self, nodes: Nodes, level: Level, rows: str) -> bool:
        """Whether any row of a level has no deeper row below it; mostly none has, which saves an anti-join a query."""
        key = (level, nodes.group.signature, tuple(run.id for run in nodes.group.runs))
        return self.source.any_row(key, f"SELECT 1 AS found {rows} LIMIT 1", self.tables)

    def _homes(self, nodes: Nodes, level: Level) -> dict[str, list[Level]]:
        """For each name, the levels at or around `level` whose rows have it, the innermost last."""
        homes = {}
        for name, cells in nodes.group.signature.cells:
            around = sorted(place for place in counting_levels(cells) if place == level[: len(place)])
            if self.ref.relation != LOGS and (cells.recorded or cells.known == "all"):
                around = around[-1:]
            homes[name] = sorted(set(around))
        return homes

    def _deeper(self, nodes: Nodes, level: Level) -> list[str]:
        below = [
            place for place in self._levels(nodes.group) if len(place) > len(level) and place[: len(level)] == level
        ]
        found = (nodes.node(place, nodes.counting(place)) for place in below)
        return [node for node in found if node is not None]

    def _columns(
        self, nodes: Nodes, level: Level, homes: Mapping[str, list[Level]], sources: Mapping[Level, str]
    ) -> str:
        here = {shown: own for own, shown in self.history.schema.shown(level).items()}
        types = self._types()
        found = []
        for column in self.ref.columns:
            if column in self.ref.names:
                cell = _first(homes[column], sources, ident(column), types[column])
            elif column in here:
                cell = f"r.{ident(here[column])}"
            elif column in self.history.schema.loop_columns:
                cell = f"NULL::{types[column]}"
            elif column in ("run", "version", "rank", "ts"):
                cell = f"r.{column}"
            elif column in types:
                cell = f"u.{ident(column)}"
            else:
                cell = self._hidden_cell(column, homes, sources)
            found.append(f"{cell} AS {ident(column)}")
        if self.planning:
            found += self._planning(nodes, level, homes, sources)
        return ", ".join(found) or "1 AS _lq_one"

    def _hidden_cell(self, column: str, homes: Mapping[str, list[Level]], sources: Mapping[Level, str]) -> str:
        name, _, what = column.rpartition("$")
        inner = _first(homes[name], sources, ident(column), "VARCHAR")
        if what != "origin":
            return inner
        outer = [sources[place] for place in homes[name][:-1] if place in sources]
        failed = "".join(f"WHEN {source}.{ident(column)} = 'unfillable' THEN 'unfillable' " for source in outer)
        origin = f"COALESCE({inner}, 'not_logged')"
        return f"CASE {failed}ELSE {origin} END" if failed else origin

    def _planning(
        self, nodes: Nodes, level: Level, homes: Mapping[str, list[Level]], sources: Mapping[Level, str]
    ) -> list[str]:
        entry, index = key_columns(level)[:2] if level else ("", "")
        place = [
            "r.run AS _lq_run",
            f"{text(level[0]) if level else 'NULL::VARCHAR'} AS _lq_loop",
            f"{f'r.{ident(entry)}::BIGINT' if level else 'NULL::BIGINT'} AS _lq_entry",
            f"{f'r.{ident(index)}' if level else 'NULL::BIGINT'} AS _lq_index",
        ]
        sure = ["r._known" if self.ref.names and self.ref.relation == LOGS else "TRUE"]
        for name in sorted(self.ref.names):
            flag = ident(f"{name}$missing")
            missing = f"COALESCE({_first(homes[name], sources, flag, 'BOOLEAN')}, FALSE)"
            place.append(f"{missing} AS {flag}")
            if self.ref.relation == LOGS and not nodes.group.cells[name].once:
                sure.append(f"NOT {missing}")
        return [*place, f"({' AND '.join(sure)}) AS _lq_sure"]

    def _bare_runs(self, nodes: Nodes) -> str:
        """One row per run: N and L are empty."""
        columns = []
        for column in self.ref.columns:
            special = {"rank": "0::INTEGER", "ts": "u.started_at"}.get(column, f"u.{ident(column)}")
            columns.append(f"{special} AS {ident(column)}")
        if self.planning:
            columns += ["u.run AS _lq_run", "NULL::VARCHAR AS _lq_loop", "NULL::BIGINT AS _lq_entry"]
            columns += ["NULL::BIGINT AS _lq_index", "TRUE AS _lq_sure"]
        where = nodes._run_filter("u.")
        return f"SELECT {', '.join(columns) or '1 AS _lq_one'} FROM {RUNS_TABLE} u{where}"

    def _runs(self, nodes: Nodes) -> str:
        """The relation `runs`, with the names that the run level has."""
        homes = self._homes(nodes, RUN_LEVEL)
        names = [name for name, levels in homes.items() if levels]
        node = nodes.node(RUN_LEVEL, names) if names else None
        types, sources = self._types(), {RUN_LEVEL: "r"} if node is not None else {}
        columns = []
        for column in self.ref.columns:
            if column in self.ref.names:
                cell = _first(homes[column], sources, ident(column), types[column])
            elif column in types:
                cell = f"u.{ident(column)}"
            else:
                cell = self._hidden_cell(column, homes, sources)
            columns.append(f"{cell} AS {ident(column)}")
        if self.planning:
            missing = self._planning(nodes, RUN_LEVEL, homes, sources)
            columns += [cell.replace("r.run AS", "u.run AS") for cell in missing]
        join = f" LEFT JOIN ({node}) r ON r.run = u.run AND r.rank = 0" if node is not None else ""
        where = nodes._run_filter("u.")
        return f"SELECT {', '.join(columns) or '1 AS _lq_one'} FROM {RUNS_TABLE} u{join}{where}"

    def _slow(self, group: Group, prefix: str) -> str:
        """Rows formed in Python."""
        table = f"{prefix}_rows"
        types = self._types()
        hidden = {column: "VARCHAR" for column in self.ref.columns if column not in types}
        out = {column: types.get(column, "VARCHAR") for column in self.ref.columns} | hidden
        if self.planning:
            out |= PLANNING_TYPES | {f"{name}$missing": "BOOLEAN" for name in sorted(self.ref.names)}
        self.tables[table] = slow_rows(group, self.history, self.ref, self.wanted, self.source)
        system = self._run_columns()
        columns = [
            f"u.{ident(column)}" if column in system else f"t.{ident(column)}::{type_} AS {ident(column)}"
            for column, type_ in out.items()
        ]
        join = f" JOIN {RUNS_TABLE} u ON u.run = t.run" if self._uses_run(self.ref.columns) else ""
        return f"SELECT {', '.join(columns) or '1 AS _lq_one'} FROM {table} t{join}"

    def _run_columns(self) -> set[str]:
        return {"script", "status", "name", *self.history.schema.args}

    def _uses_run(self, columns: Iterable[str]) -> bool:
        return not self._run_columns().isdisjoint(columns)

    def _types(self) -> dict[str, str]:
        schema = self.history.schema
        base = RUN_TYPES if self.ref.relation == RUNS else SYSTEM_TYPES
        types = {**base, **schema.args, **schema.loop_columns}
        nodes = Nodes(NO_GROUP, self.history, self.wanted, {}, "")
        return {**types, **{name: nodes.type_of(name) for name in self.ref.names}}

    def _nothing(self) -> str:
        types = self._types() | (PLANNING_TYPES if self.planning else {})
        columns = [*self.ref.columns, *(PLANNING_TYPES if self.planning else ())]
        cells = [f"NULL::{types.get(column, 'VARCHAR')} AS {ident(column)}" for column in columns]
        if self.planning:
            cells += [f"NULL::BOOLEAN AS {ident(f'{name}$missing')}" for name in sorted(self.ref.names)]
        return f"SELECT {', '.join(cells) or '1 AS _lq_one'} WHERE FALSE"


def _first(levels: list[Level], sources: Mapping[Level, str], column: str, type_: str) -> str:
    """The innermost value of a column that several enclosing nodes may have."""
    found = [f"{sources[level]}.{column}" for level in reversed(levels) if level in sources]
    if not found:
        return f"NULL::{type_}"
    return found[0] if len(found) == 1 else f"COALESCE({', '.join(found)})"


def _hidden(ref: LogsRef) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for column in ref.columns:
        name, mark, what = column.rpartition("$")
        if mark and what in HIDDEN and name in ref.names and column not in ref.names:
            found.setdefault(name, set()).add(what)
    return {name: frozenset(asked) for name, asked in found.items()}
