"""Loops that logql was told of, in source, and the levels that a place can have."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from logql.model import RUN_LEVEL, Level
from logql.propagate.callers import Callers, yields
from logql.propagate.outline import Item, Outline, Unit, end_line_of, start_of
from logql.propagate.statements import Api, api_of, calls_in, read_outlines

#: What code can run through that other functions, or variables, give the iterations of named loops to.
_ENTERED = (ast.For, ast.AsyncFor, ast.With, ast.AsyncWith)
_MOST_HANDED_ON = 4


@dataclass(frozen=True)
class FoundLoop:
    """A named loop of the source: `main` if no other named loop is around it on any way to it."""

    name: str
    file: str
    line: int
    end_line: int
    function: str | None
    main: bool


def find_loops(files: Mapping[str, str]) -> list[FoundLoop]:
    """Every `for` over `logql.loop` and every `with logql.iteration`, by file and line."""
    project = Project(read_outlines(files))
    found = []
    for item, name in project.named_loops:
        main = RUN_LEVEL in project.levels_at(item.unit, item.parent)
        function = item.unit.name if item.unit.is_function else None
        path = item.unit.outline.path
        found.append(FoundLoop(name, path, start_of(item.node)[0], end_line_of(item.node), function, main))
    return sorted(found, key=lambda loop: (loop.file, loop.line))


class Project:
    """The outlines of one version with its calls: answers which loops are around a place."""

    def __init__(self, outlines: Sequence[Outline]) -> None:
        self.outlines = list(outlines)
        self._apis: dict[int, Api] = {id(outline): api_of(outline) for outline in outlines}

    @cached_property
    def callers(self) -> Callers:
        return Callers(self.outlines)

    def loop_name(self, item: Item) -> str | None:
        """The name of the loop that a statement's header begins, or None."""
        node = item.node
        if isinstance(node, ast.For | ast.AsyncFor):
            wanted = "loop"
        elif isinstance(node, ast.With | ast.AsyncWith):
            wanted = "iteration"
        else:
            return None
        api = self._api(item.unit.outline)
        return next((_name_of(call) for call in calls_in(node) if api.function(call) == wanted), None)

    def _api(self, outline: Outline) -> Api:
        return self._apis.get(id(outline)) or api_of(outline)

    def levels_at(self, unit: Unit, parent: Item | None) -> tuple[Level, ...]:
        """The levels that code below `parent` in `unit` runs at, through calls by name of the enclosing functions."""
        return tuple(self._levels(unit, parent, hidden=False))

    def possible_levels(self, unit: Unit, parent: Item | None) -> tuple[Level, ...]:
        """Besides those of `levels_at`, where a function around it may be called without its name, any level."""
        return tuple(self._levels(unit, parent, hidden=True))

    def _levels(self, unit: Unit, parent: Item | None, *, hidden: bool) -> dict[Level, None]:
        found: dict[Level, None] = {}
        visited: set[tuple[int, Level]] = set()

        def follow(unit: Unit, parent: Item | None, inner: Level, seen: frozenset[int]) -> None:
            for around in self._loops_around(unit, parent):
                leave(unit, (*around, *inner), seen)

        def leave(unit: Unit, inner: Level, seen: frozenset[int]) -> None:
            if not unit.is_function:
                if unit.parent is not None and unit.header is not None:
                    follow(unit.parent, unit.header.parent, inner, seen)
                else:
                    found[inner] = None
                return
            if id(unit) in seen or (id(unit), inner) in visited:
                return
            visited.add((id(unit), inner))
            callers = [caller for caller in self.callers.of(unit) if caller.unit is not unit]
            if hidden and self.callers.hidden(unit):
                found.update(dict.fromkeys((*level, *inner) for level in self._levels_around(unit)))
            elif not callers:
                found[inner] = None
            for caller in callers:
                follow(caller.unit, caller.parent, inner, seen | {id(unit)})

        follow(unit, parent, (), frozenset())
        return found

    def _loops_around(self, unit: Unit, parent: Item | None) -> list[Level]:
        """The named loops that can be around a place within its own function, from the outside in."""
        found: list[Level] = [()]
        while parent is not None and parent is not unit.header:
            name = self.loop_name(parent)
            names = [name] if name is not None else self._handed_on if isinstance(parent.node, _ENTERED) else []
            found = [(name, *inner) for name in names for inner in found] + (found if name is None else [])
            parent = parent.parent
        return found

    @cached_property
    def _handed_on(self) -> list[str]:
        """Loops whose iterations other code goes through: of generators, and those that are kept in a variable."""
        yielding = [name for item, name in self.named_loops if any(map(yields, _below(item)))]
        kept = [
            _name_of(call)
            for outline in self.outlines
            for item in outline.items
            for call in calls_in(item.node)
            if self.loop_name(item) is None and self._api(outline).function(call) in ("loop", "iteration")
        ]
        return list(dict.fromkeys(yielding + kept))[:_MOST_HANDED_ON]

    @cached_property
    def all_levels(self) -> tuple[Level, ...]:
        """The run's level, and those of all named loops."""
        return tuple(self._levels_outside(set()))

    def _levels_around(self, unit: Unit) -> dict[Level, None]:
        """The levels of a function that anything may call: all but those of loops that run within it."""
        return self._levels_outside(self.callers.reached(unit))

    def _levels_outside(self, units: set[int]) -> dict[Level, None]:
        found: dict[Level, None] = {RUN_LEVEL: None}
        for item, name in self.named_loops:
            if id(item.unit) not in units:
                found.update(dict.fromkeys((*level, name) for level in self.levels_at(item.unit, item.parent)))
        return found

    @cached_property
    def named_loops(self) -> list[tuple[Item, str]]:
        """The headers of all named loops."""
        named = ((item, self.loop_name(item)) for outline in self.outlines for item in outline.items)
        return [(item, name) for item, name in named if name is not None]


def _name_of(call: ast.Call) -> str:
    """The name that a call gives to a loop; `*` where that is no literal."""
    first = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg == "name"), None)
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else "*"


def _below(item: Item) -> list[ast.AST]:
    """The statements within a compound one, of the same function."""
    items = item.unit.outline.items[item.index + 1 : item.end]
    return [inner.node for inner in items if inner.unit is item.unit]
