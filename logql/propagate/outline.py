"""A source file as a flat list of statements with their tokens, blocks and units: what the matcher compares."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from logql.garbage import collections_paused

#: Nodes that the matcher treats as statements; handlers and cases are headers with a body like any other.
Statement = ast.stmt | ast.excepthandler | ast.match_case
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_LEAVES = (ast.Expr, ast.Assign, ast.Return, ast.AugAssign, ast.Import, ast.ImportFrom, ast.Pass, ast.Raise, ast.Assert)
_SLOTS = ("body", "handlers", "cases", "orelse", "finalbody")
_TOKEN = re.compile(
    rb"#[^\n]*"
    rb"|[a-zA-Z]{0,2}(?:\"\"\"(?:[^\\]|\\.)*?\"\"\"|'''(?:[^\\]|\\.)*?''')"
    rb"|[a-zA-Z]{0,2}(?:\"(?:[^\\\"\n]|\\.)*\"|'(?:[^\\'\n]|\\.)*')"
    rb"|[\w\x80-\xff]+|\\\r?\n|[^\w\s\x80-\xff]",
    re.DOTALL,
)
_RECORDING = {b"log": b"log", b"loop": b"loop", b"iteration": b"loop"}
_WORD = re.compile(rb"[A-Za-z_\x80-\xff][\w\x80-\xff]*")


@dataclass(eq=False, slots=True)
class Item:
    """One statement, or the header of a compound one, in the order of the file.

    `block` is the list of siblings it stands in, `end` the index after its subtree, `unit` the scope that owns it;
    `key` is its text without `self.`.
    """

    index: int
    node: Statement
    parent: Item | None
    slot: str
    block: list[Item]
    position: int
    tokens: tuple[bytes, ...]
    key: bytes
    unit: Unit
    depth: int
    end: int = 0
    bag: frozenset[tuple[bytes, int]] | None = None
    words: frozenset[tuple[bytes, int]] | None = None
    below: frozenset[tuple[bytes, int]] | None = None
    shape: bytes | None = None

    @property
    def kind(self) -> type[Statement]:
        return type(self.node)

    @property
    def recorded(self) -> tuple[bytes, bytes] | None:
        """The column that it logs, or the loop whose iterations it delimits: the same in all versions."""
        for number, token in enumerate(self.tokens[:-2]):
            if token in _RECORDING and self.tokens[number + 1] == b"(" and self.tokens[number + 2][-1:] in b"\"'":
                return _RECORDING[token], self.tokens[number + 2]
        return None

    @property
    def compound(self) -> bool:
        return hasattr(self.node, "body")


@dataclass(eq=False)
class Unit:
    """A scope: the module, a class or a function, with its own statements (nested scopes are headers)."""

    outline: Outline
    name: str
    header: Item | None
    parent: Unit | None
    items: list[Item] = field(default_factory=list)
    body: list[Item] = field(default_factory=list)

    @property
    def node(self) -> ast.Module | Statement:
        return self.outline.tree if self.header is None else self.header.node

    @property
    def is_function(self) -> bool:
        return isinstance(self.node, ast.FunctionDef | ast.AsyncFunctionDef)


@dataclass(eq=False)
class Outline:
    """A parsed file: its text as UTF-8, tree, statements in order and units."""

    source: str
    path: str
    data: bytes
    tree: ast.Module
    items: list[Item]
    units: list[Unit]

    @cached_property
    def line_starts(self) -> list[int]:
        starts = [0]
        starts += [match.end() for match in re.finditer(rb"\r\n|\r|\n", self.data)]
        return starts

    @cached_property
    def words(self) -> frozenset[str]:
        """Identifiers of the code, and those that stand in its strings (options of argparse, keys, f-strings)."""
        found: set[bytes] = set()
        for item in self.items:
            for token in item.tokens:
                if token[-1:] in b"\"'":
                    found.update(_WORD.findall(token.replace(b"-", b"_")))
                else:
                    found.add(token)
        return frozenset(word.decode("utf-8", "replace").lstrip("_") for word in found) | frozenset(
            word.decode("utf-8", "replace") for word in found
        )

    def offset(self, line: int, column: int) -> int:
        return self.line_starts[line - 1] + column

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Byte offsets of a node, decorators included."""
        line, column = start_of(node)
        end_line, end_column = getattr(node, "end_lineno", None), getattr(node, "end_col_offset", None)
        if end_line is None or end_column is None:
            last = node.body[-1] if isinstance(node, ast.match_case) else node
            return self.offset(line, column), self.span(last)[1]
        return self.offset(line, column), self.offset(end_line, end_column)

    def text(self, node: ast.AST) -> str:
        begin, end = self.span(node)
        return self.data[begin:end].decode("utf-8", "surrogatepass")

    def at_line(self, line: int) -> Item | None:
        """The outermost statement that starts at this line, or the one around it where none does."""
        around = None
        for item in self.items:
            first = start_of(item.node)[0]
            own = getattr(item.node, "lineno", first)
            if isinstance(item.node, ast.stmt) and line in (first, own):
                return item
            if isinstance(item.node, ast.stmt) and first <= line <= end_line_of(item.node):
                around = item
        if around is not None and not around.compound:
            return around
        return None


