"""Binding: what every name of a statement means, and what each reference to a relation of logql must deliver.

The statement is walked block by block. A block's sources come from its FROM; its columns go to the source that has
them, else to the blocks around it. References gather what they serve: that decides the rows of `logs`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from sqlglot import exp

from logql.catalog.relations import FIXED_NAMES
from logql.errors import BindError, NotSupportedError, ParseError, ReadOnlyRelation
from logql.garbage import collections_paused
from logql.sql.bound import BoundQuery, LogsRef
from logql.sql.calls import write_out
from logql.sql.changes import CHANGES, bind_change
from logql.sql.forms import as_call, settle_variables
from logql.sql.macros import expand, parse
from logql.sql.names import at, nearest, span
from logql.sql.patches import Patches
from logql.sql.pivots import with_pivot_inside
from logql.sql.scope import Scope
from logql.sql.sources import Derived, Foreign, Reference, Source
from logql.sql.split import tokens
from logql.sql.statements import CreateKept
from logql.sql.walk import branches
from logql.sql.world import World
from logql.sql.written import quoted, written

_WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Drop, exp.Alter, exp.TruncateTable)
#: Views within views beyond this depth are taken for a circle.
_DEEPEST = 30


@collections_paused()
def bind_query(sql: str, world: World) -> BoundQuery:
    """Bind one statement of DuckDB's. Raises ParseError, and BindError for names that mean nothing."""
    binder = Binder(sql, world)
    binder.refuse_prepare()
    try:
        tree = parse(sql)
    except ParseError:
        spelled = with_pivot_inside(sql)
        if spelled == sql:
            raise
        binder, tree = Binder(spelled, world), parse(spelled)
    bound, _ = binder.bind(tree)
    return bound


