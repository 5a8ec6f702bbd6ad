"""logql's own statements, executed: what each does to the store or to the connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from logql.catalog.made import Made
from logql.catalog.schema import explicit
from logql.errors import BindError, NotSupportedError, ProgrammingError
from logql.execute.engine import Answer
from logql.execute.fixed import Comments
from logql.execute.tables import typed
from logql.explaining import explain_query
from logql.model import Fill
from logql.sql.binder import bind_query
from logql.sql.bound import LOGS, REF_META, BoundQuery, LogsRef
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
    Statement,
    UnfillColumn,
)
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
            session.options = session.options.set(statement.name, statement.value)
        elif statement.action == "RESET":
            default = getattr(session.defaults, statement.name)
            session.options = replace(session.options, **{statement.name: default})
        else:
            return _table({"name": [statement.name], "value": [session.options.show(statement.name)]})
        return Answer(pa.table({}), ())

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
        columns = ", ".join(f'"{name}"' for name in statement.names)
        where = f" WHERE {statement.where}" if statement.where else ""
        sql = write_parameters(f"SELECT {columns} FROM history.logs{where}", parameters)
        filled = session.fill(replace(bind_query(sql, world), sql=statement.sql))
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
        """Drop hindsight cells: those of whole fills, or of the iterations that WHERE picks."""
        session = self.session
        world = session.world()
        column = world.schema.find(statement.name) or world.virtual(statement.name)
        if column is None:
            raise BindError(
                f'no source logs "{statement.name}"', candidates=nearest(statement.name, world.schema.columns)
            )
        fills = [f for f in session.history.snapshot.fills if column.name in f.names and f.state in ("done", "failed")]
        picked = self._picked(column.name, statement.where, parameters) if statement.where else None
        changed = [(fill, _without(fill, column.name, picked)) for fill in fills]
        changed = [(old, new) for old, new in changed if old != new]
        for _, new in changed:
            session.catalog.put_fill(new)
        return Answer(pa.table({}), (), len(changed))

    def _picked(self, name: str, where: str, parameters: Parameters) -> set[tuple[object, ...]]:
        """Main-loop coordinates of the rows that WHERE picks."""
        sql = write_parameters(f'SELECT "{name}" FROM history.logs WHERE {where}', parameters)
        tree = bind_query(sql, self.session.world()).tree
        coordinates = ("_lq_run", "_lq_loop", "_lq_entry", "_lq_index")
        tree.set("expressions", [exp.column(exp.to_identifier(column, quoted=True)) for column in coordinates])
        rows = self.session.engine.fetch(tree).to_pylist()
        return {tuple(row[column] for column in coordinates) for row in rows}

    def missing_cells(self, bound: BoundQuery) -> dict[str, int]:
        """How many cells of each virtual name are missing in the rows that a query's references have."""
        found: dict[str, int] = {}
        for table in bound.tree.find_all(exp.Table):
            ref = table.meta.get(REF_META)
            if not isinstance(ref, LogsRef) or not ref.virtual:
                continue
            counts = [
                exp.alias_(
                    exp.CountIf(this=exp.column(exp.to_identifier(f"{name}$missing", quoted=True))), name, quoted=True
                )
                for name in sorted(ref.virtual)
            ]
            bare = exp.Table(this=exp.to_identifier("logs"), alias=exp.TableAlias(this=exp.to_identifier("l")))
            bare.meta[REF_META] = ref
            (row,) = self.session.engine.fetch(exp.select(*counts).from_(bare)).to_pylist()
            for name, count in row.items():
                bare_name = explicit(name)[0]
                found[bare_name] = max(found.get(bare_name, 0), count or 0)
        return {name: count for name, count in found.items() if count}

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
            bind_query(statement.body, world)
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
        if statement.target not in known:
            raise BindError(
                f'there is no {statement.kind} "{statement.target}"',
                sql=statement.sql,
                candidates=nearest(statement.target, known),
            )
        key = f"{statement.kind}:{statement.target}"
        if statement.text is None:
            session.catalog.remove("comment", key)
        else:
            session.catalog.put("comment", key, statement.text)
        return Answer(pa.table({}), ())


def _without(fill: Fill, name: str, picked: set[tuple[object, ...]] | None) -> Fill:
    """The fill without its cells of `name`, or without the picked iterations."""
    if picked is None:
        names = {other: print_ for other, print_ in fill.names.items() if other != name}
        return replace(fill, names=names) if names else replace(fill, state="cancelled")
    if fill.loop is None:
        dropped = (fill.run, None, None, None) in picked
        return replace(fill, state="cancelled") if dropped else fill
    if fill.first_index is None or fill.last_index is None:
        return fill
    covered = fill.covered if fill.covered is not None else tuple(range(fill.first_index, fill.last_index + 1))
    left = tuple(index for index in covered if (fill.run, fill.loop, fill.entry, index) not in picked)
    if left == covered:
        return fill
    if not left:
        return replace(fill, state="cancelled")
    return replace(fill, covered=left, first_index=left[0], last_index=left[-1])


def _table(columns: Mapping[str, Sequence[object]], types: Mapping[str, str] | None = None) -> Answer:
    table = typed(columns, types or {})
    return Answer(table, tuple((types or {}).get(name, "VARCHAR") for name in table.column_names))
