"""The unified columns of a history: what every name, loop and arg is called, its type, and where it was logged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from logql.catalog.relations import FIXED_TYPES, OUTPUT_TYPES, RUN_TYPES, SYSTEM_TYPES
from logql.model import RUN_LEVEL, Level, Run, Shape, level_text
from logql.store import names as stored
from logql.store.levels import loop_names
from logql.store.types import filled_in, unify

#: Type of a virtual column before its first fill: NULL without a type, which DuckDB compares with anything.
UNKNOWN_TYPE = '"NULL"'


@dataclass(frozen=True)
class Column:
    """A logged name. `virtual` means that it was recorded nowhere: today's source or a virtual column has it."""

    name: str
    type: str
    levels: frozenset[Level]
    virtual: bool = False


@dataclass(frozen=True)
class Schema:
    """All columns of a history, looked up without regard to case, as DuckDB does.

    `arg_names` has the args whose column has another name, by that column; `renamed_loops` the loops of which files
    have another name than queries, because an earlier one differs from it only in case.
    """

    columns: Mapping[str, Column]
    loops: Mapping[str, str]
    args: Mapping[str, str]
    levels: frozenset[Level] = frozenset()
    arg_names: Mapping[str, str] = field(default_factory=dict)
    renamed_loops: Mapping[str, str] = field(default_factory=dict)
    _folded: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    _loop_columns: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._folded.update({name.lower(): name for name in self.columns})
        for name, type_ in self.loops.items():
            self._loop_columns.update({name: type_, f"{name}_index": "BIGINT", f"{name}_entry": "INTEGER"})

    @property
    def loop_columns(self) -> Mapping[str, str]:
        """`<loop>`, `<loop>_index`, `<loop>_entry` of every loop, with types."""
        return self._loop_columns

    def loops_of(self, level: Level) -> list[str]:
        """What queries call the loops of a level."""
        return [self.renamed_loops.get(name, name) for name in loop_names(level)]

    def shown(self, level: Level) -> dict[str, str]:
        """The columns of a level's loops as files have them, each with the name that queries have for it."""
        pairs = zip(loop_names(level), self.loops_of(level), strict=True)
        return {own + part: shown + part for own, shown in pairs for part in ("", "_index", "_entry")}

    def find(self, name: str) -> Column | None:
        """The logged name that `name` means, whatever its case."""
        found = self._folded.get(name.lower())
        return self.columns[found] if found is not None else None

    def relation(self, name: str) -> dict[str, str]:
        """Columns of a built-in relation with their types, in the order of its star; empty if there is none."""
        if name == "logs":
            return {**SYSTEM_TYPES, **self.args, **self._loop_columns, **self._recorded()}
        if name == "runs":
            names = self._recorded(RUN_LEVEL).items()
            return {**RUN_TYPES, **self.args, **{n: type_ for n, type_ in names if n.lower() not in RUN_TYPES}}
        if name == "output":
            others = {column for loop in self.renamed_loops.values() for column in stored.loop_columns(loop)}
            return {**OUTPUT_TYPES, **{name: t for name, t in self._loop_columns.items() if name not in others}}
        if name in FIXED_TYPES:
            return dict(FIXED_TYPES[name])
        return self._loop_relation(name) if name in self.loops else {}

    def _recorded(self, level: Level | None = None) -> dict[str, str]:
        return {
            name: column.type
            for name, column in self.columns.items()
            if not column.virtual and (level is None or level in column.levels)
        }

    def levels_around(self, relation: str) -> set[Level]:
        """The levels whose values the rows of a relation of fixed grain have: its own, and those around it."""
        own = [level for level in self.levels if level and self.loops_of(level)[-1] == relation]
        return {RUN_LEVEL, *(level[: depth + 1] for level in own for depth in range(len(level)))}

    def _loop_relation(self, loop: str) -> dict[str, str]:
        above = self.levels_around(loop)
        outer = {name for level in above for name in self.loops_of(level)}
        loops = {name: type_ for name, type_ in self._loop_columns.items() if _loop_of(name, self.loops) in outer}
        names = {n: c.type for n, c in self.columns.items() if not c.virtual and c.levels & above}
        return {**SYSTEM_TYPES, **self.args, **loops, **names}


