"""Names that no replay has filled yet have no type: most functions take NULL as it is, those of time do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from logql.catalog.history import History
from logql.catalog.schema import UNKNOWN_TYPE, explicit
from logql.sql.bound import LogsRef

#: The type that stands in for one: `year(d)` has one answer for dates and for timestamps, if all of them are NULL.
TIME_TYPE = "TIMESTAMP"
#: Of more names than this, only one at a time or all.
_FEW = 4


def type_of(name: str, history: History) -> str:
    """The unified type of a name, perhaps with a level."""
    bare = explicit(name, history)[0]
    column = history.schema.find(bare) or history.virtual(bare)
    return column.type if column is not None else UNKNOWN_TYPE


def untyped(references: Iterable[LogsRef], history: History) -> list[str]:
    """The names of some references that have no type."""
    names = {name for ref in references for name in ref.names}
    return sorted(name for name in names if type_of(name, history) == UNKNOWN_TYPE)


def choices(names: list[str]) -> Iterator[frozenset[str]]:
    """Which of some names may be times, the fewest first."""
    for count in range(1, len(names) + 1) if len(names) <= _FEW else (1, len(names)):
        yield from map(frozenset, combinations(names, count))
