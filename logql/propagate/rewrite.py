"""The text of a statement of the new version in the words of the old one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence

from logql.propagate.edit import dedent_text, indent_unit, lines_inside_strings
from logql.propagate.names import all_arguments, stored_names
from logql.propagate.outline import Item, Outline
from logql.propagate.paths import join_path, spelled
from logql.propagate.rename import Path

Edit = tuple[int, int, bytes]


def statement_text(item: Item, renames: Mapping[Path, Path]) -> str:
    r"""Text of a statement, dedented and with "\n" line ends, its names renamed."""
    outline = item.unit.outline
    begin, end = outline.span(item.node)
    return dedent_text(outline, item, apply_edits(outline.data, begin, end, list(_edits(outline, item.node, renames))))


def node_text(outline: Outline, node: ast.AST, renames: Mapping[Path, Path]) -> str:
    """Text of an expression, its names renamed."""
    begin, end = outline.span(node)
    return apply_edits(outline.data, begin, end, list(_edits(outline, node, renames))).decode("utf-8", "surrogatepass")


def guarded_text(statement: Item, guards: Sequence[Item], feeders: Sequence[Item], renames: Mapping[Path, Path]) -> str:
    """The statement after its feeders, under the headers of its guards (from the inside out), after theirs.

    Feeders of the blocks around all of these come first.
    """
    text, left = statement_text(statement, renames), list(feeders)
    for level, item in enumerate((statement, *guards)):
        if level:
            text = _header_text(item, renames) + "\n" + _indented(text, indent_unit(item.unit.outline.source))
        before = left if level == len(guards) else [feeder for feeder in left if feeder.block is item.block]
        text = "\n".join([*(statement_text(feeder, renames) for feeder in before), text])
        left = [feeder for feeder in left if feeder not in before]
    return text


def _header_text(guard: Item, renames: Mapping[Path, Path]) -> str:
    outline = guard.unit.outline
    begin, end = outline.span(guard.node)[0], outline.span(guard.node.body[0])[0]  # type: ignore[union-attr]
    edits = [edit for edit in _edits(outline, guard.node, renames) if edit[1] <= end]
    return dedent_text(outline, guard, apply_edits(outline.data, begin, end, edits).rstrip())


def _indented(text: str, indent: str) -> str:
    inside = lines_inside_strings(text)
    lines = text.split("\n")
    return "\n".join(indent + line if line and n not in inside else line for n, line in enumerate(lines, start=1))


def apply_edits(data: bytes, begin: int, end: int, edits: Sequence[Edit]) -> bytes:
    """`data[begin:end]` with pieces replaced; `edits` are in offsets of `data`."""
    text = data[begin:end]
    for first, last, replacement in sorted(set(edits), reverse=True):
        text = text[: first - begin] + replacement + text[last - begin :]
    return text


def _edits(outline: Outline, node: ast.AST, renames: Mapping[Path, Path]) -> Iterator[Edit]:
    if renames:
        yield from _walk(outline, node, renames, frozenset())


def _walk(outline: Outline, node: ast.AST, renames: Mapping[Path, Path], local: frozenset[str]) -> Iterator[Edit]:
    if isinstance(node, ast.JoinedStr):
        begin, end = outline.span(node)
        replaced = _in_braces(outline.data[begin:end], renames, local)
        if replaced != outline.data[begin:end]:
            yield begin, end, replaced
        return
    path = spelled(node)
    if path is not None:
        for length in range(len(path), 0, -1):
            other = renames.get(path[:length])
            if other is not None and path[0] not in local:
                begin, end = _prefix_span(outline, node, len(path) - length)
                yield begin, end, join_path(other).encode()
                return
    inner = local | _bound_inside(node)
    for child in ast.iter_child_nodes(node):
        yield from _walk(outline, child, renames, inner)


def _prefix_span(outline: Outline, node: ast.AST, strip: int) -> tuple[int, int]:
    for _ in range(strip):
        node = node.value  # type: ignore[attr-defined]
    return outline.span(node)


def _bound_inside(node: ast.AST) -> frozenset[str]:
    """Names that an inner scope binds for itself."""
    if isinstance(node, ast.Lambda):
        return frozenset(argument.arg for argument in all_arguments(node.args))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return frozenset(argument.arg for argument in all_arguments(node.args)) | frozenset(stored_names(node.body))
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        stores = (n for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name))
        return frozenset(name.id for name in stores)
    return frozenset()


def _in_braces(text: bytes, renames: Mapping[Path, Path], local: frozenset[str]) -> bytes:
    """Rename inside the braces of an f-string; positions there are not reliable before Python 3.12."""

    def in_one(match: re.Match[bytes]) -> bytes:
        piece = match.group()
        for path, other in renames.items():
            if path[0] not in local:
                name = re.escape(join_path(path).encode())
                piece = re.sub(rb"(?<![\w.])" + name + rb"(?!\w)(?!\s*=[^=])", join_path(other).encode(), piece)
        return piece

    return re.sub(rb"(?<!\{)\{[^{}]*\}", in_one, text)
