"""What a block can take columns from: a relation of logql, another query, or anything that DuckDB knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlglot import exp

from logql.catalog.relations import RUN_TYPES, SYSTEM_TYPES
from logql.catalog.schema import explicit, level_named
from logql.sql.bound import LOGS, REF_META, RUNS, STAR_META, LogsRef
from logql.sql.dialect import write
from logql.sql.world import World

#: What "col$text" has: the text of a value that does not fit its column.
TEXT = "text"
#: What origin(col), fidelity(col), reason(col) read, and that text.
HIDDEN = ("origin", "fidelity", "reason", TEXT)


class Source:
    """One item of a FROM. `columns` is None where they are not known."""

    def __init__(self, alias: str, columns: list[str] | None) -> None:
        self.alias = alias
        self.columns = columns
        self._folded = {name.lower(): name for name in columns or ()}

    def declared(self, name: str) -> str | None:
        """The source's own spelling of the column `name`, or None."""
        return self._folded.get(name.lower())

    def find(self, name: str) -> str | None:
        """The same, also of a column that the source shows only to those who ask for it."""
        return self.declared(name)

    def use(self, name: str) -> None:
        """Take note that the column `name` is used."""

    def star(self) -> list[tuple[str, bool]]:
        """Columns of the star; True with those that only stars bring in from a relation of logql."""
        return [(name, False) for name in self.columns or ()]

    def ask(self) -> None:
        """Learn the columns, where that costs something."""

    @property
    def known(self) -> bool:
        """Whether the columns are known by now."""
        return self.columns is not None

    def renamed(self, alias: str, keep_block: bool = True) -> Source:  # noqa: ARG002
        """The same columns under another alias; without its block, no name can be asked through its star."""
        return Source(alias, list(self.columns) if self.columns is not None else None)


class Derived(Source):
    """A subquery, CTE or view. `block` is its SELECT, where it is one, so that a name can be asked through its star."""

    def __init__(
        self, alias: str, columns: list[str] | None, starred: Iterable[str] = (), block: Block | None = None
    ) -> None:
        super().__init__(alias, columns)
        self._starred = frozenset(starred)
        self._block = block

    def find(self, name: str) -> str | None:
        found = super().declared(name)
        if found is None and self._block is not None and self.columns is not None:
            found = self._block.offer(name)
            if found is not None:
                self.columns.append(found)
                self._folded[found.lower()] = found
        return found

    def renamed(self, alias: str, keep_block: bool = True) -> Derived:
        """The same columns under another alias."""
        columns = list(self.columns) if self.columns is not None else None
        return Derived(alias, columns, self._starred, self._block if keep_block else None)

    def star(self) -> list[tuple[str, bool]]:
        return [(name, name in self._starred) for name in self.columns or ()]


class Foreign(Source):
    """A table of the user's own, a file or a table function: DuckDB knows its columns, and is asked only if need be."""

    def __init__(self, alias: str, node: exp.Table, world: World) -> None:
        super().__init__(alias, None)
        bare = node.copy()
        for key in ("joins", "pivots", "sample", "laterals"):
            bare.set(key, None)
        if not node.alias_column_names:
            bare.set("alias", None)
        self._text = write(bare, copy=False)
        self._world = world
        self._asked = False

    def ask(self) -> None:
        """Learn the columns from DuckDB."""
        if not self._asked:
            self._asked = True
            found = self._world.own_columns(self._text)
            if found is not None:
                super().__init__(self.alias, list(found))


