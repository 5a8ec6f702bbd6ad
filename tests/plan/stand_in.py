"""A small engine for the planner's tests: histories say what each iteration logged, rows follow the rule of `logs`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

from logql.plan.demand import Demand
from logql.sql.bound import REF_META, STAR_META, BoundQuery, LogsRef, ref_of

NAMES = ("val_acc", "gn", "hn")
VIRTUAL = ("gn", "hn")
FIXED = ("run", "version", "epoch")
COLUMNS = (*FIXED, *NAMES)
Cell = tuple[str, int, str]


@dataclass(frozen=True)
class Unit:
    """One epoch of a run: what it logs, in order. `once`: the statements are known to run at most once."""

    run: str
    epoch: int
    version: int
    events: tuple[tuple[str, float | None], ...]
    once: bool = True


@dataclass
class History:
    """What really happened, and which cells nobody logged yet."""

    units: Sequence[Unit]
    missing: set[Cell] = field(default_factory=set)

    def fill(self, demands: Iterable[Demand]) -> None:
        """Do what is demanded, and nothing else."""
        for item in demands:
            for index, name in item.cells():
                self.missing.discard((item.run, index or 0, name))

    def full(self) -> History:
        """The same history with everything logged."""
        return History(self.units)


def rows_of(
    unit: Unit, names: frozenset[str], missing: frozenset[str], relation: str = "logs"
) -> list[dict[str, object]]:
    """Rows that an epoch has for the names N: a name logged again starts the next row; in `epoch` it has one."""
    if not names:
        return [{}]
    if relation != "logs":
        return [{name: value for name, value in unit.events if name in names - missing}]
    rows: list[dict[str, object]] = []
    for name, value in unit.events:
        if name not in names or name in missing:
            continue
        if not rows or name in rows[-1]:
            rows.append({})
        rows[-1][name] = value
    if missing & names and not rows:
        rows.append({})
    return rows


@functools.cache
def _shared() -> duckdb.DuckDBPyConnection:
    """One small database for all tests of a process."""
    return duckdb.connect(config={"threads": 1})


class StandIn:
    """Answers planning queries over a history; plain DuckDB with one table per set of names."""

    def __init__(self, history: History) -> None:
        self.connection = _shared().cursor()
        self.history = history
        self.tables: dict[object, str] = {}
        self.queries = 0
        self.log: list[str] = []

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def fetch(self, tree: exp.Expr) -> list[dict[str, Any]]:
        """Planning mode."""
        self.queries += 1
        return self.run(tree).to_pylist()

    def run(self, tree: exp.Expr) -> pa.Table:
        """Lower and run a tree."""
        tree = tree.copy()
        for table in list(tree.find_all(exp.Table)):
            ref = ref_of(table)
            if ref is not None:
                self._lower(table, ref)
        sql = tree.sql("duckdb")
        self.log.append(sql)
        return self.connection.sql(sql).to_arrow_table()

    def _lower(self, table: exp.Table, ref: LogsRef) -> None:
        state = (ref.relation, ref.names, frozenset(self.history.missing))
        name = self.tables.get(state)
        if name is None:
            name = self.tables[state] = f"t{len(self.tables)}"
            self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {self._rows_sql(ref)}")
        table.replace(exp.Table(this=exp.to_identifier(name), alias=table.args.get("alias")))

    def _rows_sql(self, ref: LogsRef) -> str:
        rows, names = [], ref.names
        for unit in self.history.units:
            missing = frozenset(n for n in names if (unit.run, unit.epoch, n) in self.history.missing)
            logged = {name for name, _ in unit.events}
            sure = ref.relation != "logs" or (unit.once and bool((logged & names) - missing))
            for row in rows_of(unit, names, missing, ref.relation):
                values = [_literal(row.get(name)) + "::DOUBLE" for name in NAMES]
                flags = [str(name in missing).upper() for name in VIRTUAL]
                key = [f"'{unit.run}'", str(unit.version), str(unit.epoch)]
                rows.append(f"({', '.join([*key, *values, *flags, str(sure).upper()])})")
        flags = [f'"{name}$missing"' for name in VIRTUAL]
        head = ", ".join([*COLUMNS, *flags, "_lq_sure"])
        origins = ", ".join(
            f"CASE WHEN \"{name}$missing\" THEN 'missing' ELSE 'recorded' END AS \"{name}$origin\"" for name in VIRTUAL
        )
        hidden = f"{origins}, run AS _lq_run, 'epoch' AS _lq_loop, 0 AS _lq_entry, epoch AS _lq_index"
        if not rows:
            empty = [*("''", "0", "0"), *["0::DOUBLE"] * 3, *["FALSE"] * 3]
            return f"SELECT *, {hidden} FROM (VALUES ({', '.join(empty)})) t({head}) WHERE FALSE"
        return f"SELECT *, {hidden} FROM (VALUES {', '.join(rows)}) t({head})"


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    return "'nan'" if value != value else repr(value)


def bind(sql: str, names: Sequence[str] = NAMES) -> BoundQuery:
    """A small binder: marks each `logs` and `epoch` with the columns used of it, expands stars, qualifies."""
    tree = sqlglot.parse_one(sql, read="duckdb")
    counter = itertools.count()
    refs: list[LogsRef] = []
    for select in list(tree.find_all(exp.Select)):
        tables = _log_tables(select)
        if not tables:
            continue
        _expand_star(select, tables, names)
        only = next(iter(tables)) if len(tables) == 1 and _single(select) else None
        _qualify(select, only, names)
    for select in list(tree.find_all(exp.Select)):
        for alias, table in _log_tables(select).items():
            used = {c.name for c in select.find_all(exp.Column) if c.table == alias}
            found = frozenset(used & set(names))
            ref = LogsRef(next(counter), alias, table.name, found, frozenset(used & {"epoch"}), found & set(VIRTUAL))
            table.meta[REF_META] = ref
            refs.append(ref)
    return BoundQuery(sql, tree, tuple(refs))


def _log_tables(select: exp.Select) -> Mapping[str, exp.Table]:
    found = {}
    clause = select.args.get("from_")
    for item in [clause] if clause else []:
        found.update(_if_logs(item.this))
    for join in select.args.get("joins") or ():
        found.update(_if_logs(join.this))
    return found


def _if_logs(table: exp.Expr) -> Mapping[str, exp.Table]:
    if not isinstance(table, exp.Table) or table.name not in ("logs", "epoch"):
        return {}
    if not table.alias:
        table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name)))
    return {table.alias: table}


def _single(select: exp.Select) -> bool:
    return not select.args.get("joins")


def _expand_star(select: exp.Select, tables: Mapping[str, exp.Table], names: Sequence[str]) -> None:
    if not any(isinstance(p, exp.Star) for p in select.expressions) or not _single(select):
        return
    alias = next(iter(tables))
    items: list[exp.Expr] = []
    for item in select.expressions:
        if isinstance(item, exp.Star):
            for name in (*FIXED, *names):
                star = exp.column(name, table=alias)
                star.meta[STAR_META] = True
                items.append(star)
        else:
            items.append(item)
    select.set("expressions", items)


def _qualify(select: exp.Select, only: str | None, names: Sequence[str]) -> None:
    if only is None:
        return
    aliases = {p.alias for p in select.expressions if isinstance(p, exp.Alias)}
    for node in list(_direct_columns(select)):
        if not node.table and node.name in (*FIXED, *names) and node.name not in aliases:
            node.set("table", exp.to_identifier(only))


def _direct_columns(node: exp.Expr) -> Iterable[exp.Column]:
    for child in node.iter_expressions():
        if isinstance(child, exp.Select | exp.SetOperation):
            continue
        if isinstance(child, exp.Column):
            yield child
        else:
            yield from _direct_columns(child)
