"""Puts statements into a source text without touching what stands there."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Sequence

from logql.propagate.locate import Spot
from logql.propagate.outline import Item, Outline, end_line_of, start_of

_LATER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.While, ast.With)


class CannotInsert(Exception):
    """Raised when the text around a place leaves no room for a further statement."""


def insert_text(outline: Outline, spot: Spot, statement: str, *, simple: bool) -> tuple[str, int]:
    r"""The source with `statement` (dedented, "\n" line ends) at the spot, and the line that it starts at."""
    lines = split_lines(outline.source)
    newline = line_end(outline.source)
    before, after = spot.before, spot.after
    if before is not None and not _ends_line(outline, before):
        return _inline(outline, before, statement, simple, after_it=True)
    if before is None and after is not None and not _starts_line(outline, after):
        return _inline(outline, after, statement, simple, after_it=False)
    if before is not None:
        indent, at = _indent_of(lines, before), end_line_of(before.node)
        if not _starts_line(outline, before):
            indent = _indent_of(lines, _first_on_line(outline, before))
            if _one_line_body(outline, before):
                return _inline(outline, before, statement, simple, after_it=True)
    elif after is not None:
        indent, at = _indent_of(lines, after), start_of(after.node)[0] - 1
    else:
        indent, at = "", len(lines)
    return splice(lines, at, indent_lines(statement, indent, outline.source), newline), at + 1


def insert_above(outline: Outline, spot: Spot, source: str, line: int, statement: str) -> tuple[str, int]:
    """Put a statement of lines of its own at a spot, in the text that already holds another one below, at `line`.

    Returns the text and the line to which the other one has moved.
    """
    beside = spot.before or spot.after
    if beside is None or not (_starts_line(outline, beside) and _ends_line(outline, beside)):
        raise CannotInsert("what it needs would have to share a line with other statements")
    at = end_line_of(beside.node) if beside is spot.before else start_of(beside.node)[0] - 1
    added = indent_lines(statement, _indent_of(split_lines(outline.source), beside), outline.source)
    return splice(split_lines(source), at, added, line_end(source)), line + len(added)


def insert_header(old: Outline, spot: Spot, source: str, line: int, texts: Sequence[str]) -> tuple[str, int]:
    """Put imports and helpers after the old file's first imports, in the text that already holds the statement.

    Returns the text and the line to which the statement has moved.
    """
    if not texts:
        return source, line
    at = _header_line(old, spot)
    added = [part for text in texts for part in indent_lines(text, "", old.source)]
    if at >= line:
        raise CannotInsert("what it needs would come too late at module level")
    return splice(split_lines(source), at, added, line_end(old.source)), line + len(added)


def _header_line(old: Outline, spot: Spot) -> int:
    """The line after which module-level additions go: the last leading import, the docstring, or leading comments."""
    body = old.units[0].body
    at = 0
    for number, item in enumerate(body):
        docstring = number == 0 and isinstance(item.node, ast.Expr) and isinstance(item.node.value, ast.Constant)
        if item.index >= spot.index or not (docstring or isinstance(item.node, ast.Import | ast.ImportFrom)):
            if isinstance(item.node, _LATER) or item.index >= spot.index:
                break
            continue
        if _ends_line(old, item):
            at = end_line_of(item.node)
    if at == 0:
        for text in split_lines(old.source):
            if not text.startswith("#"):
                break
            at += 1
    return at


def splice(lines: Sequence[str], at: int, added: Sequence[str], newline: str) -> str:
    """Join the lines with `added` after line `at`."""
    head = list(lines[:at])
    if head and not head[-1].endswith(("\n", "\r")):
        head[-1] += newline
        return "".join(head) + newline.join(added)
    return "".join(head) + "".join(line + newline for line in added) + "".join(lines[at:])


def split_lines(source: str) -> list[str]:
    """Physical lines with their ends, as Python's tokenizer counts them (form feeds do not end a line)."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", source)


def line_end(source: str) -> str:
    match = re.search(r"\r\n|\r|\n", source)
    return match.group() if match else "\n"


def indent_unit(source: str) -> str:
    """What one level of indentation looks like in a file: the first indented line after a colon."""
    match = re.search(r":[ \t]*(?:#[^\n]*)?\r?\n(?:[ \t]*\r?\n)*([ \t]+)\S", source)
    if match is None:
        return "    "
    return "\t" if match.group(1).startswith("\t") else match.group(1)