class Reference(Source):
    """A reference to a relation of logql, which gathers what its block uses of it."""

    def __init__(self, id_: int, alias: str, relation: str, node: exp.Table, world: World) -> None:
        super().__init__(alias, list(world.schema.relation(relation)))
        self.id = id_
        self.relation = relation
        self.node = node
        self.versions: frozenset[str] | None = None
        self.starred = False
        self._world = world
        self._used: dict[str, None] = {}
        self._real: dict[str, str] = {}

    def rename(self, names: Iterable[str]) -> str | None:
        """Call the first columns by `names`; the first one that cannot be, because it is a logged name, else None."""
        real = list(self.columns or ())
        self._real = dict(zip(names, real, strict=False))
        for name, column in self._real.items():
            if self.logged(column):
                return name
        Source.__init__(self, self.alias, [*self._real, *real[len(self._real) :]])
        return None

    def declared(self, name: str) -> str | None:
        return self.find(name) if self.relation == LOGS else super().declared(name)

    def find(self, name: str) -> str | None:
        found = super().declared(name)
        if found is None and self._has_names:
            found = self._explicit(name) or self._virtual(name) or self._text(name)
        return found

    def use(self, name: str) -> None:
        self._used[self._real.get(name, name)] = None

    def star(self) -> list[tuple[str, bool]]:
        self.starred = True
        return [(name, True) for name in self.columns or ()]

    @property
    def _has_names(self) -> bool:
        return self.relation in (LOGS, RUNS) or self.relation in self._world.schema.loops

    def logged(self, column: str) -> bool:
        """Whether `column` of this relation is a logged name, not one of the system, the loops or the args."""
        schema = self._world.schema
        system = RUN_TYPES if self.relation == RUNS else SYSTEM_TYPES
        column = self._real.get(column, column)
        return self._has_names and not (column in system or column in schema.args or column in schema.loop_columns)

    def _explicit(self, name: str) -> str | None:
        bare, level = explicit(name, self._world)
        column = self._world.schema.find(bare) or self._world.virtual(bare)
        if level is None or column is None or self.relation != LOGS:
            return None
        return f"{column.name}@{level}" if level_named(level, self._world.schema.levels) is not None else None

    def _text(self, name: str) -> str | None:
        """The text of a name's values that do not fit its type, which no star shows."""
        bare, _, what = name.rpartition("$")
        found = self.find(bare) if what.lower() == TEXT and bare else None
        return hidden_name(found, TEXT) if found is not None and self.logged(found) else None

    def _virtual(self, name: str) -> str | None:
        """A name that a replay may give here, though no run recorded it here."""
        column = self._world.virtual(name)
        if column is None and self.relation != LOGS:
            recorded = self._world.schema.find(name)
            column = recorded if recorded is not None and self._world.may_miss(recorded.name) else None
        if column is None or (self.relation != LOGS and not self._world.has_rows(column.name, self.relation)):
            return None
        return column.name

    def _without_hidden(self, column: str) -> str:
        bare, mark, what = column.rpartition("$")
        return bare if mark and what in HIDDEN and column not in self._world.schema.columns else column

    def finish(self) -> LogsRef:
        """The reference with all that was used of it; its node carries it."""
        order = {self._real.get(name, name): place for place, name in enumerate(self.columns or ())}
        columns = tuple(sorted(self._used, key=lambda name: order.get(name, len(order))))
        names = {bare for column in columns if self.logged(bare := self._without_hidden(column))}
        loops = {_loop(name, self._world) for name in columns if name in self._world.schema.loop_columns}
        virtual = {name for name in names if self._world.may_miss(explicit(name, self._world)[0])}
        ref = LogsRef(
            self.id, self.alias, self.relation, frozenset(names), frozenset(loops), frozenset(virtual), columns,
            self.versions, tuple((column, name) for name, column in self._real.items() if column in columns),
        )  # fmt: skip
        self.node.meta[REF_META] = ref
        return ref


class Block:
    """A SELECT whose star stands over one relation of logql: names of today's source can be asked through it."""

    def __init__(self, select: exp.Select, source: Source, changed: Callable[[], None]) -> None:
        self._select = select
        self._source = source
        self._changed = changed

    def offer(self, name: str) -> str | None:
        """The column `name`, added to the SELECT if its source has it."""
        found = self._source.find(name)
        if found is None:
            return None
        self._source.use(found)
        self._select.append("expressions", star_column(found, self._source.alias, False))
        self._changed()
        return found


def star_column(name: str, alias: str, starred: bool) -> exp.Column:
    """A column as a star brings it in."""
    table = exp.to_identifier(alias, quoted=True) if alias else None
    column = exp.column(exp.to_identifier(name, quoted=True), table)
    if starred:
        column.meta[STAR_META] = True
    return column


def hidden_name(column: str, what: str) -> str:
    """Name of the hidden column that tells `what` of `column`."""
    return f"{column}${what}"


def _loop(column: str, world: World) -> str:
    return column if column in world.schema.loops else column.rsplit("_", 1)[0]
