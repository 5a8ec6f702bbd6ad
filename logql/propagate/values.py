"""Whether the names that a statement reads and binds mean at its place what they mean beside the new statement."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Mapping
from functools import cached_property

from logql.propagate.locate import Spot
from logql.propagate.names import bound_before, header_uses, item_names, parameters, unit_bindings, uses_of
from logql.propagate.outline import Item, Unit
from logql.propagate.rename import Path
from logql.propagate.result import Refusal
from logql.propagate.temporaries import assigned, definition_of, value_of

_IMPORTS = (ast.Import, ast.ImportFrom)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)


class Values:
    """Compares where the values around a statement come from in two versions."""

    def __init__(self, statement: Item, spot: Spot, matched: Mapping[Item, Item]) -> None:
        self.statement, self.spot, self.matched = statement, spot, matched
        self.mine, self.theirs = statement.unit, spot.unit

    @cached_property
    def names_here(self) -> set[str]:
        """Names that the old scope (at module level: the old file) already uses, so that nothing may bind them anew."""
        items = self.theirs.outline.items
        if self.theirs.header is not None:
            items = items[self.theirs.header.index : self.theirs.header.end]
        return parameters(self.theirs).union(*(item_names(item) for item in items))

    def differs(self, name: str) -> bool:
        """Whether the new loop binds a name in a way of its own, while the old one has it from outside of the loop.

        Where the old code has that statement, too, and binds another name with it, the name is what an earlier
        iteration left.
        """
        new_loop, loop = inner_loop(self.statement.parent), inner_loop(self.spot.parent)
        writers = [i for i in self.mine.items if i.index < self.statement.index and name in header_uses(i.node).writes]
        if new_loop is None or loop is None or not writers or not new_loop.index < writers[-1].index < new_loop.end:
            return False
        there = self.matched.get(writers[-1])
        if there is not None and name in header_uses(there.node).writes:
            return False
        inside = self.theirs.outline.items[loop.index : loop.end if there is None else self.spot.index]
        return name in unit_bindings(self.theirs) and not any(name in header_uses(i.node).writes for i in inside)

    def bound_as(self, name: str, reader: Item, renamed: Callable[[Path], Path | None]) -> str | None:
        """The other name under which the old code has, at the place, the value that `name` has for a new statement.

        `fake = net(noise)` was `sample = net(noise)` there, whatever else is called `fake` in either.
        """
        mine = _last_writer(name, self.mine, reader.index)
        theirs = self.matched.get(mine) if mine is not None else None
        if mine is None or theirs is None or theirs.unit is not self.theirs or assigned(mine) != name:
            return None
        other = assigned(theirs)
        if other is None or other == name or _last_writer(other, self.theirs, self.spot.index) is not theirs:
            return None
        if mine.parent not in _around(self.statement.parent) or theirs.parent not in _around(self.spot.parent):
            return None
        return other if ast.dump(adapted(value_of(mine), renamed)) == ast.dump(value_of(theirs)) else None

    def check(self, node: ast.AST, renames: Mapping[Path, Path]) -> None:
        """Refuse a place where a name would be bound too late or in vain, or has another value; raises Refusal."""
        uses = uses_of(node)
        names = {name: renames.get((name,), (name,))[0] for name in uses.writes | uses.reads}
        for name in sorted(uses.writes - uses.reads):
            if self._read_unbound(names[name]):
                raise Refusal(f"`{names[name]}` is read here before the place that the code around it tells")
            if names[name] in parameters(self.theirs) and name not in parameters(self.mine):
                raise Refusal(f"`{names[name]}` is an argument of `{self.theirs.name}` in this version")
        for name in sorted(uses.reads & uses.writes):
            if self._belongs_outside(names[name]):
                raise Refusal(f"`{names[name]}` is a variable of an outer scope in this version")
        for name in sorted(uses.reads):
            if self._stands_for_another(name, names[name]) or self._overwritten(name, names[name]):
                raise Refusal(f"`{names[name]}` has another value at this place")
        bound = {names[name] for name in uses.writes}
        if bound and self._read_beside(uses.writes) and not self.names_here & bound:
            raise Refusal(f"nothing reads `{min(bound)}` at this place")

    def _stands_for_another(self, name: str, other: str) -> bool:
        """Whether what binds the old name last is, in the new code, a definition of another name."""
        counterpart = self._counterpart_of_definition(other)
        if counterpart is None or name in header_uses(counterpart.node).writes:
            return False
        return counterpart.index < self.statement.index and not self._defined_alike(name, other)

    def _overwritten(self, name: str, other: str) -> bool:
        """Whether the old code has used the value and then, before the place, given its name to something else."""
        mine = _last_writer(name, self.mine, self.statement.index)
        theirs = self.matched.get(mine) if mine is not None else None
        last = _last_writer(other, self.theirs, self.spot.index)
        if theirs is None or last is None or theirs.unit is not self.theirs or not theirs.index < last.index:
            return False
        known = {old.index: new for new, old in self.matched.items() if old.unit is self.theirs}
        if other not in header_uses(theirs.node).writes or other in header_uses(last.node).reads:
            return False
        if last.parent not in _around(self.spot.parent) or (
            last.index in known and known[last.index].index < self.statement.index
        ):
            return False
        between = (item for item in self.theirs.items if theirs.index < item.index < last.index)
        return any(item.index in known and other in header_uses(item.node).reads for item in between)

    def _defined_alike(self, name: str, other: str) -> bool:
        """Whether both versions give their name the same value, however many lines they take for it."""
        mine = definition_of(name, self.mine, self.statement.index)
        theirs = definition_of(other, self.theirs, self.spot.index)
        return mine is not None and theirs is not None and ast.dump(mine) == ast.dump(theirs)

    def _belongs_outside(self, name: str) -> bool:
        """Whether binding a name would make it a new variable of the old scope."""
        declared = set[str]().union(*(header_uses(item.node).globals for item in self.theirs.items))
        return self.theirs.header is not None and name not in unit_bindings(self.theirs) | declared

    def _read_beside(self, names: set[str]) -> bool:
        """Whether other statements of the new scope, or of scopes in it, read one of the names."""
        items, header = self.mine.outline.items, self.mine.header
        inside = items if header is None else items[header.index + 1 : header.end]
        others = (item for item in inside if not self.statement.index <= item.index < self.statement.end)
        return any(names & (header_uses(item.node).reads | header_uses(item.node).late) for item in others)

    def _read_unbound(self, name: str) -> bool:
        """Whether the old scope reads a name before the place with nothing binding it earlier."""
        unit = self.theirs
        early = next((i for i in unit.items if i.index < self.spot.index and name in header_uses(i.node).reads), None)
        if early is None or name in bound_before(unit, early.index) | parameters(unit):
            return False
        return unit.header is None or name not in unit_bindings(unit.outline.units[0])

    def _counterpart_of_definition(self, name: str) -> Item | None:
        """The new statement that matches what last binds a name before the place (imports left out)."""
        writers = [i for i in self.theirs.items if i.index < self.spot.index and name in header_uses(i.node).writes]
        if not writers or isinstance(writers[-1].node, _IMPORTS):
            return None
        return next((new for new, old in self.matched.items() if old is writers[-1]), None)


def _last_writer(name: str, unit: Unit, index: int) -> Item | None:
    writers = [item for item in unit.items if item.index < index and name in header_uses(item.node).writes]
    return writers[-1] if writers else None


def _around(item: Item | None) -> list[Item | None]:
    """A compound statement and all that it stands in; None is the module."""
    found = [item]
    while item is not None:
        item = item.parent
        found.append(item)
    return found


def adapted(value: ast.AST, renamed: Callable[[Path], Path | None]) -> ast.AST:
    """Code in the old code's names."""
    copied = copy.deepcopy(value)
    for node in ast.walk(copied):
        if isinstance(node, ast.Name):
            other = renamed((node.id,))
            node.id = other[0] if other is not None and len(other) == 1 else node.id
    return copied


def inner_loop(item: Item | None, *, or_try: bool = False) -> Item | None:
    """The innermost loop (or `try`), beginning with this statement and going outwards."""
    kinds = (*_LOOPS, ast.Try) if or_try else _LOOPS
    while item is not None and not isinstance(item.node, kinds):
        item = item.parent
    return item
