"""Puts restoring statements into a syntax tree: at the head of a main loop's body, and behind the loop. Pure."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping

from logql.state.injected import NAME

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def inject(tree: ast.Module, for_lines: Mapping[int, str]) -> ast.Module:
    """A copy of `tree` whose `for` statements at the given lines restore variables when told to (see `injected`).

    `for_lines` maps any line of a statement's header to the loop's key. Lines of all other nodes stay as they are, and
    the new ones have that of the loop's header. A line without a `for` statement is left alone; `found_loops` tells.
    """
    tree = copy.deepcopy(tree)
    keys = {id(loop): for_lines[line] for line, loop in _locate(tree, for_lines)}
    _Injector(keys).visit(tree)
    return tree


def found_loops(tree: ast.Module, lines: Mapping[int, str]) -> set[int]:
    """The lines at which a `for` statement stands."""
    return {line for line, _ in _locate(tree, lines)}


def _locate(tree: ast.Module, lines: Mapping[int, str]) -> Iterator[tuple[int, ast.For]]:
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.For)]
    for line in lines:
        spanning = [loop for loop in loops if loop.lineno <= line <= (loop.iter.end_lineno or loop.iter.lineno)]
        if spanning:
            yield line, max(spanning, key=lambda loop: (loop.lineno, loop.col_offset))


class _Injector(ast.NodeTransformer):
    """Adds statements to the chosen loops; `_names` are the variables of the function at hand."""

    def __init__(self, keys: Mapping[int, str]) -> None:
        self._keys = keys
        self._names: tuple[str, ...] = ()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        outer, self._names = self._names, ()
        self.generic_visit(node)
        self._names = outer
        return node

    def _function(self, node: _Function) -> ast.AST:
        outer, self._names = self._names, assigned_names(node)
        self.generic_visit(node)
        self._names = outer
        return node

    def visit_For(self, node: ast.For) -> ast.AST | list[ast.stmt]:
        key = self._keys.get(id(node))
        self.generic_visit(node)
        if key is None:
            return node
        targets = {name.id for name in ast.walk(node.target) if isinstance(name, ast.Name)}
        node.body.insert(0, _restoring(node, key, "body", [name for name in self._names if name not in targets]))
        leaving = _restoring(node, key, "exit", self._names)
        if node.orelse:
            complete = _at(node, f"if {NAME}.completes({key!r}): pass")
            assert isinstance(complete, ast.If)
            complete.body = [copy.deepcopy(leaving), *node.orelse]
            node.orelse = [complete]
        return [node, leaving]


def _restoring(loop: ast.For, key: str, place: str, names: object) -> ast.stmt:
    lines = [f"if {NAME}.pending({key!r}, {place!r}):"]
    for name in names if isinstance(names, (list, tuple)) else ():
        lines += [
            f"    if {NAME}.bound({name!r}): {name} = {NAME}.value({name!r})",
            f"    elif {NAME}.unbound({name!r}):",
            f"        {name} = None",
            f"        del {name}",
        ]
    return _at(loop, "\n".join([*lines, f"    {NAME}.done()"]))


def _at(loop: ast.For, source: str) -> ast.stmt:
    """A statement with the location of the loop's header."""
    statement = ast.parse(source).body[0]
    for node in ast.walk(statement):
        if "lineno" in node._attributes:
            ast.copy_location(node, loop)
            node.end_lineno, node.end_col_offset = loop.lineno, loop.col_offset + 3  # type: ignore[attr-defined]
    return statement


def assigned_names(function: _Function) -> tuple[str, ...]:
    """The variables that a function can assign: its own and `nonlocal` ones, in order of appearance."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    names = [one.arg for one in named if one is not None]
    outside: set[str] = set()
    for statement in function.body:
        for node in _within(statement):
            if isinstance(node, ast.Global):
                outside.update(node.names)
            names += _bound_by(node)
    return tuple(name for name in dict.fromkeys(names) if name not in outside)


def _within(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function's own scope. Comprehensions only count for their `:=`."""
    yield node
    if isinstance(node, _SCOPES):
        return
    inside = isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp))
    for child in ast.iter_child_nodes(node):
        if not inside:
            yield from _within(child)
        else:
            yield from (one for one in _within(child) if isinstance(one, ast.NamedExpr))


def _bound_by(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name):
        return [] if isinstance(node.ctx, ast.Load) else [node.id]
    if isinstance(node, ast.NamedExpr):
        return [node.target.id]
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [alias.asname or alias.name.split(".")[0] for alias in node.names if alias.name != "*"]
    if isinstance(node, ast.Nonlocal):
        return list(node.names)
    if isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
        return [node.name] if node.name else []
    if isinstance(node, ast.MatchMapping):
        return [node.rest] if node.rest else []
    return []