def start_of(node: ast.AST) -> tuple[int, int]:
    """Line and byte column where a node starts, its decorators included."""
    decorators = getattr(node, "decorator_list", None)
    if decorators:
        return decorators[0].lineno, max(0, node.col_offset)  # type: ignore[attr-defined]
    if isinstance(node, ast.match_case):
        return node.pattern.lineno, node.pattern.col_offset
    return node.lineno, node.col_offset  # type: ignore[attr-defined]


def end_line_of(node: ast.AST) -> int:
    if isinstance(node, ast.match_case):
        return end_line_of(node.body[-1])
    return node.end_lineno or node.lineno  # type: ignore[attr-defined, no-any-return]


def first_line(item: Item) -> str:
    """The first line of a statement, as it is written."""
    return item.unit.outline.text(item.node).split("\n", 1)[0].strip()


def parse_source(source: str) -> ast.Module:
    """The syntax tree; raises SyntaxError (also for text that Python rejects with ValueError or RecursionError)."""
    try:
        with collections_paused(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source.removeprefix("\ufeff"))
    except (ValueError, RecursionError, MemoryError) as exc:
        raise SyntaxError(str(exc)) from exc


@lru_cache(maxsize=64)
def read_outline(source: str, path: str = "") -> Outline:
    """Parse a file into an outline; raises SyntaxError."""
    tree = parse_source(source)
    data = source.removeprefix("\ufeff").encode("utf-8", "surrogatepass")
    outline = Outline(source.removeprefix("\ufeff"), path, data, tree, [], [])
    module = Unit(outline, "", None, None)
    outline.units.append(module)
    _Reader(outline).block(tree.body, None, "body", module, module.body, 0)
    return outline


class _Reader:
    """Walks the blocks of a tree and appends items to its outline."""

    def __init__(self, outline: Outline) -> None:
        self.outline = outline

    def block(
        self, nodes: Sequence[Statement], parent: Item | None, slot: str, unit: Unit, into: list[Item], depth: int
    ) -> None:
        for node in nodes:
            self._statement(node, parent, slot, unit, into, depth)

    def _statement(
        self, node: Statement, parent: Item | None, slot: str, unit: Unit, block: list[Item], depth: int
    ) -> None:
        outline = self.outline
        tokens = self._tokens(node)
        key = b" ".join(without_self(tokens))
        item = Item(len(outline.items), node, parent, slot, block, len(block), tokens, key, unit, depth)
        outline.items.append(item)
        unit.items.append(item)
        block.append(item)
        if isinstance(node, SCOPES):
            name = f"{unit.name}.{node.name}" if unit.name else node.name
            inner = Unit(outline, name, item, unit)
            outline.units.append(inner)
            self.block(node.body, item, "body", inner, inner.body, depth + 1)
        elif not isinstance(node, _LEAVES):
            for name, children in child_blocks(node):
                self.block(children, item, name, unit, [], depth + 1)
        item.end = len(outline.items)

    def _tokens(self, node: Statement) -> tuple[bytes, ...]:
        begin, end = self.outline.span(node)
        for _, children in child_blocks(node):
            end = min(end, self.outline.span(children[0])[0])
        return normal_tokens(self.outline.data[begin:end])


def child_blocks(node: ast.AST) -> Iterator[tuple[str, list[Statement]]]:
    """The non-empty statement lists of a compound statement, by field."""
    if isinstance(node, _LEAVES):
        return
    for slot in _SLOTS:
        children = getattr(node, slot, None)
        if isinstance(children, list) and children:
            yield slot, children


def without_self(tokens: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Tokens without `self.`: code that moves between functions and methods stays alike."""
    if b"self" not in tokens:
        return tokens
    found: list[bytes] = []
    for token in tokens:
        if token == b"." and found and found[-1] == b"self":
            found.pop()
        else:
            found.append(token)
    return tuple(found)


_CLOSERS = frozenset((b")", b"]", b"}"))


def normal_tokens(text: bytes) -> tuple[bytes, ...]:
    """Tokens of a piece of source without comments, line breaks, trailing commas and styles of quoting."""
    found: list[bytes] = []
    for token in _TOKEN.findall(text):
        first = token[:1]
        if first == b"#" or first == b"\\":
            continue
        if first == b"'" and b'"' not in token and not token.startswith(b"'''"):
            token = b'"' + token[1:-1] + b'"'
        elif token in _CLOSERS and found and found[-1] == b"," and len(found) > 2 and found[-2] != b"(":
            found.pop()
        found.append(token)
    if found and found[0] == b"elif":
        found[0] = b"if"
    return tuple(found)
