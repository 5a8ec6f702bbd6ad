"""logql's own statements, executed: what each does to the store or to the connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from logql.catalog.made import Made
from logql.catalog.relations import FIXED_NAMES
from logql.errors import BindError, Error, NotSupportedError, ProgrammingError
from logql.execute.answers import Answer
from logql.execute.fixed import Comments
from logql.execute.sqltext import ident
from logql.execute.tables import typed
from logql.explaining import explain_query
from logql.plan.demand import RULES
from logql.sql.binder import Binder, bind_query
from logql.sql.bound import LOGS
from logql.sql.names import nearest
from logql.sql.parameters import Parameters, write_parameters
from logql.sql.statements import (
    Comment,
    CreateKept,
    CreateVirtual,
    DropKept,
    DropVirtual,
    Explain,
    FillColumns,
    Query,
    Setting,
    ShowTables,
    Statement,
    UnfillColumn,
)
from logql.unfilling import unfill
from logql.versions.history import read_worktree

if TYPE_CHECKING:
    from logql.session import Session


class StatementRunner:
    """Runs statements that are no queries, for one session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._comments: Comments | None = None
        self._counter = -1

    def run(self, statement: Statement, parameters: Parameters) -> Answer:
        """Execute a statement."""
        if isinstance(statement, Explain):
            return self._explain(statement, parameters)
        if isinstance(statement, Setting):
            return self._setting(statement)
        if isinstance(statement, ShowTables):
            return self._show_tables()
        if isinstance(statement, FillColumns):
            return self._fill(statement, parameters)
        if isinstance(statement, Query):
            return self.session.query(statement.sql, parameters)
        self._refuse_read_only(statement)
        if isinstance(statement, UnfillColumn):
            return self._unfill(statement, parameters)
        if isinstance(statement, CreateVirtual):
            return self._create_virtual(statement)
        if isinstance(statement, DropVirtual):
            return self._drop("virtual", "virtual column", statement.name, statement.name, statement.if_exists)
        if isinstance(statement, Comment):
            return self._comment(statement)
        if isinstance(statement, CreateKept):
            return self._create_kept(statement)
        return self._drop_kept(statement)

    def comments(self) -> Comments:
        """Comments by kind and target; the same object while the store has not changed."""
        counter = self.session.catalog.change_counter()
        if self._comments is None or counter != self._counter:
            found: dict[str, dict[str, object]] = {"run": {}, "version": {}, "column": {}}
            for key, text in self.session.catalog.items("comment").items():
                kind, _, target = key.partition(":")
                found.setdefault(kind, {})[target] = text
            if found != self._comments:
                self._comments = found
            self._counter = counter
        assert self._comments is not None
        return self._comments

    def _refuse_read_only(self, statement: Statement) -> None:
        if self.session.read_only:
            raise NotSupportedError(f"the connection is read-only: {statement.sql.split()[0].upper()} writes")

    # -- settings

    def _setting(self, statement: Setting) -> Answer:
        session = self.session
        if statement.action == "SET" and statement.value is not None:
            options = session.options.set(statement.name, statement.value)
            _check_rules(options.disabled_rules)
            session.options = options
        elif statement.action == "RESET":
            default = getattr(session.defaults, statement.name)
            session.options = replace(session.options, **{statement.name: default})
        else:
            return _table({"name": [statement.name], "value": [session.options.show(statement.name)]})
        return Answer(pa.table({}), ())

    def _show_tables(self) -> Answer:
        """Relations, views and own tables by name."""
        world = self.session.world()
        names = {*FIXED_NAMES, *world.schema.loops, *self.session.catalog.items("view")}
        own = self.session.engine.execute("SHOW TABLES").table.column("name").to_pylist()
        return _table({"name": sorted({*names, *own})})

    # -- plans

    def _explain(self, statement: Explain, parameters: Parameters) -> Answer:
        session = self.session
        world = session.world()
        if not world.concerns(statement.query):
            return session.engine.execute(statement.sql, parameters)
        bound = bind_query(write_parameters(statement.query, parameters), world)
        return explain_query(session, bound, statement)

    # -- filling

    def _fill(self, statement: FillColumns, parameters: Parameters) -> Answer:
        """Fill ahead of any query; cells whose replay failed before are tried again."""
        session = self.session
        world = session.world()
        for name in statement.names:
            if world.schema.find(name) is None and world.virtual(name) is None:
                known = [*world.schema.columns, *world.virtual_names()]
                raise BindError(f'no source logs "{name}"', sql=statement.sql, candidates=nearest(name, known))
        self._forget_failures(frozenset(statement.names))
        world = session.world()
        columns = ", ".join(map(ident, statement.names))
        where = f" WHERE {statement.where}" if statement.where else ""
        sql = write_parameters(f"SELECT {columns} FROM history.logs{where}", parameters)
        with pointing_into(statement.sql, statement.where, sql):
            bound = bind_query(sql, world)
        filled = session.fill(replace(bound, sql=statement.sql))
        fills = [fill for each in filled for fill in each.fills]
        return _table(
            {
                "run": [fill.run for fill in fills],
                "version": [fill.version for fill in fills],
                "columns": [", ".join(sorted(fill.names)) for fill in fills],
                "executed": [fill.executed for fill in fills],
                "state": [fill.state for fill in fills],
                "fidelity": [fill.fidelity for fill in fills],
                "error": [fill.error for fill in fills],
            },
            {"executed": "BIGINT"},
        )

    def _forget_failures(self, names: frozenset[str]) -> None:
        if self.session.read_only:
            return
        for fill in self.session.history.snapshot.fills:
            if fill.state == "failed" and not names.isdisjoint(fill.names):
                self.session.catalog.put_fill(replace(fill, state="cancelled"))

    def _unfill(self, statement: UnfillColumn, parameters: Parameters) -> Answer:
        """Drop hindsight cells: all of a name, or those of the iterations that WHERE picks."""
        session = self.session
        world = session.world()
        column = world.schema.find(statement.name) or world.virtual(statement.name)
        if column is None:
            raise BindError(
                f'no source logs "{statement.name}"', candidates=nearest(statement.name, world.schema.columns)
            )
        picked = self._picked(column.name, statement, parameters) if statement.where else None
        changed = unfill(session.catalog, session.history, session.engine, column.name, picked)
        return Answer(pa.table({}), (), changed)

    def _picked(self, name: str, statement: UnfillColumn, parameters: Parameters) -> set[tuple[object, ...]]:
        """Main-loop coordinates of the rows that WHERE picks."""
        sql = write_parameters(f"SELECT {ident(name)} FROM history.logs WHERE {statement.where}", parameters)
        with pointing_into(statement.sql, statement.where, sql):
            tree = bind_query(sql, self.session.world()).tree
        coordinates = ("_lq_run", "_lq_loop", "_lq_entry", "_lq_index")
        tree.set("expressions", [exp.column(exp.to_identifier(column, quoted=True)) for column in coordinates])
        rows = self.session.engine.fetch(tree)
        return {tuple(row[column] for column in coordinates) for row in rows}

    # -- what the store keeps

    def _create_virtual(self, statement: CreateVirtual) -> Answer:
        session = self.session
        world = session.world()
        made = Made(statement.expression, statement.position, statement.anchor, statement.file)
        made.check(statement.name, read_worktree(session.project))
        taken = {*session.catalog.items("virtual")}
        if statement.name in taken and not statement.replace:
            raise ProgrammingError(
                f'the virtual column "{statement.name}" exists', hint="CREATE OR REPLACE VIRTUAL COLUMN"
            )
        if statement.name in world.schema.relation(LOGS) and world.schema.find(statement.name) is None:
            raise ProgrammingError(f'"{statement.name}" is a column of logs that is not logged')
        session.catalog.put("virtual", statement.name, made.to_json())
        return Answer(pa.table({}), ())

    def _create_kept(self, statement: CreateKept) -> Answer:
        session = self.session
        world = session.world()
        known = world.kept(statement.kind, statement.name) is not None
        if known and statement.if_not_exists:
            return Answer(pa.table({}), ())
        if (known or world.is_own(statement.name)) and not statement.replace:
            raise ProgrammingError(
                f'the {statement.kind} "{statement.name}" exists', hint=f"CREATE OR REPLACE {statement.kind.upper()}"
            )
        if statement.kind == "view":
            bind_query(Binder(statement.body, world).text_of(statement), world)
        session.catalog.put(statement.kind, statement.name.lower(), statement.sql)
        return Answer(pa.table({}), ())

    def _drop_kept(self, statement: Statement) -> Answer:
        assert isinstance(statement, DropKept)
        world = self.session.world()
        if world.kept(statement.kind, statement.name) is None and world.is_own(statement.name):
            return self.session.engine.execute(statement.sql)
        return self._drop(statement.kind, statement.kind, statement.name.lower(), statement.name, statement.if_exists)

    def _drop(self, kind: str, word: str, key: str, name: str, if_exists: bool) -> Answer:
        known = self.session.catalog.items(kind)
        if key not in known and not if_exists:
            raise BindError(f'there is no {word} "{name}"', candidates=nearest(name, known))
        self.session.catalog.remove(kind, key)
        return Answer(pa.table({}), ())

    def _comment(self, statement: Comment) -> Answer:
        session = self.session
        world = session.world()
        known: Mapping[str, object] = {
            "run": session.history.runs,
            "version": session.history.versions,
            "column": {**world.schema.relation(LOGS), **dict.fromkeys(world.virtual_names())},
        }[statement.kind]
        target = next((name for name in known if name.lower() == statement.target.lower()), None)
        if target is None:
            raise BindError(
                f'there is no {statement.kind} "{statement.target}"',
                sql=statement.sql,
                candidates=nearest(statement.target, known),
            )
        key = f"{statement.kind}:{target}"
        if statement.text is None:
            session.catalog.remove("comment", key)
        else:
            session.catalog.put("comment", key, statement.text)
        return Answer(pa.table({}), ())


def _check_rules(names: frozenset[str]) -> None:
    known = [rule.__name__ for rule in RULES]
    for name in sorted(names - {*known}):
        raise ProgrammingError(f'no rule of the planner is called "{name}"', candidates=nearest(name, known))


@contextmanager
def pointing_into(sql: str, where: str | None, written: str) -> Iterator[None]:
    """Let errors of a query `written` around the WHERE of `sql` point into the statement that a person wrote."""
    try:
        yield
    except Error as error:
        if error.start is not None and error.end is not None and where and written.endswith(where):
            shift = sql.rindex(where) + len(where) - len(written)
            error.sql, error.start, error.end = sql, error.start + shift, error.end + shift
        raise


def _table(columns: Mapping[str, Sequence[object]], types: Mapping[str, str] | None = None) -> Answer:
    table = typed(columns, types or {})
    return Answer(table, tuple((types or {}).get(name, "VARCHAR") for name in table.column_names))
