"""Log calls inside of statements: `x = logql.log("n", e)`, `return logql.log(...)`, a log among the arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from logql.model import Placement
from logql.propagate.align import align, similarity
from logql.propagate.edit import insert_header, insert_text
from logql.propagate.locate import Spot
from logql.propagate.outline import Item, Outline, child_blocks, read_outline
from logql.propagate.purity import is_pure_expression
from logql.propagate.rename import Path
from logql.propagate.result import Refusal, finish, refused
from logql.propagate.rewrite import node_text
from logql.propagate.settle import Settler
from logql.propagate.statements import logged_value
from logql.propagate.subject import Subject
from logql.propagate.units import find_hosts

_LEAST_LIKENESS = 0.6
_INNER = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def place_form(
    subject: Subject, outlines: Sequence[Outline], new_files: Mapping[str, str], old_files: Mapping[str, str]
) -> Placement:
    """Log what the corresponding statement computes: just before it where that is pure, else by wrapping it."""
    call = subject.call
    value = logged_value(call) if call is not None else None
    if call is None or value is None:
        return refused("the log call has no value that could be found in its arguments")
    stripped = _without_call(subject, call, value)
    hosts = find_hosts(stripped, outlines)
    if not hosts:
        return refused("there is no code here like that around it")
    matched = align(stripped.unit.items, hosts[0].unit.items)
    other = matched.get(stripped)
    if other is None or similarity(stripped, other) < _LEAST_LIKENESS:
        return refused("the statement that it is a part of has no counterpart here")
    spot = Spot(hosts[0].unit, other.parent, other.block, other.position, 0.9, other.slot)
    settler = Settler(subject.statement, spot, _translate(subject, matched), new_files, old_files, [])
    inside = _enclosing_inner(subject.statement.node, call)
    if inside is None and is_pure_expression(value) and not isinstance(other.node, ast.While):
        return _before(subject, call, spot, settler, old_files)
    return _wrap(subject, call, value, other, spot, settler, old_files, inside)


def _without_call(subject: Subject, call: ast.Call, value: ast.expr) -> Item:
    """The statement as it would read without the log call around the value."""
    outline = subject.statement.unit.outline
    begin, end = outline.span(call)
    kept = outline.data[slice(*outline.span(value))]
    gone = outline.data[begin:end].count(b"\n") - kept.count(b"\n")
    data = outline.data[:begin] + b"(" + b"\\\n" * gone + kept + b")" + outline.data[end:]
    plain = outline.data[:begin] + kept + outline.data[end:] if not gone else data
    other = read_outline(plain.decode("utf-8", "surrogatepass"), outline.path)
    return other.items[subject.statement.index]


def _translate(subject: Subject, matched: Mapping[Item, Item]) -> dict[Item, Item]:
    """The matches in terms of the new file's own items."""
    items = subject.statement.unit.outline.items
    return {items[item.index]: other for item, other in matched.items() if item.index < len(items)}


def _enclosing_inner(node: ast.AST, call: ast.Call) -> ast.AST | None:
    """The comprehension or lambda around a call, if there is one."""
    for inside in ast.walk(node):
        if isinstance(inside, _INNER) and any(child is call for child in ast.walk(inside)):
            return inside
    return None


def _before(subject: Subject, call: ast.Call, spot: Spot, settler: Settler, old_files: Mapping[str, str]) -> Placement:
    settled = settler.settle((), call)
    if settled.feeders:
        raise Refusal("lines that only feed the statement cannot come along with a log call inside of it")
    outline, old = subject.statement.unit.outline, spot.unit.outline
    text = " ".join(node_text(outline, call, settled.renames).split("\n"))
    here = Spot(spot.unit, spot.parent, spot.block, spot.position, spot.confidence, spot.slot)
    source, line = insert_text(old, here, text, simple=True)
    header = [wanted.text for wanted in settled.imports]
    source, line = insert_header(old, spot, source, line, header)
    return finish(spot, source, line, [text, *header], subject.statement, old_files)


def _wrap(
    subject: Subject,
    call: ast.Call,
    value: ast.expr,
    other: Item,
    spot: Spot,
    settler: Settler,
    old_files: Mapping[str, str],
    inside: ast.AST | None,
) -> Placement:
    settled = settler.settle((), call if inside is None else call.func)
    outline, old = subject.statement.unit.outline, spot.unit.outline
    wanted = _dump(value, outline, settled.renames)
    places = [node for node in _expressions(other.node) if ast.dump(node) == wanted]
    if len(places) != 1:
        raise Refusal("the logged expression does not stand once in the corresponding statement")
    around = _enclosing_inner_of(other.node, places[0])
    if (inside is None) != (around is None) or (inside is not None and not _same_inner(inside, around, call, value)):
        raise Refusal("the expression around the log call differs here")
    begin, end = old.span(places[0])
    prefix, suffix = _around_value(outline, call, value, settled.renames)
    text = prefix + old.data[begin:end].decode() + suffix
    patched = old.data[:begin] + text.encode() + old.data[end:]
    header = [found.text for found in settled.imports]
    line = getattr(other.node, "lineno", 1)
    source, line = insert_header(old, spot, patched.decode("utf-8", "surrogatepass"), line, header)
    return finish(spot, source, line, [text, *header], subject.statement, old_files)


def _around_value(outline: Outline, call: ast.Call, value: ast.expr, renames: Mapping[Path, Path]) -> tuple[str, str]:
    text = node_text(outline, call, renames)
    inner = node_text(outline, value, renames)
    at = text.rfind(inner)
    return text[:at], text[at + len(inner) :]


def _dump(value: ast.expr, outline: Outline, renames: Mapping[Path, Path]) -> str:
    try:
        return ast.dump(ast.parse("(" + node_text(outline, value, renames) + ")", mode="eval").body)
    except SyntaxError:
        return ""


def _expressions(node: ast.AST) -> Iterator[ast.expr]:
    bodies = {id(child) for _, block in child_blocks(node) for child in block}
    for child in ast.iter_child_nodes(node):
        if id(child) in bodies:
            continue
        if isinstance(child, ast.expr):
            yield child
        yield from _expressions(child)


def _enclosing_inner_of(node: ast.AST, expression: ast.AST) -> ast.AST | None:
    return next(
        (
            inside
            for inside in _expressions(node)
            if isinstance(inside, _INNER) and any(child is expression for child in ast.walk(inside))
        ),
        None,
    )


def _same_inner(inside: ast.AST, around: ast.AST | None, call: ast.Call, value: ast.expr) -> bool:
    """Whether the comprehension or lambda is the same but for the log call."""
    return around is not None and ast.dump(inside).replace(ast.dump(call), ast.dump(value)) == ast.dump(around)
