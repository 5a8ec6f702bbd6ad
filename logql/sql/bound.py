"""What binding yields: a syntax tree in which every reference to a relation of logql says what it must deliver."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sqlglot import exp

from logql.sql.walk import find

#: Key under which a reference's node (an exp.Table) carries its LogsRef, and a projection that a star brought in, True.
REF_META = "logql"
STAR_META = "starred"
#: Key under which a key of USING carries the alias of the source that it means on the left.
LEFT_META = "left"
#: Key under which a NATURAL join carries its keys, as USING would have them.
NATURAL_META = "natural"

#: Relations that may have missing cells, besides one per loop name.
LOGS = "logs"
RUNS = "runs"


@dataclass(frozen=True)
class LogsRef:
    """One reference to a relation of logql, and what its block uses of it.

    `names` is N (with explicit levels as `loss@epoch`), `loops` is L; `columns` is all that is used, in the relation's
    order, the hidden ones (`loss$origin`) last. `virtual` holds the names of N that may have missing cells.
    `versions` restricts the runs (AT); None means all. `renames` are pairs of a column and what an alias list calls it.
    """

    id: int
    alias: str
    relation: str = LOGS
    names: frozenset[str] = frozenset()
    loops: frozenset[str] = frozenset()
    virtual: frozenset[str] = frozenset()
    columns: tuple[str, ...] = ()
    versions: frozenset[str] | None = None
    renames: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Patch:
    """A part of the original text to be replaced: by a reference or a view, lowered to SQL, or by `text`.

    `suffix` follows what replaces it, such as the alias that a subquery needs.
    """

    start: int
    end: int
    text: str = ""
    ref: LogsRef | None = None
    view: BoundQuery | None = None
    prefix: str = ""
    suffix: str = ""


@dataclass(frozen=True)
class BoundQuery:
    """A query whose names all mean something.

    `tree` has views and macros expanded and is not simplified. `patches` edit the original text instead, so that DuckDB
    gets what the user wrote; None where that is not possible and the tree must be generated anew.
    """

    sql: str
    tree: exp.Expr
    refs: tuple[LogsRef, ...] = ()
    patches: tuple[Patch, ...] | None = None
    notices: tuple[str, ...] = ()

    @property
    def needs_values(self) -> bool:
        """Whether the answer depends on any value: that of DESCRIBE does not."""
        return not isinstance(self.tree, exp.Describe)

    @property
    def virtual(self) -> bool:
        """Whether any reference may have missing cells, so that planning is worth its time."""
        return any(ref.virtual for ref in self.refs)

    @property
    def moves(self) -> bool:
        """Whether the answer depends on what changes while it is planned and filled: own tables, or the clock."""
        ctes = {node.alias.lower() for node in self.notable if isinstance(node, exp.CTE)}
        tables = (table for table in self.tables if ref_of(table) is None)
        return any(table.name.lower() not in ctes for table in tables) or any(map(_is_clock, self.notable))

    @property
    def tables(self) -> list[exp.Table]:
        """Everything that is read in a FROM."""
        return [node for node in self.notable if isinstance(node, exp.Table)]

    @cached_property
    def notable(self) -> list[exp.Expr]:
        """The tables, samples, CTEs and functions anywhere in the query, found in one walk: it may be long."""
        return list(find(self.tree, *_NOTABLE))


_NOTABLE = (exp.Table, exp.Func, exp.TableSample, exp.CTE)
#: Functions that tell the time, besides those that sqlglot knows as such.
_CLOCKS = frozenset({"now", "age", "transaction_timestamp", "get_current_timestamp", "get_current_time"})
_CLOCK_NODES = (
    exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime, exp.CurrentDatetime, exp.Localtimestamp, exp.Localtime,
)  # fmt: skip


def _is_clock(node: exp.Expr) -> bool:
    return isinstance(node, _CLOCK_NODES) or (isinstance(node, exp.Anonymous) and node.name.lower() in _CLOCKS)


def ref_of(table: exp.Expr) -> LogsRef | None:
    """The reference that a table node stands for, if it is one of logql's."""
    found = table.meta.get(REF_META) if isinstance(table, exp.Table) else None
    return found if isinstance(found, LogsRef) else None
