"""What a person should know of a query's meaning: aggregates over values that rows repeat."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from logql.catalog.schema import Known, explicit
from logql.model import Level, level_text
from logql.sql.bound import LOGS, BoundQuery, LogsRef, ref_of

_REPEATING = (exp.Sum, exp.Avg, exp.Count)


def repeated_values(bound: BoundQuery, known: Known) -> Iterator[str]:
    """A notice for each sum, avg or count over a name that the rows of `logs` repeat from an enclosing level."""
    refs = {ref.alias: ref for table in bound.tables if (ref := ref_of(table)) is not None}
    for call in (node for node in bound.notable if isinstance(node, _REPEATING)):
        column = call.this
        if not isinstance(column, exp.Column) or isinstance(column.this, exp.Star):
            continue
        ref = refs.get(column.table)
        if ref is None or ref.relation != LOGS or column.name not in ref.names:
            continue
        level = _repeated_from(column.name, ref, known)
        if level is not None:
            relation = f'the relation "{level[-1]}"' if level else '"runs"'
            yield (
                f"{call.key}({column.name}) takes each {column.name} once per deeper row: "
                f"{relation} has it once per {level_text(level)}"
            )


def _repeated_from(name: str, ref: LogsRef, known: Known) -> Level | None:
    """The level that `name` is repeated from, if another name of N counts below it."""
    own = _levels(name, known)
    others = {level for other in ref.names - {name} for level in _levels(other, known)}
    for level in sorted(own):
        if any(len(other) > len(level) and other[: len(level)] == level for other in others):
            return level
    return None


def _levels(name: str, known: Known) -> frozenset[Level]:
    bare, text = explicit(name, known)
    column = known.schema.find(bare)
    levels = column.levels if column is not None else frozenset[Level]()
    return levels if text is None else frozenset(level for level in levels if level_text(level) == text)