class Binder:
    """The state of binding one statement: its references, edits and notices."""

    def __init__(self, sql: str, world: World, around: Binder | None = None) -> None:
        self.sql = sql
        self.world = world
        self.patches = Patches(sql)
        self._references: list[Reference] = []
        self._nested: list[LogsRef] = []
        self._notices: list[str] = []
        self._depth: int = around._depth + 1 if around is not None else 0
        self._ids: list[int] = around._ids if around is not None else []

    def bind(self, tree: exp.Expr) -> tuple[BoundQuery, Source]:
        """Bind a whole statement; also returns its columns."""
        holder = exp.Tuple(expressions=[tree])
        source = self.query(tree, {}, None) if _is_query(tree) else self._statement(tree)
        if isinstance(tree, exp.Create) and tree.kind in ("VIEW", "FUNCTION") and (self._references or self._nested):
            self._refuse_fleeting(tree)
        refs = [reference.finish() for reference in self._references]
        for reference, ref in zip(self._references, refs, strict=True):
            self.patches.reference(reference, ref)
        notices = tuple(dict.fromkeys(self._notices))
        patches = self.patches.finish()
        return BoundQuery(self.sql, holder.expressions[0], (*refs, *self._nested), patches, notices), source

    def query(self, node: exp.Expr, ctes: Mapping[str, Source], outer: Scope | None) -> Source:
        """Bind a query; returns its columns as a source without an alias."""
        ctes = self._with(node, ctes, outer)
        scope = Scope(self, outer, ctes)
        if isinstance(node, exp.Select):
            return self._select(node, scope)
        if isinstance(node, exp.SetOperation):
            return self._set_operation(node, scope)
        if isinstance(node, exp.Subquery):
            return self._subquery(node, scope)
        if isinstance(node, (exp.Describe, exp.Summarize)):
            return self._described(node, scope)
        if isinstance(node, exp.Pivot):
            scope.add(node.this)
            scope.pivot(node)
            return Source("", None)
        for part in list(node.iter_expressions()):
            self.inside(part, scope)
        return Source("", _alias_columns(node))

    def inside(self, node: exp.Expr, scope: Scope) -> None:
        """Bind the columns and queries in an expression of a block."""
        if _is_query(node):
            self.query(node, scope.ctes, scope)
        elif isinstance(node, exp.Column):
            scope.column(node)
        elif isinstance(node, (exp.Columns, exp.Star)):
            scope.columns_call(node)
        elif isinstance(node, exp.PositionalColumn):
            scope.positional(node)
        elif isinstance(node, exp.Dot) and (call := as_call(node, lambda name: scope.sees(name, node))) is not None:
            node.replace(call)
            self.inside(call, scope)
        elif not (isinstance(node, exp.Anonymous) and write_out(scope, node)):
            if isinstance(node, exp.Comprehension):
                settle_variables(node)
            for part in branches(node):
                self.inside(part, scope)

    def source(self, node: exp.Table, scope: Scope) -> Source:
        """What a table in a FROM is. Raises NotSupportedError for AT behind anything that has no versions."""
        when = node.args.get("when")
        found = self._meant(node, scope)
        if when is not None and not isinstance(found, (Reference, Foreign)):
            hint = "put it behind the recorded relation that this one reads"
            raise at(
                NotSupportedError, f'AT belongs to recorded relations; "{node.name}" is none', self.sql, when, hint
            )
        return found

    def _meant(self, node: exp.Table, scope: Scope) -> Source:
        """A CTE, own table or view, fixed relation, loop relation, in that order."""
        if isinstance(node.this, exp.Identifier):
            found = self._named(node, scope)
            if found is not None:
                return found
        macro = self.world.kept("macro", node.this.name) if isinstance(node.this, exp.Anonymous) else None
        if macro is not None and macro.table:
            tree = expand(macro.body, macro.parameters, node.this, self.sql)
            return self._view(node, written(tree))
        if isinstance(node.this, exp.Func):
            for part in list(node.this.iter_expressions()):
                self.inside(part, scope)
        return Foreign(node.alias_or_name, node, self.world)

    def _named(self, node: exp.Table, scope: Scope) -> Source | None:
        schema, name = node.text("db").lower(), node.name
        if not schema and name.lower() in scope.ctes:
            if self._relation(name, True) is not None:
                self._notices.append(f'"{name}" is a CTE here; the recorded relation is history."{name}"')
            return scope.ctes[name.lower()].renamed(node.alias_or_name)
        relation = self._relation(name, schema == "history") if schema in ("", "history") else None
        if relation is not None:
            return self._reference(node, relation)
        view = self.world.kept("view", name) if schema in ("", "main") and not self.world.is_own(name) else None
        if view is not None:
            return self._view(node, self.text_of(view))
        if schema == "history" or not (schema or self.world.is_own(name) or "." in name or "/" in name):
            raise self._no_relation(node)
        return None

    def _no_relation(self, node: exp.Table) -> BindError:
        start, end = span(node)
        near = nearest(node.name, [*FIXED_NAMES, *self.world.schema.loops])
        hint = None if near else "logs, runs, versions and one relation per loop are always there"
        return BindError(
            f'there is no relation "{node.name}"', sql=self.sql, start=start, end=end, candidates=near, hint=hint
        )

    def _relation(self, name: str, explicitly: bool) -> str | None:
        loops = {loop.lower(): loop for loop in self.world.schema.loops}
        lower = name.lower()
        found = lower if lower in FIXED_NAMES else loops.get(lower)
        if found is not None and not explicitly and (self.world.is_own(name) or self.world.kept("view", name)):
            self._notices.append(f'"{name}" is your own table here; the recorded relation is history."{found}"')
            return None
        return found

    def _reference(self, node: exp.Table, relation: str) -> Source:
        self._ids.append(len(self._ids))
        reference = Reference(self._ids[-1], node.alias_or_name, relation, node, self.world)
        self._rename(reference, node)
        when = node.args.get("when")
        if when is not None:
            reference.versions = self._versions(when)
            node.set("when", None)
        self.patches.table(reference, node, bool(node.alias), when is not None)
        if not node.alias:
            node.set("alias", exp.TableAlias(this=exp.to_identifier(node.name, quoted=True)))
        self._references.append(reference)
        return reference

    def _rename(self, reference: Reference, node: exp.Table) -> None:
        """Take in the column names of an alias such as `l(a, b)`."""
        alias = node.args.get("alias")
        if alias is None or not alias.columns:
            return
        names = [column.name for column in alias.columns]
        logged = reference.rename(names)
        if logged is not None:
            hint = f"rename in a subquery: FROM (SELECT ... FROM {reference.relation}) t(a, b)"
            raise at(
                NotSupportedError, f'an alias cannot rename logged names, as "{logged}" does', self.sql, node, hint
            )
        if len(names) > len(reference.columns or ()):
            message = (
                f'"{reference.alias}" has {len(reference.columns or ())} columns, and {len(names)} names are given'
            )
            raise at(BindError, message, self.sql, node)
        alias.set("columns", None)
        self.patches.give_up()

    def _versions(self, when: exp.Expr) -> frozenset[str]:
        revision = when.args.get("expression")
        if str(when.args.get("kind")).upper() != "VERSION" or not isinstance(revision, exp.Literal):
            raise at(NotSupportedError, "only AT (VERSION => 'revision') is supported", self.sql, when)
        try:
            return self.world.versions_at(revision.name)
        except BindError as error:
            raise at(BindError, error.message, self.sql, revision, error.hint) from error

    def text_of(self, view: CreateKept) -> str:
        """The query that a view stands for, under the names of its column list."""
        if not view.parameters:
            return view.body
        names = [name for name, _ in view.parameters]
        _, source = Binder(view.body, self.world, self).bind(parse(view.body))
        columns = source.columns or []
        if len(names) > len(columns) > 0:
            message = f'the view "{view.name}" has {len(columns)} columns, and {len(names)} names are given'
            raise BindError(message, sql=view.sql)
        if not columns or len({name.lower() for name in columns}) < len(columns):
            return f"SELECT * FROM ({view.body}\n) AS {quoted(view.name)}({', '.join(map(quoted, names))})"
        shown = itertools.zip_longest(columns, names, fillvalue=None)
        outputs = ", ".join(
            quoted(column) + (f" AS {quoted(name)}" if name else "") for column, name in shown if column
        )
        return f"SELECT {outputs} FROM ({view.body}\n) AS {quoted(view.name)}"

    def _view(self, node: exp.Table, body: str) -> Source:
        if self._depth > _DEEPEST:
            raise at(BindError, f'the view "{node.name}" uses itself', self.sql, node)
        bound, source = Binder(body, self.world, self).bind(parse(body))
        self._nested.extend(bound.refs)
        self._notices.extend(bound.notices)
        self.patches.view(node, bound, bool(node.alias))
        name = node.alias or (node.this.name if isinstance(node.this, exp.Func) else node.name)
        alias = node.args.get("alias") or exp.TableAlias(this=exp.to_identifier(name, quoted=True))
        subquery = exp.Subquery(this=bound.tree, alias=alias)
        for key in ("joins", "pivots", "sample"):
            subquery.set(key, node.args.get(key))
        node.replace(subquery)
        return source.renamed(name)

    def _with(self, node: exp.Expr, ctes: Mapping[str, Source], outer: Scope | None) -> Mapping[str, Source]:
        with_ = node.args.get("with_")
        if with_ is None:
            return ctes
        known = dict(ctes)
        for cte in with_.expressions:
            names = [column.name for column in cte.args["alias"].columns]
            if with_.args.get("recursive"):
                known[cte.alias.lower()] = Source("", names or _first_names(cte.this))
            source = self.query(cte.this, known, outer)
            known[cte.alias.lower()] = Source("", names) if names else source
        return known

    def _select(self, node: exp.Select, scope: Scope) -> Source:
        from_ = node.args.get("from_")
        if from_ is not None:
            scope.add(from_.this)
        for join in node.args.get("joins") or ():
            scope.join(join)
        for lateral in node.args.get("laterals") or ():
            scope.add(lateral)
        return scope.select(node)

    def _set_operation(self, node: exp.SetOperation, scope: Scope) -> Source:
        left = self.query(node.left, scope.ctes, scope.outer)
        right = self.query(node.right, scope.ctes, scope.outer)
        both = left.renamed("", keep_block=False)
        if node.args.get("by_name"):
            both = Source("", _union(left, right))
        scope.sources.append(both)
        for key in ("order", "limit", "offset"):
            if node.args.get(key) is not None:
                scope.order_result(node.args[key])
        return both

    def _subquery(self, node: exp.Subquery, scope: Scope) -> Source:
        source = self.query(node.this, scope.ctes, scope.outer)
        scope.sources.append(source.renamed(node.alias))
        for key in ("order", "limit", "offset"):
            if node.args.get(key) is not None:
                scope.order_result(node.args[key])
        for pivot in node.args.get("pivots") or ():
            scope.pivot(pivot)
            return Source("", None)
        names = _alias_columns(node)
        return Source("", names) if names else source

    def _statement(self, tree: exp.Expr) -> Source:
        if isinstance(tree, _WRITES) or (isinstance(tree, exp.Copy) and tree.args.get("kind")):
            self._refuse_write(tree)
        scope = Scope(self, None, self._with(tree, {}, None))
        if isinstance(tree, (exp.Describe, exp.Summarize)):
            return self._described(tree, scope)
        if isinstance(tree, exp.Copy) and isinstance(tree.this, exp.Table):
            return self._read_whole(tree, scope, "(SELECT * FROM ", ")")
        if isinstance(tree, CHANGES) and bind_change(tree, scope, self.inside):
            parts = [part for part in (tree.args.get("returning"),) if part is not None]
        else:
            target = tree.this if isinstance(tree, (*_WRITES, exp.Create)) else None
            parts = [part for part in tree.iter_expressions() if part is not target]
        for part in parts:
            self._descend(part, scope)
        return Source("", None)

    def _described(self, node: exp.Expr, scope: Scope) -> Source:
        """DESCRIBE or SUMMARIZE of a query or a relation."""
        if isinstance(node.this, exp.Table):
            return self._read_whole(node, scope, "SELECT * FROM ", "")
        if isinstance(node.this, exp.Expr):
            self._descend(node.this, scope)
        return Source("", None)

    def _read_whole(self, node: exp.Expr, scope: Scope, before: str, behind: str) -> Source:
        """A statement about a relation, as if it were one about SELECT * FROM it."""
        with self.patches.as_query(before, behind):
            source = self.source(node.this, scope)
        for name, _ in source.star():
            source.use(name)
        if isinstance(source, (Reference, Derived)):
            query = exp.select("*").from_(node.this)
            node.set("this", query.subquery(copy=False) if behind else query)
        return Source("", None)

    def _descend(self, node: exp.Expr, scope: Scope) -> None:
        if _is_query(node):
            self.query(node, scope.ctes, None)
        elif isinstance(node, exp.Table) and self._is_ours(node):
            hint = f"write it as a query: (SELECT ... FROM {node.name}) AS {node.alias_or_name}"
            message = f'"{node.name}" cannot stand in this statement by its name alone'
            raise at(NotSupportedError, message, self.sql, node, hint)
        elif not isinstance(node, exp.With):
            for part in list(node.iter_expressions()):
                self._descend(part, scope)

    def _is_ours(self, table: exp.Table) -> bool:
        """Whether a table is a recorded relation."""
        schema = table.text("db").lower()
        ours = isinstance(table.this, exp.Identifier) and schema in ("", "history")
        return ours and self._relation(table.name, bool(schema)) is not None

    def refuse_prepare(self) -> None:
        """Refuse PREPARE over a recorded relation: what it holds may change before the query is executed."""
        if self.sql.lstrip()[:7].upper() != "PREPARE":
            return
        words = [self.sql[token.start : token.end].strip('"') for token in tokens(self.sql)]
        read = (name for word, name in itertools.pairwise(words) if word.upper() in ("FROM", "JOIN", "."))
        if any(self._relation(name, True) for name in read):
            hint = "parameters go with the query itself"
            raise NotSupportedError("PREPARE of a query over recorded relations", sql=self.sql, hint=hint)

    def _refuse_fleeting(self, tree: exp.Expr) -> None:
        """Refuse a view or macro of DuckDB's over recorded relations: it would hold them as they are now."""
        word = "VIEW" if tree.args.get("kind") == "VIEW" else "MACRO"
        hint = f"CREATE {word} name AS ... keeps it in the store, for every connection"
        message = f"recorded relations in a {word.lower()} that is temporary, or of another schema"
        raise NotSupportedError(message, sql=self.sql, hint=hint)

    def _refuse_write(self, tree: exp.Expr) -> None:
        target = tree.find(exp.Table)
        if target is not None and self._is_ours(target):
            hint = "logql rm deletes runs, UNFILL drops replayed values; own tables can have any other name"
            message = f'"{target.name}" is recorded and cannot be written to'
            raise at(ReadOnlyRelation, message, self.sql, target, hint)


def _is_query(node: exp.Expr) -> bool:
    return isinstance(node, (exp.Query, exp.Pivot)) and not isinstance(node, exp.Table)


def _alias_columns(node: exp.Expr) -> list[str] | None:
    alias = node.args.get("alias")
    return [column.name for column in alias.columns] or None if isinstance(alias, exp.TableAlias) else None


def _union(left: Source, right: Source) -> list[str] | None:
    if left.columns is None or right.columns is None:
        return None
    return list(dict.fromkeys([*left.columns, *right.columns]))


def _first_names(query: exp.Expr) -> list[str] | None:
    names = [part.alias_or_name for part in query.selects] if isinstance(query, exp.Query) else []
    return names if names and all(name and name != "*" for name in names) else None