def _loop_of(column: str, loops: Mapping[str, str]) -> str:
    if column in loops:
        return column
    return column.rsplit("_", 1)[0]


def build_schema(
    shapes: Iterable[Shape], runs: Iterable[Run], hindsight: Mapping[str, list[str]] | None = None
) -> Schema:
    """The schema of the recorded `runs`, whose distinct `shapes` say what they logged where.

    `hindsight` has the types that replays gave to names.
    """
    distinct = list(shapes)
    types: dict[str, list[str]] = {}
    levels: dict[str, set[Level]] = {}
    loops: dict[str, list[str]] = {}
    for shape in distinct:
        for level, names in shape.levels.items():
            for name, type_ in names.items():
                types.setdefault(name, []).append(type_)
                levels.setdefault(name, set()).add(level)
            for loop, column in zip(level, loop_names(level), strict=True):
                loops.setdefault(column, []).append(shape.loops.get(column, shape.loops.get(loop, "BIGINT")))
    for name in types:
        types[name] += (hindsight or {}).get(name, [])
    columns = {name: Column(name, _type_of(found), frozenset(levels[name])) for name, found in types.items()}
    every = frozenset(level for shape in distinct for level in shape.levels)
    shown = stored.apart(loops)
    args, loop_columns = _args(runs), [column for loop in shown.values() for column in stored.loop_columns(loop)]
    called = stored.arg_columns(args, loop_columns, columns)
    return Schema(
        columns,
        {shown[name]: known_type(unify(found), "BIGINT") for name, found in loops.items()},
        {called[arg]: type_ for arg, type_ in args.items()},
        every,
        {column: arg for arg, column in called.items() if column != arg},
        {name: found for name, found in shown.items() if name != found},
    )


def _type_of(found: Iterable[str]) -> str:
    """The type of a name; where nothing but None was ever logged under it, that of one that was never filled."""
    type_ = unify(found)
    return UNKNOWN_TYPE if type_ == "NULL" else known_type(type_)


def _args(runs: Iterable[Run]) -> dict[str, str]:
    """Types of all args, in the order of the runs that had them first."""
    values = {(name, type(value)): value for run in runs for name, value in run.args.items()}
    types: dict[str, set[str]] = {}
    for (name, _), value in values.items():
        types.setdefault(name, set()).add(python_type(value))
    return {name: known_type(unify(sorted(found))) for name, found in types.items()}


def python_type(value: object) -> str:
    """DuckDB's type of an arg's value."""
    for kind, name in ((bool, "BOOLEAN"), (int, "BIGINT"), (float, "DOUBLE"), (str, "VARCHAR")):
        if isinstance(value, kind):
            return name
    return "NULL" if value is None else "VARCHAR"


def known_type(type_: str, default: str = "DOUBLE") -> str:
    """`type_` with `default` where only None was ever logged, in lists and structs too."""
    return filled_in(type_, default)


class Known(Protocol):
    """Whoever knows all names."""

    @property
    def schema(self) -> Schema:
        """The names that were recorded."""

    def virtual(self, name: str) -> Column | None:
        """A name that was recorded nowhere."""


def explicit(name: str, known: Known) -> tuple[str, str | None]:
    """The parts of `loss@epoch.step`, None where no level is named: `recall@10` is a name that somebody logged."""
    bare, _, level = name.rpartition("@")
    if not bare or known.schema.find(name) is not None or known.virtual(name) is not None:
        return name, None
    return bare, level


def level_named(text: str, levels: Iterable[Level]) -> Level | None:
    """The level that `text` names, `run` or loops joined by dots."""
    return next((level for level in [RUN_LEVEL, *levels] if level_text(level) == text), None)
