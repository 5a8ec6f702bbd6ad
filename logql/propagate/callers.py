"""Who calls a function, as far as its source shows, and which functions may be called where no source shows it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from logql.propagate.outline import SCOPES, Item, Outline, Unit

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
#: Methods that a framework calls when the object itself is called.
_CALLED_BY_FRAMEWORKS = frozenset({"forward", "backward", "setup_context"})


class Callers:
    """The calls of one version's source, by the last name of what they call."""

    def __init__(self, outlines: Sequence[Outline]) -> None:
        self._calls: dict[str, list[Item]] = {}
        self._values: set[str] = set()
        self._units: dict[str, list[Unit]] = {}
        for outline in outlines:
            bound = {id(unit): _bound(unit) for unit in outline.units}
            for unit in outline.units:
                self._units.setdefault(_last(unit), []).append(unit)
            for item in outline.items:
                self._read(item, bound[id(item.unit)])

    def _read(self, item: Item, bound: frozenset[str]) -> None:
        for node, called, later in _mentions(item.node):
            name = node.id if isinstance(node, ast.Name) else node.attr
            if called:
                self._calls.setdefault(name, []).append(item)
            if (later or not called) and not (isinstance(node, ast.Name) and name in bound):
                self._values.add(name)

    def of(self, unit: Unit) -> list[Item]:
        """The statements that call the function by its name, or its class, if it is what makes an object."""
        return self._calls.get(_called_as(unit), [])

    def hidden(self, unit: Unit) -> bool:
        """Whether the function may be called where no call names it.

        So are special methods and `forward`, generators and coroutines (their bodies run when somebody asks for more),
        what is passed on or stored as a value (hooks, callbacks, `collate_fn`), and what nobody calls by its name.
        """
        name = _last(unit)
        if (name.startswith("__") and name != "__init__") or name in _CALLED_BY_FRAMEWORKS:
            return True
        if isinstance(unit.node, ast.AsyncFunctionDef) or any(yields(item.node) for item in unit.items):
            return True
        return _called_as(unit) in self._values or not self.of(unit)

    def reached(self, unit: Unit) -> set[int]:
        """Identities of the units that surely run within `unit`, whose loops are therefore not around it."""
        found: set[int] = set()
        queue = [unit]
        while queue:
            current = queue.pop()
            if id(current) not in found:
                found.add(id(current))
                queue.extend(self._surely_called(current))
        return found

    def _surely_called(self, unit: Unit) -> Iterator[Unit]:
        """Functions called by a plain name, on `self`, or on an object of a class that the unit names."""
        words = {token for item in unit.items for token in item.tokens}
        for item in unit.items:
            for node, called, _ in _mentions(item.node):
                name = node.id if isinstance(node, ast.Name) else node.attr
                found = self._units.get(name, []) if called else []
                if isinstance(node, ast.Name):
                    yield from (other for other in found if other.is_function and _class_of(other) is None)
                    continue
                mine = isinstance(node.value, ast.Name) and node.value.id == "self"
                for other in found:
                    owner = _class_of(other)
                    if owner is not None and (owner is _class_of(unit) if mine else _last(owner).encode() in words):
                        yield other


def _mentions(node: ast.AST) -> Iterator[tuple[ast.Name | ast.Attribute, bool, bool]]:
    """Names and attributes that a statement, or a header, reads; whether each is called, and whether only later.

    Later is what stands in a lambda, which runs elsewhere. Of `a.b.c` only the whole is told.
    """
    decorators = getattr(node, "decorator_list", []) if isinstance(node, SCOPES) else []
    stack: list[tuple[ast.AST, bool, bool]] = [(decorator, True, False) for decorator in decorators]
    stack.append((node, False, False))
    while stack:
        current, called, later = stack.pop()
        if isinstance(current, ast.Name | ast.Attribute) and isinstance(current.ctx, ast.Load):
            yield current, called, later
        later = later or isinstance(current, ast.Lambda)
        for field, value in ast.iter_fields(current):
            if field in ("decorator_list", "annotation", "returns"):
                continue
            children = value if isinstance(value, list) else [value]
            if children and isinstance(children[0], ast.stmt | ast.excepthandler | ast.match_case):
                continue
            passed = isinstance(current, ast.Call) and field == "func"
            for child in children:
                if isinstance(current, ast.Attribute) and isinstance(child, ast.Name):
                    continue
                if isinstance(child, ast.AST):
                    stack.append((child, passed, later))


def _bound(unit: Unit) -> frozenset[str]:
    """Names that are variables of the function, whatever functions of that name there are."""
    node = unit.node
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return frozenset()
    arguments = {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
    stored = {
        name.id
        for item in unit.items
        if not isinstance(item.node, SCOPES)
        for name in ast.walk(item.node)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
    }
    return frozenset(arguments | stored)


def yields(node: ast.AST) -> bool:
    """Whether a statement of a function's own scope makes it a generator."""
    if isinstance(node, SCOPES):
        return False
    stack: list[ast.AST] = [node]
    while stack:
        current = stack.pop()
        if isinstance(current, ast.Yield | ast.YieldFrom):
            return True
        stack.extend(child for child in ast.iter_child_nodes(current) if not isinstance(child, _FUNCTIONS))
    return False


def _last(unit: Unit) -> str:
    return unit.name.rpartition(".")[2]


def _class_of(unit: Unit) -> Unit | None:
    return unit.parent if unit.parent is not None and isinstance(unit.parent.node, ast.ClassDef) else None


def _called_as(unit: Unit) -> str:
    owner = _class_of(unit)
    return _last(owner) if owner is not None and _last(unit) == "__init__" else _last(unit)
