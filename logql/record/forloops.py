"""Finds the `for` statement that a running loop belongs to, from the frame's code and instruction."""

from __future__ import annotations

import ast
import itertools
from types import CodeType, FrameType

from logql.record import api
from logql.record.places import PROGRESS_BARS, UNKNOWN, Place, called_name, look_up, read_source

#: Built-in iterators that take one item of the loop for each that they give, or skip some.
_PASS_ON = {"enumerate": enumerate, "islice": itertools.islice, "zip": zip}
_OTHERS = frozenset(("map", "filter", "reversed", "iter", "chain", "list", "tuple", "sorted"))
_ALONE = "its `for` statement does not iterate over logql.loop(...) alone"


class _Unfit(Exception):
    """Raised where the items of a header cannot be had again from the loop's own."""


def find_for_loop(code: CodeType, instruction: int, project: str, frame: FrameType | None = None) -> Place:
    """The `for` statement whose header the instruction belongs to.

    `line` is None where there is none (a comprehension, a loop fed by another iterator): `reason` then says why.
    `frame` is the one that runs it, to look up the variables of its header in.
    """
    source = read_source(code, instruction, project)
    if source.tree is None:
        return Place(source.file, None, source.function, source.reason)
    found = _innermost(source.tree, source.line)
    if found is None:
        return Place(source.file, None, source.function, "it is not the iterable of a `for` statement")
    try:
        alongside = tuple(_others_of(found.iter, frame))
    except _Unfit as unfit:
        return Place(source.file, None, source.function, str(unfit))
    return Place(source.file, found.lineno, source.function, None, alongside)


def _innermost(tree: ast.AST, line: int) -> ast.For | ast.AsyncFor | None:
    """The innermost `for` with `line` in its header; a one-line body counts to the header's line, too."""
    best: ast.For | ast.AsyncFor | None = None
    for node in ast.walk(tree):
        if isinstance(node, (ast.For, ast.AsyncFor)):
            last = node.iter.end_lineno or node.lineno
            if node.lineno <= line <= last and (best is None or node.lineno >= best.lineno):
                best = node
    return best


def _others_of(node: ast.expr, frame: FrameType | None) -> list[object]:
    """What a header's expression takes items from besides the loop, which it takes them from first.

    The loop is a call of something called `loop`, or a variable that holds it; progress bars, `enumerate`, `zip` and
    `islice` around it pass its items on, so that they come to where they were when they are given its items again.
    """
    if not isinstance(node, ast.Call):
        if frame is None or not _is_loop(look_up(node, frame)):
            raise _Unfit(_ALONE)
        return []
    name = called_name(node)
    if name in PROGRESS_BARS and node.args:
        return _others_of(node.args[0], frame)
    if name in _PASS_ON and node.args and not isinstance(node.args[0], ast.Starred):
        others = node.args[1:] if name == "zip" else []
        return [*_others_of(node.args[0], frame), *(_other(one, frame) for one in others)]
    if name in _PASS_ON or name in _OTHERS:
        raise _Unfit(_ALONE)
    return []


def _is_loop(value: object) -> bool:
    return isinstance(value, api.loop) or type(value).__module__.partition(".")[0] == "tqdm"


def _other(node: ast.expr, frame: FrameType | None) -> object:
    """A container beside the loop, whose items are had again by counting."""
    if called_name(node) in ("range", "count"):
        return ()
    value = look_up(node, frame) if frame is not None else UNKNOWN
    if type(value) not in (list, tuple, range, str, dict) and type(value).__name__ not in ("ndarray", "Tensor"):
        raise _Unfit("its `for` statement also takes items of something that is no variable with a plain container")
    return value
