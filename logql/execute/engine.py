"""DuckDB, and relations of logql as SQL that it runs. The only class that holds a DuckDB connection."""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import duckdb
import pyarrow as pa
from sqlglot import exp

from logql.catalog.history import History
from logql.catalog.relations import FIXED_TYPES
from logql.errors import BindError, CorruptFile, Error, OperationalError
from logql.execute.answers import Answer, answer_of, as_written, gives_rows, read_batches, unqualified
from logql.execute.errors import may_be_damage, translate
from logql.execute.fixed import Comments, fixed_table, output_sql
from logql.execute.lower import Lowered, lower
from logql.execute.origins import count_origins
from logql.execute.rest import BATCH_ROWS, HELD_BYTES, Rest
from logql.execute.runs import RUNS_TABLE, RunColumns
from logql.execute.sqltext import ident, texts
from logql.execute.tables import Tables
from logql.execute.untyped import choices, untyped
from logql.sql.bound import REF_META, BoundQuery, LogsRef
from logql.sql.walk import find
from logql.sql.written import written
from logql.store.damage import find_damage

T = TypeVar("T")
Parameters = Sequence[object] | Mapping[str, object] | None


class Database:
    """A DuckDB database: in memory and shared by all connections of this process to one store, or a file."""

    def __init__(self, store: str, path: str | None = None, read_only: bool = False) -> None:
        digest = hashlib.sha256(os.path.realpath(store).encode()).hexdigest()[:16]
        try:
            self._connection = duckdb.connect(path or f":memory:logql-{digest}", read_only=read_only and bool(path))
        except duckdb.Error as error:
            raise OperationalError(str(error), hint="one process at a time can open a database file") from error
        self._connection.execute("SET python_enable_replacements = false")

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the database, with temporary tables and a transaction of its own."""
        return self._connection.cursor()

    def close(self) -> None:
        """Give the database back; one in memory is gone when the last connection to it is."""
        self._connection.close()


class Engine:
    """Runs bound queries over one history at a time."""

    def __init__(self, database: Database) -> None:
        self._connection = database.cursor()
        self._connection.execute("SET python_enable_replacements = false")
        self._connection.execute("SET TimeZone = 'UTC'")  # in which the record's times are, so that now() meets them
        self._lock = threading.RLock()
        self._open: weakref.ref[Rest] | None = None
        self._lent: list[str] = []
        self._instant = False
        self._lowered: dict[tuple[LogsRef, bool, frozenset[str]], Lowered] = {}
        self._times: frozenset[str] = frozenset()
        self._any: dict[Hashable, bool] = {}
        self._history: History | None = None
        self._comments: Comments = {"run": {}, "version": {}, "column": {}}
        self._runs: RunColumns | None = None
        self._repeats: dict[str | int, frozenset[tuple[str, str]]] = {}

    def close(self) -> None:
        """Close the connection to DuckDB."""
        if (opened := self._opened()) is not None:
            opened.close()
        self._connection.close()

    def interrupt(self) -> None:
        """Stop the query that is running, from another thread."""
        self._connection.interrupt()

    # -- history

    def use(self, history: History, comments: Comments) -> None:
        """Take `history` for all that follows."""
        if history is not self._history:
            self._history, self._runs = history, None
            self._lowered.clear()
            self._any.clear()
            self._repeats = {key: found for key, found in self._repeats.items() if isinstance(key, str)}
        if comments is not self._comments:
            self._comments, self._runs = comments, None

    @property
    def history(self) -> History:
        """The history at hand."""
        assert self._history is not None, "Engine.use comes first"
        return self._history

    # -- what the binder asks

    def own_relations(self) -> frozenset[str]:
        """Names of all tables and views that DuckDB knows, in lower case."""
        sql = (
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main' "
            "UNION ALL SELECT view_name FROM duckdb_views() WHERE NOT internal AND schema_name = 'main'"
        )
        try:
            with self._lock:
                return frozenset(str(name).lower() for (name,) in self._free().execute(sql).fetchall())
        except duckdb.Error as error:
            raise translate(error, rewritten=True) from error

    def own_columns(self, relation: str) -> list[str] | None:
        """Columns of what DuckDB finds under `relation` in a FROM."""
        try:
            with self._lock:
                found = self._free().sql(f"SELECT * FROM {relation} LIMIT 0")
                return [str(name) for name in found.columns]
        except duckdb.Error:
            return None

    # -- queries

    def run(self, bound: BoundQuery, parameters: Parameters = None, *, in_parts: bool = False) -> Answer:
        """Run a bound query."""

        def answered() -> Answer:
            tables: Tables = {}
            sql = self._final(bound, tables)
            return self.execute(sql, parameters, tables, rewritten=bool(bound.refs), in_parts=in_parts)

        answer = as_written(self._with_types(bound.refs, answered), bound)
        return answer if bound.patches is not None else unqualified(answer, bound)

    def sql_of(self, bound: BoundQuery) -> str:
        """The SQL that DuckDB would get, for a person to read."""
        return self._final(bound, {})

    def explain(self, bound: BoundQuery, analyze: bool = False) -> list[tuple[str, str]]:
        """DuckDB's plan of a bound query, as its EXPLAIN gives it."""

        def explained() -> Answer:
            tables: Tables = {}
            sql = self._final(bound, tables)
            return self.execute(f"EXPLAIN {'ANALYZE ' if analyze else ''}{sql}", None, tables, rewritten=True)

        found = self._with_types(bound.refs, explained).table
        return [(str(row["explain_key"]), str(row["explain_value"])) for row in found.to_pylist()]

    def fetch(self, tree: exp.Expr) -> list[dict[str, Any]]:
        """The rows of a query that the planner wrote: its references have planning columns.

        A relation would have DuckDB bind the query twice, which takes longer than running it.
        """
        marks = [node.meta[REF_META] for node in find(tree, exp.Table) if REF_META in node.meta]
        return self._with_types(marks, lambda: self._fetch(tree))

    def _with_types(self, references: Iterable[LogsRef], work: Callable[[], T]) -> T:
        """Do what DuckDB may refuse because a name that was never filled has no type; then some of them are times."""
        try:
            return work()
        except BindError:
            for times in choices(untyped(references, self.history)):
                self._times = times
                with suppress(BindError):
                    return work()
            raise
        finally:
            self._times = frozenset()

    def _fetch(self, tree: exp.Expr) -> list[dict[str, Any]]:
        tables: Tables = {}
        sql = self._from_tree(tree, tables, planning=True)
        try:
            with self._lock:
                connection = self._free()
                self._lend(tables)
                found = connection.execute(sql)
                names = [str(column[0]) for column in found.description or ()]
                return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        except duckdb.Error as error:
            self._begin_again()
            raise self._error(error, rewritten=True) from error

    @contextmanager
    def one_instant(self) -> Iterator[None]:
        """One transaction for planning, filling and answering: own tables and the clock stand still meanwhile."""
        with self.all_or_none() as begun:
            self._instant = begun
            try:
                yield
            finally:
                self._instant = False

    @contextmanager
    def all_or_none(self) -> Iterator[bool]:
        """One transaction for several statements, unless a person has begun one; says whether it is its own."""
        if self._in_transaction():
            yield False
            return
        self.execute("BEGIN TRANSACTION")
        try:
            yield True
        except BaseException:
            with suppress(Error):
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def _in_transaction(self) -> bool:
        """Whether a transaction is open; to begin another one to find out would end it."""
        first, second = (self.execute("SELECT txid_current() AS id").table.column(0)[0] for _ in range(2))
        return bool(first == second)

    def _begin_again(self) -> None:
        """After an error that ended the transaction of this instant, another."""
        if self._instant:
            with suppress(duckdb.Error):
                self._connection.execute("ROLLBACK")
                self._connection.execute("BEGIN TRANSACTION")

    def execute(
        self,
        sql: str,
        parameters: Parameters = None,
        tables: Tables | None = None,
        rewritten: bool = False,
        in_parts: bool = False,
    ) -> Answer:
        """Run SQL of DuckDB's over registered tables. With `in_parts`, a large result is read as it is fetched."""
        try:
            with self._lock:
                connection = self._free()
                self._lend(tables or {})
                params: Any = dict(parameters) if isinstance(parameters, Mapping) else list(parameters or ())
                found = connection.sql(sql, params=params) if params else connection.sql(sql)
                if found is None or not in_parts or not gives_rows(sql):
                    return answer_of(found, sql)
                return self._first_part(found, rewritten)
        except duckdb.Error as error:
            raise self._error(error, rewritten) from error

    def _error(self, error: Exception, rewritten: bool) -> Error:
        return self._damage(error) or translate(error, rewritten)

    def _damage(self, error: Exception) -> CorruptFile | None:
        """The damaged file of the store that may be behind an error that is not about the query's text."""
        if self._history is None or not may_be_damage(error):
            return None
        snapshot = self._history.snapshot
        pieces = (piece for part in (snapshot.levels, snapshot.hindsight) for own in part.values() for piece in own)
        return find_damage(pieces, str(error))

    def _first_part(self, found: duckdb.DuckDBPyRelation, rewritten: bool) -> Answer:
        """The result if it is small, else its first rows and the rest."""
        types = tuple(str(type_) for type_ in found.types)
        reader = found.to_arrow_reader(BATCH_ROWS)
        batches, size, as_error = [], 0, partial(self._error, rewritten=rewritten)
        for batch in read_batches(reader, as_error):
            batches.append(batch)
            size += batch.nbytes
            if size > HELD_BYTES:
                rest = Rest(reader, as_error)
                self._open = weakref.ref(rest)
                return Answer(pa.Table.from_batches(batches), types, rest=rest)
        return Answer(pa.Table.from_batches(batches, reader.schema), types)

    def _free(self) -> duckdb.DuckDBPyConnection:
        """The connection, ready for a statement: it has one result at a time, and an open one is kept elsewhere."""
        if (opened := self._opened()) is not None:
            opened.keep()
        self._open = None
        lent, self._lent = self._lent, []
        for name in lent:
            with suppress(duckdb.Error):  # a transaction that failed drops them by itself
                self._connection.unregister(name)
        return self._connection

    def _opened(self) -> Rest | None:
        """The rest of a result that somebody may still read."""
        return self._open() if self._open is not None else None

    def _lend(self, tables: Tables) -> None:
        """Register tables until the next statement."""
        for name, table in tables.items():
            self._lent.append(name)
            self._connection.register(name, table)

    def read(self, sql: str, tables: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a query over registered tables."""
        found: list[dict[str, Any]] = self.execute(sql, None, dict(tables)).table.to_pylist()
        return found

    def repeats(self, name: str, run: str) -> bool:
        """Whether hindsight values of a name in a run came several times in one context."""
        pieces = [piece for level in self.history.snapshot.hindsight.values() for piece in level]
        for piece in pieces:
            if name not in piece.schema:
                continue
            key = piece.path or id(piece.table)  # an id is good for as long as the history is the same
            if key not in self._repeats:
                source = f"read_parquet(['{piece.path}'])" if piece.path else "_lq_piece"
                sql = f"SELECT DISTINCT run, unnest(_order) AS name FROM {source} WHERE _part IS NOT NULL"
                rows = self.read(sql, {} if piece.path else {"_lq_piece": piece.table})
                self._repeats[key] = frozenset((row["run"], row["name"]) for row in rows)
            if (run, name) in self._repeats[key]:
                return True
        return False

    def any_row(self, key: Hashable, sql: str, tables: Mapping[str, Any]) -> bool:
        """Whether a query has any row; remembered under `key` for as long as the history is the same."""
        if key not in self._any:
            self._any[key] = bool(self.read(sql, {**tables, RUNS_TABLE: self.runs_table()}))
        return self._any[key]

    # -- lowering

    def _final(self, bound: BoundQuery, tables: Tables) -> str:
        if not bound.refs and bound.patches is not None and not bound.patches:
            return bound.sql
        return self._patched(bound, tables) if bound.patches is not None else self._from_tree(bound.tree, tables)

    def _patched(self, bound: BoundQuery, tables: Tables) -> str:
        """The original text with its references lowered in place."""
        parts, end = [], 0
        for patch in bound.patches or ():
            inner = patch.text
            if patch.ref is not None:
                inner = f"({self._reference(patch.ref, tables)})"
            elif patch.view is not None:
                inner = f"({self._final(patch.view, tables)})"
            parts += [bound.sql[end : patch.start], patch.prefix, inner, patch.suffix]
            end = patch.end
        return "".join([*parts, bound.sql[end:]])

    def _from_tree(self, tree: exp.Expr, tables: Tables, planning: bool = False) -> str:
        """SQL of a tree whose marked references are lowered; one for planning was written for this alone."""
        tree = tree if planning else tree.copy()
        lowered: dict[str, str] = {}
        for node in list(find(tree, exp.Table)):
            ref = node.meta.get(REF_META)
            if isinstance(ref, LogsRef):
                name = f"_lq_mark_{ref.id}_"
                lowered[name] = self._reference(ref, tables, planning)
                node.set("this", exp.to_identifier(name, quoted=True))
                node.set("db", None)
                node.set("catalog", None)
        sql = written(tree)
        for name, text in lowered.items():
            sql = sql.replace(ident(name), f"({text})")
        return sql

    def _reference(self, ref: LogsRef, tables: Tables, planning: bool = False) -> str:
        sql = self._named_by_relation(ref, tables, planning)
        if not ref.renames:
            return sql
        renames = ", ".join(f"{ident(column)} AS {ident(name)}" for column, name in ref.renames)
        return f"SELECT * RENAME ({renames}) FROM ({sql})"

    def _named_by_relation(self, ref: LogsRef, tables: Tables, planning: bool) -> str:
        if ref.relation in FIXED_TYPES:
            return self._fixed(ref.relation, ref, tables)
        if ref.relation == "output":
            return f"SELECT * FROM ({output_sql(self.history, tables)}){_of_versions(ref)}"
        key = (ref, planning, self._times & ref.names)
        if key not in self._lowered:
            self._lowered[key] = lower(ref, self.history, self, planning, self._times)
        found = self._lowered[key]
        tables.update(found.tables)
        known = tables[RUNS_TABLE].column_names if RUNS_TABLE in tables else ()
        tables[RUNS_TABLE] = self.runs_table([*known, *ref.columns])
        return found.sql

    def runs_table(self, columns: Iterable[str] = ()) -> pa.Table:
        """The runs, with those of `columns` that a run has."""
        if self._runs is None:
            self._runs = RunColumns(self.history, self._comments["run"])
        return self._runs.table([*columns, "started_at"])

    def _fixed(self, relation: str, ref: LogsRef, tables: Tables) -> str:
        name = f"_lq_{relation}"
        if name not in tables:
            table = fixed_table(relation, self.history, self._comments)
            tables[name] = count_origins(table, self) if relation == "columns" and _counts(ref) else table
        columns = ", ".join(map(ident, ref.columns)) or "1 AS _lq_one"
        return f"SELECT {columns} FROM {name}{_of_versions(ref)}"


def _of_versions(ref: LogsRef) -> str:
    return "" if ref.versions is None else f" WHERE version IN {texts(sorted(ref.versions))}"


def _counts(ref: LogsRef) -> bool:
    wanted = {"recorded", "hindsight", "not_logged", "missing", "unfillable", "other_type"}
    return not wanted.isdisjoint(ref.columns)