def dedent_text(outline: Outline, item: Item, data: bytes) -> str:
    r"""Text of (a part of) an item with "\n" line ends, without the indentation of the item's first line."""
    text = data.decode("utf-8", "surrogatepass").replace("\r\n", "\n").replace("\r", "\n")
    first = (
        outline.data[outline.line_starts[start_of(item.node)[0] - 1] :].split(b"\n", 1)[0].decode("utf-8", "replace")
    )
    indent = re.match(r"[ \t\f]*", first)
    width = indent.group() if indent else ""
    lines = text.split("\n")
    inside = lines_inside_strings(text)
    out = [lines[0]]
    for number, line in enumerate(lines[1:], start=2):
        out.append(line if number in inside or not line.startswith(width) else line[len(width) :])
    return "\n".join(out)


def indent_lines(statement: str, indent: str, old_source: str) -> list[str]:
    """Indent a dedented statement; inner levels take the old file's kind of indentation."""
    lines = statement.split("\n")
    inside = lines_inside_strings(statement)
    unit = indent_unit(old_source)
    ours = re.search(r"^([ \t]+)\S", "\n".join(line for n, line in enumerate(lines, 1) if n not in inside), re.M)
    out = [indent + lines[0]]
    for number, line in enumerate(lines[1:], start=2):
        if number in inside or not line.strip():
            out.append(line)
            continue
        stripped = line.lstrip(" \t")
        inner = line[: len(line) - len(stripped)]
        if ours is not None and "\t" in indent + unit and ours.group(1).strip("\t"):
            inner = "\t" * round(len(inner.expandtabs(4)) / 4)
        out.append(indent + inner + stripped)
    return out


def lines_inside_strings(text: str) -> set[int]:
    """Lines (from 1) that begin inside a string."""
    found: set[int] = set()
    if '"""' not in text and "'''" not in text:
        return found
    opened: list[int] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text + "\n").readline):
            name = tokenize.tok_name[token.type]
            if name == "STRING":
                found.update(range(token.start[0] + 1, token.end[0] + 1))
            elif name == "FSTRING_START":
                opened.append(token.start[0])
            elif name == "FSTRING_END" and opened:
                found.update(range(opened.pop() + 1, token.end[0] + 1))
    except (tokenize.TokenError, IndentationError, SyntaxError):
        pass
    return found


def _indent_of(lines: Sequence[str], item: Item) -> str:
    match = re.match(r"[ \t\f]*", lines[start_of(item.node)[0] - 1])
    return match.group() if match else ""


def _starts_line(outline: Outline, item: Item) -> bool:
    line, column = start_of(item.node)
    begin = outline.line_starts[line - 1]
    return not outline.data[begin : begin + column].strip(b" \t\f")


def _ends_line(outline: Outline, item: Item) -> bool:
    _, end = outline.span(item.node)
    rest = outline.data[end : outline.data.find(b"\n", end) if b"\n" in outline.data[end:] else len(outline.data)]
    rest = rest.strip()
    return not rest or rest.startswith(b"#")


def _first_on_line(outline: Outline, item: Item) -> Item:
    line = start_of(item.node)[0]
    for candidate in outline.items:
        if start_of(candidate.node)[0] == line:
            return candidate
    return item


def _one_line_body(outline: Outline, item: Item) -> bool:
    """Whether the item stands on the line of its block's header."""
    first = item.block[0]
    return not _starts_line(outline, first) and item.parent is not None


def _inline(outline: Outline, item: Item, statement: str, simple: bool, *, after_it: bool) -> tuple[str, int]:
    if not simple or "\n" in statement:
        raise CannotInsert("it would have to share a line with other statements")
    if item.parent is not None and item.slot == "orelse" and outline.text(item.node).startswith("elif"):
        raise CannotInsert("an elif leaves no room before it")
    begin, end = outline.span(item.node)
    data = outline.data
    added = statement.encode()
    parts = (data[:end], b"; ", added, data[end:]) if after_it else (data[:begin], added, b"; ", data[begin:])
    patched = b"".join(parts)
    return patched.decode("utf-8", "surrogatepass"), start_of(item.node)[0]
