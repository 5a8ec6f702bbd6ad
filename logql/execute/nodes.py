"""The rows of one level that some runs have, with values and flags of the names that count there, as SQL.

A node has the columns run, version, rank, ts, the level's keys, the loop columns that are used, and per name "n" and
whatever is asked of "n$missing", "n$origin", "n$fidelity", "n$reason", "n$text". Only rows that stand are in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from logql.catalog.history import Cells, History
from logql.catalog.schema import explicit
from logql.execute.groups import Group, counting_levels
from logql.execute.scans import FRAME_TYPES, misfits, scan
from logql.execute.settled import coverage_table, reasons_table
from logql.execute.sqltext import ident, key_columns, loop_column_names, text, texts
from logql.execute.tables import Tables, keys
from logql.execute.untyped import TIME_TYPE, type_of
from logql.model import RUN_LEVEL, Level
from logql.store.layout import level_directory

_FEW_RUNS = 50


@dataclass(frozen=True)
class Wanted:
    """What a reference needs besides its names: loop columns, hidden columns by name, planning columns, `ts`.

    `times`: names that have no type and are taken for times.
    """

    loops: frozenset[str]
    hidden: Mapping[str, frozenset[str]]
    planning: bool = False
    ts: bool = False
    times: frozenset[str] = frozenset()

    def flags(self, name: str) -> list[str]:
        """Hidden columns of `name`, and the flag that planning adds."""
        asked = sorted(self.hidden.get(name, ()))
        return [*asked, "missing"] if self.planning else asked


@dataclass
class Nodes:
    """Builds nodes for one group of runs."""

    group: Group
    history: History
    wanted: Wanted
    tables: Tables
    prefix: str
    every_row: bool = False
    _filter: str | None = field(default=None, init=False)

    def counting(self, level: Level) -> list[str]:
        """Names of N that count at `level`."""
        return [name for name, cells in self.group.signature.cells if level in counting_levels(cells)]

    def type_of(self, name: str) -> str:
        """The unified type of a name."""
        return TIME_TYPE if name in self.wanted.times else type_of(name, self.history)

    def node(self, level: Level, names: Sequence[str]) -> str | None:
        """SQL of the node of `level` with `names`; None where no piece of that level exists."""
        virtual = [name for name in names if level not in self.group.cells[name].recorded]
        recorded = [name for name in names if name not in virtual]
        rows = self._recorded(level, recorded)
        if rows is None:
            return None
        cells = [self._cell(level, name, name in recorded) for name in names]
        loops = [column for column in loop_column_names(level) if column in self._loop_columns(level)]
        known = " OR ".join(cell.known for cell in cells) or "TRUE"
        standing = " OR ".join(cell.stands for cell in cells) or "TRUE"
        select = ["run", "version", "rank", *map(ident, loops)]
        columns = [f"r.{column}" for column in select]
        if self.wanted.ts and self.every_row:
            columns.append("r.ts")
        elif self.wanted.ts:
            hindsight = " OR ".join(f"({cell.known})" for cell in cells if cell.recorded)
            columns.append(f"CASE WHEN {hindsight or ('FALSE' if cells else 'TRUE')} THEN r.ts END AS ts")
        columns += [column for cell in cells for column in cell.columns]
        if self.wanted.planning:
            columns.append(f"COALESCE({known}, FALSE) AS _known")
        joins = "".join(join for cell in cells for join in cell.joins)
        where = "" if self.every_row or standing == "TRUE" else f" WHERE {standing}"
        return f"SELECT {', '.join(columns)} FROM ({rows}) r{joins}{where}"

    def _loop_columns(self, level: Level) -> set[str]:
        shown = self.history.schema.shown(level)
        return {*key_columns(level), *(own for own, name in shown.items() if name in self.wanted.loops)}

    def _recorded(self, level: Level, names: Sequence[str]) -> str | None:
        """The contexts of a level with their recorded values, one row each."""
        pieces = self.history.snapshot.levels.get(level_directory(level), ())
        bare = {explicit(name, self.history)[0]: self.type_of(name) for name in names}
        texts_ = {f"{name}$text": "VARCHAR" for name in misfits(pieces, bare)}
        used = self._loop_columns(level)
        loops = {own: self._loop_type(c) for own, c in self.history.schema.shown(level).items() if own in used}
        wanted = {name: FRAME_TYPES[name] for name in ("run", "version", "rank")} | loops
        if self.wanted.ts:
            wanted["ts"] = "TIMESTAMP"
        parted = level in self.group.signature.parted
        extra = {"_null": "VARCHAR[]"} if bare else {}
        extra |= {"_seq": "BIGINT", "_sub": "INTEGER", "_part": "INTEGER"} if parted else {}
        rows = scan(pieces, {**wanted, **bare, **texts_, **extra}, self.tables)
        if rows is None:
            return None
        filtered = f"SELECT * FROM ({rows}){self._run_filter() if level in self.group.shared else ''}"
        return _merge_parts(filtered, wanted, bare, texts_) if parted else filtered

    def _loop_type(self, column: str) -> str:
        return self.history.schema.loop_columns.get(column, "BIGINT")

    def _run_filter(self, alias: str = "") -> str:
        if self.group.all_runs:
            return ""
        if self._filter is None:
            runs = [run.id for run in self.group.runs]
            if len(runs) <= _FEW_RUNS:
                self._filter = texts(runs)
            else:
                self.tables[f"{self.prefix}_runs"] = keys(runs)
                self._filter = f"(SELECT run FROM {self.prefix}_runs)"
        return f" WHERE {alias}run IN {self._filter}"

    def _cell(self, level: Level, name: str, recorded: bool) -> NodeCell:
        cells = self.group.cells[name]
        if recorded:
            return self._recorded_cell(level, name)
        if level in cells.placed:
            return self._placed_cell(level, name, cells)
        return self._unfillable_cell(level, name, cells)

    def _recorded_cell(self, level: Level, name: str) -> NodeCell:
        bare = explicit(name, self.history)[0]
        pieces = self.history.snapshot.levels.get(level_directory(level), ())
        other = f"r.{ident(bare + '$text')}" if misfits(pieces, {bare: self.type_of(name)}) else None
        value = f"r.{ident(bare)}"
        known = f"{value} IS NOT NULL OR list_contains(r._null, {text(bare)})"
        fits = known
        if other is not None:
            known += f" OR {other} IS NOT NULL"
        origin = f"CASE WHEN {fits} THEN 'recorded' ELSE 'not_logged' END"
        if other is not None:
            origin = (
                f"CASE WHEN {other} IS NOT NULL THEN 'other_type' WHEN {fits} THEN 'recorded' ELSE 'not_logged' END"
            )
        flags = {"missing": "FALSE", "origin": origin, "text": other or "NULL::VARCHAR"}
        return self._finish(name, value, flags, known, known, (), True)

    def _placed_cell(self, level: Level, name: str, cells: Cells) -> NodeCell:
        """A cell that a replay fills: settled where coverage says so, else missing, and its row assumed."""
        if cells.known == "none":
            flags = {"missing": "TRUE", "origin": "'missing'"}
            return self._finish(name, f"NULL::{self.type_of(name)}", flags, "FALSE", "TRUE", (), False)
        c, h = f"c_{self._number(name)}", f"h_{self._number(name)}"
        values = self._hindsight(level, name)
        joins = [f" LEFT JOIN {self._coverage(name)} {c} ON {_covers(c, level)}"]
        value, has = f"NULL::{self.type_of(name)}", "FALSE"
        if values is not None:
            on = " AND ".join(f"{h}.{ident(k)} = r.{ident(k)}" for k in ("run", "rank", *key_columns(level)))
            joins.append(f" LEFT JOIN ({values}) {h} ON {on} AND {h}._fill = {c}.fill AND {c}.filled")
            value, has = f"{h}.value", f"({h}.run IS NOT NULL)"
        other = f"{h}.other" if values is not None else "NULL::VARCHAR"
        missing = f"({c}.fill IS NULL)"
        failed = f"({c}.filled = FALSE)"
        at_main = level in cells.unfillable
        known = f"({has} OR {failed})" if at_main and cells.failed else has
        origin = (
            f"CASE WHEN {missing} THEN 'missing' WHEN {failed} THEN 'unfillable' "
            f"WHEN {other} IS NOT NULL THEN 'other_type' WHEN {has} THEN 'hindsight' ELSE 'not_logged' END"
        )
        flags = {
            "missing": missing,
            "origin": origin,
            "text": other,
            "fidelity": f"{c}.fidelity",
            "reason": f"CASE WHEN {failed} THEN {c}.reason END",
        }
        return self._finish(name, value, flags, known, f"({missing} OR {known})", tuple(joins), False)

    def _unfillable_cell(self, level: Level, name: str, cells: Cells) -> NodeCell:
        """A cell that no replay can give: of a whole run, or of the iterations whose replay failed."""
        value = f"NULL::{self.type_of(name)}"
        if not cells.failed:
            u = f"u_{self._number(name)}"
            flags = {"missing": "FALSE", "origin": "'unfillable'"}
            joins: tuple[str, ...] = ()
            if "reason" in self.wanted.flags(name):
                joins = (f" LEFT JOIN {reasons_table(self, name)} {u} ON {u}.run = r.run",)
                flags["reason"] = f"{u}.reason"
            return self._finish(name, value, flags, "TRUE", "TRUE", joins, False)
        c = f"c_{self._number(name)}"
        join = f" LEFT JOIN {self._coverage(name)} {c} ON {_covers(c, level)}"
        failed = f"COALESCE({c}.filled = FALSE, FALSE)"
        flags = {
            "missing": "FALSE",
            "origin": f"CASE WHEN {failed} THEN 'unfillable' ELSE 'not_logged' END",
            "reason": f"CASE WHEN {failed} THEN {c}.reason END",
            "fidelity": f"CASE WHEN {failed} THEN {c}.fidelity END",
        }
        return self._finish(name, value, flags, failed, failed, (join,), False)

    def _finish(
        self, name: str, value: str, flags: Mapping[str, str], known: str, stands: str, joins: Iterable[str],
        recorded: bool,
    ) -> NodeCell:  # fmt: skip
        columns = [f"{value} AS {ident(name)}"]
        for flag in self.wanted.flags(name):
            columns.append(f"{flags.get(flag, 'NULL::VARCHAR')} AS {ident(f'{name}${flag}')}")
        return NodeCell(tuple(columns), known, stands, tuple(joins), recorded)

    def _coverage(self, name: str) -> str:
        return coverage_table(self, name)

    def _number(self, name: str) -> int:
        return [known for known, _ in self.group.signature.cells].index(name)

    def _hindsight(self, level: Level, name: str) -> str | None:
        """Hindsight values of a name at a level, one row per context and fill."""
        bare = explicit(name, self.history)[0]
        pieces = [
            piece for piece in self.history.snapshot.hindsight.get(level_directory(level), ()) if bare in piece.schema
        ]
        key_types = {key: "INTEGER" if key.endswith("_entry") else "BIGINT" for key in key_columns(level)}
        frame = {column: FRAME_TYPES[column] for column in ("run", "rank", "_fill", "_null", "_seq", "_sub")}
        texts_ = {f"{bare}$text": "VARCHAR"} if misfits(pieces, {bare: self.type_of(name)}) else {}
        rows = scan(pieces, {**frame, **key_types, bare: self.type_of(name), **texts_}, self.tables)
        if rows is None:
            return None
        by = ", ".join(ident(column) for column in ("run", "rank", "_fill", *key_columns(level)))
        other = ident(f"{bare}$text") if texts_ else "NULL::VARCHAR"
        there = f"({ident(bare)} IS NOT NULL OR {other} IS NOT NULL OR list_contains(_null, {text(bare)}))"
        last = f"arg_max_null({ident(bare)}, (_seq, _sub)) AS value, arg_max_null({other}, (_seq, _sub)) AS other"
        return f"SELECT {by}, {last} FROM ({rows}){self._run_filter() or ' WHERE TRUE'} AND {there} GROUP BY {by}"


@dataclass(frozen=True)
class NodeCell:
    """A name in a node: its columns, when its value is there, when its row stands, what has to be joined."""

    columns: tuple[str, ...]
    known: str
    stands: str
    joins: tuple[str, ...]
    recorded: bool


def _covers(alias: str, level: Level) -> str:
    if level == RUN_LEVEL:
        return f"{alias}.run = r.run AND {alias}.loop IS NULL"
    entry, index = key_columns(level)[:2]
    place = f"{alias}.entry = r.{ident(entry)} AND {alias}.idx = r.{ident(index)}"
    return f"{alias}.run = r.run AND {alias}.loop = {text(level[0])} AND {place}"


def _merge_parts(rows: str, keys_: Mapping[str, str], names: Mapping[str, str], texts_: Mapping[str, str]) -> str:
    """One row per context of rows that may be parts; of a name logged several times, the last value."""
    by = [column for column in keys_ if column != "ts"]
    columns = [ident(column) for column in by]
    if "ts" in keys_:
        columns.append("max(ts) AS ts")
    for name in names:
        there = f"{ident(name)} IS NOT NULL OR list_contains(_null, {text(name)})"
        if f"{name}$text" in texts_:
            there += f" OR {ident(name + '$text')} IS NOT NULL"
            columns.append(_last(f"{name}$text", there))
        columns.append(_last(name, there))
    if names:
        columns.append("flatten(list(_null) FILTER (_null IS NOT NULL)) AS _null")
    return f"SELECT {', '.join(columns)} FROM ({rows}) GROUP BY {', '.join(map(ident, by))}"


def _last(name: str, there: str) -> str:
    return f"arg_max_null({ident(name)}, COALESCE(_part, 0)) FILTER ({there}) AS {ident(name)}"
