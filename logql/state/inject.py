"""Puts restoring statements into a syntax tree: at the head of a main loop's body, and behind the loop. Pure.

A main loop is a `for` statement over `logql.loop`, or a block: a `with logql.iteration(...)` in some loop.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping

from logql.state.injected import NAME

_Function = ast.FunctionDef | ast.AsyncFunctionDef
MainLoopStatement = ast.For | ast.With
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def inject(tree: ast.Module, lines: Mapping[int, str]) -> ast.Module:
    """A copy of `tree` whose main loops at the given lines restore variables when told to (see `injected`).

    `lines` maps any line of a statement's header to the loop's key. Lines of all other nodes stay as they are, and
    the new ones have that of the header. A line without such a statement is left alone; `find_loop` tells.
    """
    tree = copy.deepcopy(tree)
    inject_into(tree, lines)
    return tree


def inject_into(tree: ast.Module, lines: Mapping[int, str]) -> None:
    """The same in `tree` itself: copying one takes longer than all else."""
    found = [(find_loop(tree, line), key) for line, key in lines.items()]
    keys = {id(loop): key for loop, key in found if loop is not None}
    stepped = {id(around): key for loop, key in found if (around := _counted(tree, loop)) is not None}
    _Injector(keys, stepped).visit(tree)


def find_loop(tree: ast.AST, line: int) -> MainLoopStatement | None:
    """The innermost `for` or `with` statement whose header spans `line`."""
    loops = [node for node in ast.walk(tree) if isinstance(node, (ast.For, ast.With)) and _spans(node, line)]
    return max(loops, key=lambda loop: (loop.lineno, loop.col_offset), default=None)


def _spans(node: MainLoopStatement, line: int) -> bool:
    last = node.iter if isinstance(node, ast.For) else node.items[-1].context_expr
    return node.lineno <= line <= (last.end_lineno or last.lineno)


def _counted(tree: ast.AST, loop: MainLoopStatement | None) -> ast.For | None:
    """The `for` statement whose items are to be counted: one that does not run over the loop alone."""
    if isinstance(loop, ast.With):
        return next((node for node in ast.walk(tree) if isinstance(node, ast.For) and loop in node.body), None)
    if loop is None or (isinstance(loop.iter, ast.Call) and ast.unparse(loop.iter.func).endswith("loop")):
        return None
    return loop


class _Injector(ast.NodeTransformer):
    """Adds statements to the chosen loops; `_names` are the variables of the function at hand."""

    def __init__(self, keys: Mapping[int, str], stepped: Mapping[int, str]) -> None:
        self._keys = keys
        self._stepped = stepped
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
        if id(node) in self._stepped:
            node.iter = _stepping(node, self._stepped[id(node)])
        if key is None:
            return node
        node.body.insert(0, _restoring(node, key, "body", self._names_without(node.target)))
        leaving = _restoring(node, key, "exit", self._names)
        if node.orelse:
            complete = _at(node, f"if {NAME}.completes({key!r}): pass")
            assert isinstance(complete, ast.If)
            complete.body = [copy.deepcopy(leaving), *node.orelse]
            node.orelse = [complete]
        return [node, leaving]

    def visit_With(self, node: ast.With) -> ast.AST:
        key = self._keys.get(id(node))
        self.generic_visit(node)
        if key is None:
            return node
        names = self._names_without(node.items[0].optional_vars)
        if node.items[1:]:
            inner = ast.With(items=node.items[1:], body=node.body)
            node.items, node.body = node.items[:1], [ast.copy_location(inner, node)]
        node.body.insert(0, _restoring(node, key, "body", names))
        return node

    def _names_without(self, target: ast.expr | None) -> list[str]:
        """The variables of the function but those that the statement itself binds."""
        bound = {name.id for name in ast.walk(target) if isinstance(name, ast.Name)} if target is not None else ()
        return [name for name in self._names if name not in bound]


def _stepping(loop: ast.For, key: str) -> ast.expr:
    """What the loop runs over, with its items going through `Injected.steps`."""
    statement = _at(loop, f"{NAME}.steps({key!r}, None)")
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Call)
    statement.value.args[1] = loop.iter
    return statement.value


def _restoring(loop: MainLoopStatement, key: str, place: str, names: object) -> ast.stmt:
    lines = [f"if {NAME}.pending({key!r}, {place!r}):"]
    for name in names if isinstance(names, (list, tuple)) else ():
        lines += [
            f"    if {NAME}.bound({name!r}): {name} = {NAME}.value({name!r})",
            f"    elif {NAME}.unbound({name!r}):",
            f"        {name} = None",
            f"        del {name}",
        ]
    return _at(loop, "\n".join([*lines, f"    {NAME}.done()"]))


def _at(loop: MainLoopStatement, source: str) -> ast.stmt:
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
