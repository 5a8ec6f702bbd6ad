"""Logged names that are those of a column which every row has anyway: a repeated value is dropped, another one kept.

The store gives a kept one a trailing `_` (`store.names`); here the user is told, once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from logql.model import SYSTEM_COLUMNS, Run
from logql.record import guard
from logql.record.api import INDEX_BITS
from logql.store.names import fold, loop_columns

if TYPE_CHECKING:
    from logql.record.api import Context

_INDEX_MASK = (1 << INDEX_BITS) - 1
_MISSING = object()


class NameRules:
    """Knows the columns that rows of this run have besides logged names: the system's, args, and loops seen so far."""

    def __init__(self, run: Run, rank: int, args: Mapping[str, object]) -> None:
        self._system: dict[str, object] = {
            "run": run.id,
            "version": run.version,
            "rank": rank,
            "script": run.script,
            "name": run.name,
        }
        self._args = args
        self._loops: set[str] = set()

    def add_loop(self, loop: str) -> None:
        """Note that the run has a loop of that name."""
        self._loops.add(loop)

    def columns(self) -> list[str]:
        """The columns that rows of this run have besides logged names."""
        loops = [column for loop in self._loops for column in loop_columns(loop)]
        return [*SYSTEM_COLUMNS, *self._args, *loops]

    def clashes(self, name: str) -> bool:
        """Whether rows have a column `name` that is no logged value."""
        return name in SYSTEM_COLUMNS or name in self._args or self._loop_of(name) is not None

    def repeats(self, context: Context, name: str, value: object) -> bool:
        """Whether `value` only repeats the column `name` of its row; if not, the user is told what it becomes."""
        column = self._column(context, name)
        if column is not _MISSING and column is not None and type(column) is type(value) and column == value:
            return True
        guard.warn(f"name {name}", f'"{name}" is a column of every row: what is logged under this name is "{name}_"')
        return False

    def _column(self, context: Context, name: str) -> object:
        if name in self._system:
            return self._system[name]
        if name in self._args:
            return self._args[name]
        loop = self._loop_of(name)
        here: Context | None = context
        while loop is not None and here is not None:
            if here[1][1] == loop and here[1][0]:
                return _loop_value(here, name[len(loop) :])
            here = here[1][3]
        return _MISSING

    def _loop_of(self, name: str) -> str | None:
        if name in self._loops:
            return name
        for suffix in ("_index", "_entry"):
            if name.endswith(suffix) and name[: -len(suffix)] in self._loops:
                return name[: -len(suffix)]
        return None


class Renaming:
    """Tells, once, which names are columns of another name; the store decides (`store.names`), as far as it knows."""

    def __init__(self, rules: NameRules, guess: Callable[[list[str], list[str]], Mapping[str, str]]) -> None:
        self._rules = rules
        self._guess = guess
        self._seen = 0

    def tell(self, logged: Collection[str]) -> None:
        """Look at those of the run's names (in the order in which they came) that were not there before."""
        if len(logged) == self._seen:
            return
        new = list(logged)[self._seen :]
        self._seen = len(logged)
        folded = {fold(name) for name in new}
        alike = [name for name in logged if fold(name) in folded]
        columns = self._rules.columns()
        try:
            stored = self._guess(alike, columns)
        except Exception:  # whoever writes to the store tells of it
            return
        for name in new:
            if stored[name] != name and not self._rules.clashes(name):
                cases = {other for other in (*alike, *columns) if fold(other) == fold(name)} - {name}
                why = f", as {_quoted(cases)} differs from it only in case" if cases else ""
                guard.warn(f"name {name}", f'what is logged as "{name}" is the column "{stored[name]}"{why}')


def _quoted(names: Collection[str]) -> str:
    return " or ".join(f'"{name}"' for name in sorted(names))


def _loop_value(context: Context, suffix: str) -> object:
    key, entry, item = context
    if suffix == "_entry":
        return entry[2]
    if suffix == "_index" or item is None:
        return key & _INDEX_MASK
    return item
