"""One block of a query: its sources, and how its names find them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from sqlglot import exp

from logql.catalog.schema import explicit
from logql.errors import BindError
from logql.model import level_text
from logql.sql.bound import LEFT_META, NATURAL_META, STAR_META
from logql.sql.calls import named, renamed
from logql.sql.forms import is_variable
from logql.sql.names import span, unknown, unknown_source
from logql.sql.sources import Block, Derived, Reference, Source, star_column
from logql.sql.stars import choose, expand_star, spread_columns

if TYPE_CHECKING:
    from logql.sql.binder import Binder

_CLAUSES = ("where", "group", "having", "windows", "qualify")


class Scope:
    """The names that a block can see: its own sources, its aliases, and the blocks around it."""

    def __init__(self, binder: Binder, outer: Scope | None, ctes: Mapping[str, Source]) -> None:
        self.binder = binder
        self.outer = outer
        self.ctes = ctes
        self.sources: list[Source] = []
        self.merged: dict[str, list[tuple[Source, str]]] = {}
        self.aliases: set[str] = set()
        self.full: set[str] = set()
        self._found: dict[tuple[str, int, int], tuple[Source, str, Scope]] = {}
        self._identifiers: dict[str, exp.Identifier] = {}

    # -- FROM

    def add(self, node: exp.Expr) -> None:
        """Add an item of the FROM."""
        joins = node.args.get("joins") or ()
        pivots = node.args.get("pivots") or ()
        if isinstance(node, exp.Table):
            source = self.binder.source(node, self)
        elif isinstance(node, exp.Query):
            source = self.binder.query(node, self.ctes, self)
            self._name_unnamed(node)
            source = source.renamed(node.alias)
        else:
            source = self._other(node)
        self.sources.append(source)
        if isinstance(node, exp.Table):
            for pivot in pivots:
                self.pivot(pivot)
                self.sources[-1] = Source(pivot.alias or source.alias, None)
        for join in joins:
            self.join(join)

    def _name_unnamed(self, node: exp.Expr) -> None:
        """Give a subquery without an alias the one that DuckDB gives it: each column must say its source."""
        if node.alias or not isinstance(node.unnest(), (exp.Select, exp.SetOperation)):
            return
        taken = {source.alias.lower() for source in self.sources}
        numbers = ("", *range(2, len(taken) + 3))
        name = next(found for n in numbers if (found := f"unnamed_subquery{n}") not in taken)
        alias = node.args.get("alias") or exp.TableAlias()
        alias.set("this", exp.to_identifier(name, quoted=True))
        node.set("alias", alias)

    def _other(self, node: exp.Expr) -> Source:
        for part in list(node.iter_expressions()):
            if not isinstance(part, exp.TableAlias):
                self.binder.inside(part, self)
        alias = node.args.get("alias")
        names = [column.name for column in alias.columns] if alias is not None else []
        return Source(node.alias, names or None)

    def join(self, join: exp.Join) -> None:
        """Add the right side of a join and bind its condition."""
        before, merged = len(self.sources), dict(self.merged)
        self.add(join.this)
        if str(join.args.get("method") or "").upper() == "NATURAL":
            keys = [exp.to_identifier(name, quoted=True) for name in self._common(before)]
            join.meta[NATURAL_META] = keys
        else:
            keys = join.args.get("using") or []
        for key in keys:
            self._note_left(key, before)
        for name in [key.name for key in keys]:
            self._merge(name, before, join)
        if join.args.get("on") is not None:
            self.binder.inside(join.args["on"], self)
        if join.kind in ("SEMI", "ANTI"):
            self._forget(before, merged)

    def _forget(self, before: int, merged: dict[str, list[tuple[Source, str]]]) -> None:
        """Take a source that only filters out of sight again."""
        del self.sources[before:]
        self.merged = merged
        self._found.clear()

    def _common(self, before: int) -> list[str]:
        for source in self.sources:
            source.ask()
        left = [name for source in self.sources[:before] for name in source.columns or ()]
        return [name for source in self.sources[before:] for name in source.columns or () if name in left]

    def _note_left(self, key: exp.Expr, before: int) -> None:
        """Leave word for the planner which source a key of USING means on the left, where it is one alone."""
        name = key.name.lower()
        sides = self.merged.get(name) or [
            (source, found) for source in self.sources[:before] if (found := source.find(name)) is not None
        ]
        if sides and name not in self.full:
            key.meta[LEFT_META] = sides[0][0].alias

    def _merge(self, name: str, before: int, join: exp.Join) -> None:
        sides = self.merged.get(name.lower(), [])
        for source in self.sources if not sides else self.sources[before:]:
            found = source.find(name)
            if found is not None:
                source.use(found)
                sides = [*sides, (source, found)]
        side = str(join.args.get("side") or "").upper()
        if side == "RIGHT":
            sides = sides[::-1]
        elif side == "FULL":
            self.full.add(name.lower())
        self.merged[name.lower()] = sides

    def pivot(self, node: exp.Expr) -> None:
        """Bind a PIVOT or UNPIVOT; without GROUP BY every column is in it."""
        for key in ("expressions", "using", "group", "fields"):
            part = node.args.get(key)
            for item in part if isinstance(part, list) else [part] if isinstance(part, exp.Expr) else ():
                self._pivoted(item)
        if node.args.get("group") is None:
            self._use_all(self.sources[-1])

    def _pivoted(self, item: exp.Expr) -> None:
        for column in item.find_all(exp.Column):
            hits = self._hits(column.name)
            for source, found in hits:
                source.use(found)

    # -- SELECT

    def select(self, node: exp.Select) -> Source:
        """Bind the clauses of a SELECT whose sources are added, and tell its columns."""
        self.aliases = {part.alias.lower() for part in node.expressions if isinstance(part, exp.Alias)}
        block = self._block(node)
        columns = expand_star(self, node)
        for part in node.expressions:
            if not (isinstance(part, exp.Column) and part.meta.get(STAR_META) is not None):
                self.binder.inside(part, self)
        spread_columns(self, node)
        for key in _CLAUSES:
            part = node.args.get(key)
            for item in part if isinstance(part, list) else [part] if part is not None else ():
                self.binder.inside(item, self)
        for key in ("distinct", "order", "limit", "offset"):
            if node.args.get(key) is not None:
                self.order(node.args[key])
        if columns is None:
            return Source("", None)
        return Derived("", [name for name, _ in columns], {name for name, starred in columns if starred}, block)

    def _block(self, node: exp.Select) -> Block | None:
        single = len(self.sources) == 1 and isinstance(self.sources[0], (Reference, Derived))
        plain = not any(node.args.get(key) for key in ("group", "distinct", "having"))
        star = any(part.is_star and not isinstance(part, exp.Count) for part in node.expressions)
        if not (single and plain and star):
            return None
        return Block(node, self.sources[0], self.binder.patches.give_up)

    def order(self, node: exp.Expr) -> None:
        """Bind a clause in which a bare name means the alias first."""
        if isinstance(node, exp.Column) and not node.table and node.name.lower() in self.aliases:
            return
        if isinstance(node, exp.PositionalColumn):
            node.replace(node.this)
        elif isinstance(node, (exp.Order, exp.Ordered, exp.Distinct, exp.Tuple)):
            for part in list(node.iter_expressions()):
                self.order(part)
        else:
            self.binder.inside(node, self)

    def order_result(self, node: exp.Expr) -> None:
        """Bind an ORDER BY over a whole result, whose columns stay as they are named there."""
        for part in list(node.find_all(exp.Query)):
            self.binder.query(part, self.ctes, self)
        for column in node.find_all(exp.Column):
            for source, found in self._hits(column.name):
                source.use(found)

    # -- names

    def column(self, node: exp.Column) -> None:
        """Find what a column means, take note of it, and qualify it."""
        if isinstance(node.this, exp.Star):
            for source in self._named(node.table):
                self._use_all(source)
        elif node.table:
            self._qualified(node)
        else:
            self._bare(node)

    def _qualified(self, node: exp.Column) -> None:
        """A column behind the name of its source, or the field of a column."""
        parts = node.parts
        for place in range(len(parts) - 1, 0, -1):
            qualifier, name, fields = parts[place - 1].name, parts[place].name, parts[place + 1 :]
            for source in self._named(qualifier):
                source.ask()
                found = source.find(name)
                if found is not None:
                    source.use(found)
                    if not fields and node.text("db"):
                        self.binder.patches.give_up()
                    renamed(node, source.alias, found, fields)
                elif source.known and not fields:
                    raise unknown(self.binder.sql, node, f"{qualifier}.{name}", source.columns or (), self._hint(name))
                return
        meant = self._lookup(exp.column(parts[0].copy()), node)
        if meant is not None and meant[1].lower() not in meant[2].merged:
            renamed(node, meant[0].alias, meant[1], parts[1:])

    def _bare(self, node: exp.Column) -> None:
        found = self._lookup(node, node)
        if found is None:
            return
        source, name, scope = found
        merged = scope.merged.get(name.lower())
        if merged is None:
            if source.alias:
                node.set("this", self._identifier(name))
                node.set("table", self._identifier(source.alias))
        elif any(isinstance(side, (Reference, Derived)) for side, _ in merged):
            node.replace(named(scope.merged_column(name), node))

    def positional(self, node: exp.PositionalColumn) -> None:
        """Write `#n` as the n-th column of what is in the FROM, where that is known."""
        for source in self.sources:
            source.ask()
        columns = [(source, name) for source in self.sources for name, _ in source.star()]
        number = int(node.name) if node.name.isdigit() else 0
        if self.merged or not all(source.known for source in self.sources) or not 0 < number <= len(columns):
            self._use_every()
            return
        source, name = columns[number - 1]
        source.use(name)
        node.replace(named(star_column(name, source.alias, False), node, name))
        self.binder.patches.give_up()

    def _use_every(self) -> None:
        for source in self.sources:
            self._use_all(source)

    def _identifier(self, name: str) -> exp.Identifier:
        """One for all columns of a block that are called so: nobody changes it."""
        found = self._identifiers.get(name)
        if found is None:
            found = self._identifiers[name] = exp.Identifier(this=name, quoted=True)
        return found

    def merged_column(self, name: str) -> exp.Expr:
        """A column of USING: the left one, or whichever there is."""
        sides = [exp.column(exp.to_identifier(n, quoted=True), exp.to_identifier(s.alias, quoted=True))
                 for s, n in self.merged[name.lower()]]  # fmt: skip
        return exp.Coalesce(this=sides[0], expressions=sides[1:]) if name.lower() in self.full else sides[0]

    def _lookup(self, column: exp.Column, node: exp.Expr) -> tuple[Source, str, Scope] | None:
        """The source of a bare name, looked for once; None where it is an alias, a whole row or DuckDB's to find."""
        key = (column.name, len(self.sources), len(self.merged))
        found = self._found.get(key) or self._search(column.name, node)
        if found is not None:
            self._found[key] = found
        return found

    def _search(self, name: str, node: exp.Expr) -> tuple[Source, str, Scope] | None:
        candidates: list[str] = []
        for scope in self._chain():
            hits = scope._hits(name)
            if hits:
                if len(hits) > 1 and name.lower() not in scope.merged:
                    raise self._ambiguous(node, name, hits)
                for source, found in hits:
                    source.use(found)
                return (*hits[0], scope)
            if name.lower() in scope.aliases:
                return None
            rows = [source for source in scope.sources if source.alias.lower() == name.lower()]
            if rows:
                scope._whole_row(node, rows[0])
                return None
            if not all(source.known for source in scope.sources):
                return None
            candidates += [found for source in scope.sources for found in source.columns or ()]
        if any(isinstance(source, Reference) for scope in self._chain() for source in scope.sources):
            if isinstance(node, exp.Column) and node.table:
                raise unknown_source(self.binder.sql, node, name, self._relations(), candidates)
            extra = [name for name in self.binder.world.virtual_names() if self._sees_logs()]
            raise unknown(self.binder.sql, node, name, [*candidates, *extra, *self.aliases], self._hint(name))
        return None

    def _whole_row(self, node: exp.Expr, source: Source) -> None:
        """Write the name of a source as the struct that it stands for, so that each of its fields is seen."""
        self._use_all(source)
        names = [name for name, _ in source.star()]
        if source.known and names and isinstance(node, exp.Column) and len(node.parts) == 1:
            fields = {name: star_column(name, source.alias, False) for name in names}
            parts = [exp.PropertyEQ(this=exp.to_identifier(name, quoted=True), expression=column)
                     for name, column in fields.items()]  # fmt: skip
            node.replace(named(exp.Struct(expressions=parts), node))

    def _relations(self) -> dict[str, str]:
        """What the sources in sight are called, and the relations that they are."""
        found = [source for scope in self._chain() for source in scope.sources if source.alias]
        return {source.alias: source.relation if isinstance(source, Reference) else "" for source in found}

    def sees(self, name: str, node: exp.Expr) -> bool:
        """Whether `name` means a column or a source at `node`, and no variable of a lambda."""
        if is_variable(node, name):
            return False
        return any(True for _ in self._named(name)) or any(scope._hits(name) for scope in self._chain())

    def _hits(self, name: str) -> list[tuple[Source, str]]:
        """The sources with a column `name`; those that could merely be asked for one count where no other has it."""
        hits = self._declared(name)
        if not hits:
            for source in self.sources:
                source.ask()
            hits = self._declared(name)
        return hits or [(source, found) for source in self.sources if (found := source.find(name)) is not None]

    def _declared(self, name: str) -> list[tuple[Source, str]]:
        return [(source, found) for source in self.sources if (found := source.declared(name)) is not None]

    def _sees_logs(self) -> bool:
        return any(isinstance(source, Reference) and source.relation == "logs" for source in self.sources)

    def _hint(self, name: str) -> str | None:
        """Where a name is that these relations lack."""
        bare, level = explicit(name, self.binder.world)
        column = self.binder.world.schema.find(bare) or self.binder.world.virtual(bare)
        if column is None:
            place = self.binder.world.pattern(bare) if self._sees_logs() else None
            return f"{place} logs such names, but no run recorded this one: log it by its own name" if place else None
        levels = sorted(column.levels)
        if not levels:
            return f'"{column.name}" was recorded nowhere: ask logs for it'
        where = ", ".join(map(level_text, levels))
        if level is not None and self._sees_logs():
            return f'"{column.name}" is logged at {where}'
        relations = ["logs", *dict.fromkeys(found[-1] if found else "runs" for found in levels)]
        return f'"{column.name}" is logged at {where}: it is in {", ".join(relations)}'

    def _ambiguous(self, node: exp.Expr, name: str, hits: list[tuple[Source, str]]) -> BindError:
        start, end = span(node)
        uses = tuple(f"{source.alias}.{found}" for source, found in hits)
        return BindError(
            f'"{name}" is in several relations here', sql=self.binder.sql, start=start, end=end, candidates=uses
        )

    def _named(self, alias: str) -> Iterator[Source]:
        for scope in self._chain():
            for source in scope.sources:
                if alias and source.alias.lower() == alias.lower():
                    yield source
                    return

    def _chain(self) -> Iterator[Scope]:
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer

    def _use_all(self, source: Source) -> None:
        for name, _ in source.star():
            source.use(name)

    # -- functions

    def columns_call(self, node: exp.Expr) -> None:
        """COLUMNS(...), or a star inside a function: every column of every source that it may mean."""
        if isinstance(node.parent, exp.Count):
            return
        chosen = choose(self, node) if isinstance(node, exp.Columns) else None
        if chosen is not None:
            for source, name, _ in chosen:
                source.use(name)
            return
        self._use_every()
