"""logql's own statements, executed: what each does to the store or to the connection."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
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
from logql.filling import Filled
from logql.model import Fill
from logql.plan.demand import RULES
from logql.sql.binder import Binder, bind_query
from logql.sql.bound import LOGS, BoundQuery
from logql.sql.names import nearest
from logql.sql.parameters import Parameters, first_parameter, write_parameters
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
        if isinstance(statement, Query):
            return self.session.query(statement.sql, parameters)
        self._refuse_read_only(statement)
        if isinstance(statement, FillColumns):
            return self._fill(statement, parameters)
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
        names = [self._fillable(name, statement.sql) for name in statement.names]
        bound = self._where(names, statement, parameters)
        filled = self.session.fill(bound)
        if not self.session.replays_nothing:
            filled += self._fill_failed(names, statement, parameters, {fill.id for one in filled for fill in one.fills})
        fills = [fill for each in filled for fill in each.fills]
        return _table(
            {
                "run": [fill.run for fill in fills],
                "version": [fill.version for fill in fills],
                "columns": [", ".join(sorted(fill.names)) for fill in fills],
                "executed": [fill.executed for fill in fills],
                "state": [fill.state for fill in fills],
                "fidelity": [fill.fidelity for fill in fills],
                "error": [fill.failure for fill in fills],
            },
            {"executed": "BIGINT"},
        )

    def _fill_failed(
        self, names: Sequence[str], statement: FillColumns, parameters: Parameters, fresh: Collection[str]
    ) -> list[Filled]:
        """Try again where WHERE does not rule a cell out and earlier fills than the `fresh` ones have failed."""
        session = self.session
        before = self._failed_fills(names, fresh)
        if not before:
            return []
        try:
            for name in names:
                picked = self._picked(name, statement, parameters, unknown=True) if statement.where else None
                failed = self._failed_fills([name], fresh)
                unfill(session.catalog, session.history, session.engine, failed, name, picked)
            return session.fill(self._where(names, statement, parameters))
        except BaseException:
            for fill in before:
                session.catalog.put_fill(fill)
            raise

    def _failed_fills(self, names: Sequence[str], fresh: Collection[str]) -> list[Fill]:
        """What failed of some names before the statement, as it is now."""
        self.session.world()
        failed = [fill for fill in self.session.history.snapshot.fills if fill.state == "failed"]
        return [fill for fill in failed if fill.id not in fresh and not fill.names.keys().isdisjoint(names)]

    def _fillable(self, name: str, sql: str) -> str:
        """The name of a column as it is stored; BindError where no source logs it."""
        world = self.session.world()
        column = world.schema.find(name) or world.virtual(name)
        if column is None:
            known = [*world.schema.columns, *world.virtual_names()]
            raise BindError(f'no source logs "{name}"', sql=sql, candidates=nearest(name, known))
        return column.name

    def _unfill(self, statement: UnfillColumn, parameters: Parameters) -> Answer:
        """Drop hindsight cells: all of a name, or those of the iterations that WHERE picks."""
        session = self.session
        name = self._fillable(statement.name, statement.sql)
        picked = self._picked(name, statement, parameters) if statement.where else None
        changed = unfill(session.catalog, session.history, session.engine, session.history.snapshot.fills, name, picked)
        return Answer(pa.table({}), (), changed)

    def _where(self, names: Sequence[str], statement: FillColumns | UnfillColumn, parameters: Parameters) -> BoundQuery:
        """The names where the statement's WHERE holds, as a query."""
        where = f" WHERE {statement.where}" if statement.where else ""
        columns = ", ".join(map(ident, names))
        sql = write_parameters(f"SELECT {columns} FROM history.logs{where}", parameters)
        with pointing_into(statement.sql, statement.where, sql):
            bound = bind_query(sql, self.session.world())
        return replace(bound, sql=statement.sql)

    def _picked(
        self, name: str, statement: FillColumns | UnfillColumn, parameters: Parameters, unknown: bool = False
    ) -> set[tuple[object, ...]]:
        """Main-loop coordinates of the rows that WHERE picks; with `unknown`, also of those where it is NULL."""
        tree = self._where([name], statement, parameters).tree
        if unknown:
            condition = exp.paren(tree.args["where"].this)
            tree.set("where", exp.Where(this=exp.NullSafeNEQ(this=condition, expression=exp.false())))
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
        known = world.schema.find(statement.name) or world.virtual(statement.name)
        name = known.name if known is not None else statement.name
        if name in session.catalog.items("virtual") and not statement.replace:
            raise ProgrammingError(f'the virtual column "{name}" exists', hint="CREATE OR REPLACE VIRTUAL COLUMN")
        if known is None and name.lower() in {column.lower() for column in world.schema.relation(LOGS)}:
            raise ProgrammingError(f'"{name}" is a column of logs that is not logged')
        session.catalog.put("virtual", name, made.to_json())
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
        parameter = first_parameter(statement.sql)
        if parameter is not None:
            message = f"a {statement.kind} is kept as its text, and a parameter has no value in it"
            hint = "write the value into the text"
            raise BindError(message, sql=statement.sql, start=parameter.start, end=parameter.end, hint=hint)
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
        key = next((found for found in known if found.lower() == key.lower()), key)
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
