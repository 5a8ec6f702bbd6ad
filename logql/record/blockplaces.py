"""Finds the `with logql.iteration(...)` statement of a running main loop, and whether its loop can be entered anew.

A restore writes all variables, so a `while` loop around it may stand wherever the prologue left it. A `for` loop keeps
its iterator where no variable shows it: only one over a `range` can be brought to where it was, by counting.
"""

from __future__ import annotations

import ast
import builtins
import itertools
from collections.abc import Iterator
from types import CodeType, FrameType

from logql.record.places import PROGRESS_BARS, Place, called_name, look_up, read_source

_Function = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.Module)
_Loops = (ast.For, ast.AsyncFor, ast.While)


def find_block(code: CodeType, instruction: int, project: str, frame: FrameType) -> Place:
    """The `with` statement whose header the instruction belongs to; `line` is None where `reason` says why not."""
    source = read_source(code, instruction, project)
    if source.tree is None:
        return Place(source.file, None, source.function, source.reason)
    way = _way_to(source.tree, source.line)
    reason = _refuse(way, frame)
    return Place(source.file, way[-1].lineno if reason is None else None, source.function, reason)  # type: ignore[attr-defined]


def _way_to(tree: ast.Module, line: int) -> list[ast.AST]:
    """The nodes from the function down to the innermost `with` that has `line` in its header; empty if none has."""
    best: list[ast.AST] = []
    for way in _ways(tree, []):
        node = way[-1]
        if isinstance(node, ast.With) and node.lineno <= line <= (node.items[-1].context_expr.end_lineno or 0):
            best = way
    return best


def _ways(node: ast.AST, above: list[ast.AST]) -> Iterator[list[ast.AST]]:
    way: list[ast.AST] = [node] if isinstance(node, _Function) else [*above, node]
    yield way
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            yield from _ways(child, way)


def _refuse(way: list[ast.AST], frame: FrameType) -> str | None:
    """Why the iterations of such a block cannot be entered in the middle."""
    if not way or not isinstance(way[-1], ast.With):
        return "its iterations are not entered by a `with` statement"
    if called_name(way[-1].items[0].context_expr) != "iteration":
        return "its `with` statement does not begin with logql.iteration(...)"
    first = next((i for i, node in enumerate(way) if isinstance(node, _Loops)), None)
    if first is None:
        return "its `with` statement stands in no loop of its own function"
    if any(isinstance(node, (ast.With, ast.AsyncWith)) for node in way[first:-1]):
        return "its `with` statement stands within another one in its loop"
    if _handles_an_exception(way[first:]):
        return "its `with` statement stands in an exception handler"
    counted = [node for node in way if isinstance(node, (ast.For, ast.AsyncFor))]
    return _refuse_for(way, counted[0], frame) if counted else None


def _handles_an_exception(way: list[ast.AST]) -> bool:
    pairs = itertools.pairwise(way)
    return any(
        isinstance(inner, ast.ExceptHandler) or inner in getattr(outer, "finalbody", ()) for outer, inner in pairs
    )


def _refuse_for(way: list[ast.AST], loop: ast.AST, frame: FrameType) -> str | None:
    """Why the iterator of the `for` loop around a block cannot be brought to where it was."""
    if sum(isinstance(node, _Loops) for node in way) > 1 or not isinstance(loop, ast.For):
        return "its `with` statement stands in a `for` loop and another loop: use logql.loop"
    if way[-2] is not loop or way[-1] not in loop.body:
        return "its `with` statement is not reached in every iteration of the `for` loop around it"
    if any(_continues(statement) for statement in loop.body[: loop.body.index(way[-1])]):
        return "its `with` statement is not reached in every iteration of the `for` loop around it"
    return None if _is_range(loop.iter, frame) else "the `for` loop around it does not run over a range: use logql.loop"


def _continues(node: ast.AST) -> bool:
    """Whether a statement may go on with the next iteration of the loop that it stands in."""
    if isinstance(node, ast.Continue):
        return True
    if isinstance(node, _Function):
        return False
    inner = node.orelse if isinstance(node, _Loops) else ast.iter_child_nodes(node)
    return any(_continues(child) for child in inner)


def _is_range(node: ast.expr, frame: FrameType) -> bool:
    if not isinstance(node, ast.Call):
        return type(look_up(node, frame)) is range
    if called_name(node) in PROGRESS_BARS and node.args:
        return _is_range(node.args[0], frame)
    return called_name(node) == "trange" or look_up(node.func, frame) is builtins.range
