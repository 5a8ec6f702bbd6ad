"""Where a main loop stands in the source: what its `for` and its `with` statement have in common."""

from __future__ import annotations

import ast
import builtins
import os
from dataclasses import dataclass, field
from types import CodeType, FrameType

#: Calls around an iterable in a `for` header that pass its items on unchanged.
PROGRESS_BARS = frozenset(("tqdm", "track", "alive_it", "progress_bar", "progressbar"))
UNKNOWN = object()


@dataclass(frozen=True)
class Place:
    """File (relative to the project), line of the statement, its function's qualified name; why it cannot be resumed.

    `alongside` is what else the loop takes items from: `other` in `zip(logql.loop(...), other)`.
    """

    file: str | None
    line: int | None
    function: str | None
    reason: str | None
    alongside: tuple[object, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Source:
    """The syntax tree of the file that some code is from, and the line of an instruction; `tree` None tells why."""

    file: str | None
    function: str | None
    tree: ast.Module | None
    line: int
    reason: str | None = None


def read_source(code: CodeType, instruction: int, project: str) -> Source:
    """The source of running code, where it belongs to the project."""
    path = os.path.abspath(code.co_filename)
    function = code.co_qualname if code.co_name != "<module>" else None
    line = _line_at(code, instruction)
    root, real = os.path.realpath(project), os.path.realpath(path)
    if not real.startswith(os.path.join(root, "")):
        return Source(None, function, None, line, "the loop runs outside of the project")
    file = os.path.relpath(real, root)
    try:
        with open(path, "rb") as handle:
            return Source(file, function, ast.parse(handle.read()), line)
    except (OSError, SyntaxError, ValueError):
        return Source(file, function, None, line, "its source cannot be read")


def _line_at(code: CodeType, instruction: int) -> int:
    for position, (line, *_) in enumerate(code.co_positions()):
        if position == instruction // 2 and line is not None:
            return line
    return code.co_firstlineno


def called_name(node: ast.expr) -> str:
    """What a call calls, without the modules around it; '' where it is no call."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def look_up(node: ast.expr, frame: FrameType) -> object:
    """The value of a variable or of an attribute of one, as the frame sees it now; UNKNOWN where that takes more."""
    from logql.state.roots import frame_variables

    if isinstance(node, ast.Name):
        for names in (frame_variables(frame), frame.f_globals, vars(builtins)):
            if node.id in names:
                return names[node.id]
    if isinstance(node, ast.Attribute):
        return getattr(look_up(node.value, frame), "__dict__", {}).get(node.attr, UNKNOWN)
    return UNKNOWN
