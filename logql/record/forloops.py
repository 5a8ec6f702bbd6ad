"""Finds the `for` statement that a running loop belongs to, from the frame's code and instruction."""

from __future__ import annotations

import ast
import os
from dataclasses import dataclass
from types import CodeType

#: Calls around `logql.loop(...)` in a `for` header that pass the items on unchanged.
_TRANSPARENT = frozenset(("tqdm", "track", "alive_it", "progress_bar", "progressbar"))


@dataclass(frozen=True)
class ForLoop:
    """File (relative to the project), line of the `for`, its function's qualified name; why it cannot be resumed."""

    file: str | None
    line: int | None
    function: str | None
    reason: str | None


def find_for_loop(code: CodeType, instruction: int, project: str) -> ForLoop:
    """The `for` statement whose header the instruction belongs to.

    `line` is None where there is none (a comprehension, a loop fed by another iterator): `reason` then says why.
    """
    path = os.path.abspath(code.co_filename)
    function = code.co_qualname if code.co_name != "<module>" else None
    root = os.path.realpath(project)
    real = os.path.realpath(path)
    if not real.startswith(os.path.join(root, "")):
        return ForLoop(None, None, function, "the loop runs outside of the project")
    file = os.path.relpath(real, root)
    try:
        with open(path, "rb") as handle:
            tree = ast.parse(handle.read())
    except (OSError, SyntaxError, ValueError):
        return ForLoop(file, None, function, "its source cannot be read")
    line = _line_at(code, instruction)
    found = _innermost(tree, line)
    if found is None:
        return ForLoop(file, None, function, "it is not the iterable of a `for` statement")
    reason = None if _is_plain(found.iter) else "its `for` statement does not iterate over logql.loop(...) alone"
    return ForLoop(file, found.lineno if reason is None else None, function, reason)


def _line_at(code: CodeType, instruction: int) -> int:
    for position, (line, *_) in enumerate(code.co_positions()):
        if position == instruction // 2 and line is not None:
            return line
    return code.co_firstlineno


def _innermost(tree: ast.AST, line: int) -> ast.For | ast.AsyncFor | None:
    """The innermost `for` with `line` in its header; a one-line body counts to the header's line, too."""
    best: ast.For | ast.AsyncFor | None = None
    for node in ast.walk(tree):
        if isinstance(node, (ast.For, ast.AsyncFor)):
            last = node.iter.end_lineno or node.lineno
            if node.lineno <= line <= last and (best is None or node.lineno >= best.lineno):
                best = node
    return best


def _is_plain(node: ast.expr) -> bool:
    """Whether the header's iterable is a call of something called `loop`, or a progress bar around one."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    if name in _TRANSPARENT and node.args:
        return _is_plain(node.args[0])
    return name not in ("enumerate", "zip", "map", "filter", "islice", "reversed", "iter", "chain", "list", "tuple")
