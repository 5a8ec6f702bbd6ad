"""Loops that logql was told of, in source, and the levels that a place can have."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from logql.model import Level
from logql.propagate.names import dotted
from logql.propagate.outline import Item, Outline, Unit, end_line_of, start_of
from logql.propagate.statements import Api, api_of, calls_in, read_outlines

_MOST_LEVELS = 16


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
    for outline in project.outlines:
        for item in outline.items:
            name = project.loop_name(item)
            if name is not None:
                main = () in project.levels_at(item.unit, item.parent)
                function = item.unit.name if item.unit.is_function else None
                found.append(
                    FoundLoop(name, outline.path, start_of(item.node)[0], end_line_of(item.node), function, main)
                )
    return sorted(found, key=lambda loop: (loop.file, loop.line))


class Project:
    """The outlines of one version with its calls: answers which loops are around a place."""

    def __init__(self, outlines: Sequence[Outline]) -> None:
        self.outlines = list(outlines)
        self._apis: dict[int, Api] = {id(outline): api_of(outline) for outline in outlines}
        self._calls: dict[str, list[Item]] | None = None

    def loop_name(self, item: Item) -> str | None:
        """The name of the loop that a statement's header begins, or None."""
        node = item.node
        if isinstance(node, ast.For | ast.AsyncFor):
            wanted = "loop"
        elif isinstance(node, ast.With | ast.AsyncWith):
            wanted = "iteration"
        else:
            return None
        api = self._apis.get(id(item.unit.outline)) or api_of(item.unit.outline)
        for call in calls_in(node):
            if api.function(call) == wanted:
                first = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg == "name"), None)
                return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else "*"
        return None

    def levels_at(self, unit: Unit, parent: Item | None) -> tuple[Level, ...]:
        """The levels that code below `parent` in `unit` can run at, through the calls of enclosing functions."""
        found: list[Level] = []
        self._levels(unit, parent, (), frozenset(), found)
        return tuple(dict.fromkeys(found))

    def _levels(self, unit: Unit, parent: Item | None, inner: Level, seen: frozenset[str], found: list[Level]) -> None:
        if len(found) >= _MOST_LEVELS:
            return
        while parent is not None and parent is not unit.header:
            name = self.loop_name(parent)
            inner = (name, *inner) if name is not None else inner
            parent = parent.parent
        if not unit.is_function:
            if unit.parent is not None and unit.header is not None:
                self._levels(unit.parent, unit.header.parent, inner, seen, found)
            else:
                found.append(inner)
            return
        name = unit.name.rpartition(".")[2]
        callers = [] if unit.name in seen else self.calls().get(self._called_as(unit, name), [])
        before = len(found)
        for caller in callers:
            if caller.unit is not unit:
                self._levels(caller.unit, caller.parent, inner, seen | {unit.name}, found)
        if len(found) == before and unit.name not in seen:
            found.append(inner)

    def _called_as(self, unit: Unit, name: str) -> str:
        if name in ("__init__", "__call__") and unit.parent is not None:
            return unit.parent.name.rpartition(".")[2]
        return name

    def calls(self) -> dict[str, list[Item]]:
        """Statements by the last name of what they call (or pass on as a value)."""
        if self._calls is None:
            self._calls = {}
            for outline in self.outlines:
                for item in outline.items:
                    for call in calls_in(item.node):
                        path = dotted(call.func)
                        if path is not None:
                            self._calls.setdefault(path[-1], []).append(item)
        return self._calls
