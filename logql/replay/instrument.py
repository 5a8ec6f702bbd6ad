"""The patched source of a version as code: main loops that can be entered anew, inserted statements under guard.

All works on syntax trees whose nodes keep their lines, so tracebacks and `inspect` show what is on disk.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import CodeType

from logql.errors import ReplayError
from logql.state.inject import find_loop, inject_into

#: Builtins that instrumented code refers to.
GUARD = "__logql_inserted__"
JUMP = "__logql_jump__"
_IDENTIFIER = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True)
class LineMap:
    """Which line of the version's own source a line of the patched one was."""

    to_own: Mapping[int, int]
    inserted: frozenset[int] = frozenset()
    replaced: frozenset[int] = frozenset()
    to_patched: Mapping[int, int] = field(default_factory=dict)

    def own(self, line: int) -> int:
        """The version's own line, or the next one above where the line was inserted."""
        while line > 0 and line not in self.to_own:
            line -= 1
        return self.to_own.get(line, 1)


def map_lines(own: str, patched: str) -> LineMap:
    """Compare two texts line by line."""
    if own == patched:
        same = {line: line for line in range(1, patched.count("\n") + 2)}
        return LineMap(same, to_patched=same)
    matcher = difflib.SequenceMatcher(None, own.splitlines(), patched.splitlines(), autojunk=False)
    to_own: dict[int, int] = {}
    inserted: set[int] = set()
    replaced: set[int] = set()
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            to_own.update({j1 + offset + 1: i1 + offset + 1 for offset in range(i2 - i1)})
        elif tag == "insert":
            inserted.update(range(j1 + 1, j2 + 1))
        elif tag == "replace":
            replaced.update(range(j1 + 1, j2 + 1))
            to_own.update({j1 + offset + 1: i1 + offset + 1 for offset in range(min(i2 - i1, j2 - j1))})
    return LineMap(to_own, frozenset(inserted), frozenset(replaced), {own: line for line, own in to_own.items()})


def new_names(own: str, patched: str) -> frozenset[str]:
    """Variables that only the patched source binds."""
    if own == patched:
        return frozenset()
    return frozenset(_bound_names(patched) - set(_IDENTIFIER.findall(own)))


def _bound_names(source: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name.partition(".")[0])
    return found


def instrument(
    patched: str, filename: str, lines: LineMap, loops: Mapping[int, str], cut: Collection[int], names: Collection[str]
) -> CodeType:
    """Compile a source. Raises ReplayError where a main loop is not found in it.

    `loops` maps lines of main loops in the version's own source to their keys; bodies of those in `cut` can be left
    by an exception; `names` are those that inserted statements log.
    """
    tree = ast.parse(patched, filename)
    _GuardInserted(lines, frozenset(names)).visit(tree)
    headers = {_header(tree, lines, line, filename): key for line, key in loops.items()}
    let_jumps_pass(tree)
    _cut_bodies(tree, {_header(tree, lines, line, filename) for line in cut})
    if headers:
        inject_into(tree, headers)
    ast.fix_missing_locations(tree)
    return compile(tree, filename, "exec", dont_inherit=True)


def _header(tree: ast.AST, lines: LineMap, line: int, filename: str) -> int:
    """Line of a main loop in the patched source."""
    found = lines.to_patched.get(line)
    if found is None or find_loop(tree, found) is None:
        raise ReplayError(f"the main loop of line {line} is not found in the patched {filename}")
    return found


def _cut_bodies(tree: ast.AST, lines: set[int]) -> None:
    """Put `try: body except JUMP: pass` into loops, so that an iteration can end after its last wanted statement."""
    for line in lines:
        loop = find_loop(tree, line)
        if not isinstance(loop, ast.For):
            continue
        caught = ast.Name(JUMP, ast.Load())
        handler = ast.ExceptHandler(type=caught, name=None, body=[ast.Pass()])
        attempt = ast.Try(body=loop.body, handlers=[handler], orelse=[], finalbody=[])
        for node in (attempt, handler, caught, handler.body[0]):
            ast.copy_location(node, loop)
        loop.body = [attempt]


def let_jumps_pass(tree: ast.AST) -> None:
    """Put `except JUMP: raise` before handlers of everything, which are the program's and not meant for a jump."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and any(_catches_all(handler.type) for handler in node.handlers):
            jump, leave = ast.Name(JUMP, ast.Load()), ast.Raise()
            handler = ast.ExceptHandler(type=jump, name=None, body=[leave])
            for made in (jump, leave, handler):
                ast.copy_location(made, node)
            node.handlers.insert(0, handler)


def _catches_all(kind: ast.expr | None) -> bool:
    if isinstance(kind, ast.Tuple):
        return any(map(_catches_all, kind.elts))
    return kind is None or ast.unparse(kind).endswith("BaseException")


class _GuardInserted(ast.NodeTransformer):
    """Wraps each run of inserted statements into `with GUARD(key):`."""

    def __init__(self, lines: LineMap, names: frozenset[str]) -> None:
        self._lines = lines
        self._names = names

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for name in ("body", "orelse", "finalbody"):
            statements = getattr(node, name, None)
            if isinstance(statements, list) and statements:
                setattr(node, name, self._guard(statements))
        for child in ast.iter_child_nodes(node):
            if not getattr(child, "is_guard", False):
                self.visit(child)
        return node

    def _guard(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        block: list[ast.stmt] = []
        for statement in statements:
            if self._is_inserted(statement):
                block.append(statement)
                continue
            if block:
                found.append(_guarded(block))
                block = []
            found.append(statement)
        return [*found, _guarded(block)] if block else found

    def _is_inserted(self, statement: ast.stmt) -> bool:
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            return False
        span = set(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
        if span <= self._lines.inserted:
            return True
        return bool(span & self._lines.replaced) and self._logs_wanted(statement)

    def _logs_wanted(self, statement: ast.stmt) -> bool:
        """Whether it is a plain log call of a wanted name, which a version's own line cannot be."""
        if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call) or not statement.value.args:
            return False
        first = statement.value.args[0]
        return isinstance(first, ast.Constant) and first.value in self._names


def _guarded(block: list[ast.stmt]) -> ast.stmt:
    """`with GUARD(line):` around statements; names used in them tell what to protect."""
    used = sorted({node.id for stmt in block for node in ast.walk(stmt) if isinstance(node, ast.Name)})
    logs = any(isinstance(node, ast.Call) for stmt in block for node in ast.walk(stmt) if not _defines(stmt))
    arguments = [
        ast.Constant(block[0].lineno),
        ast.Tuple([ast.Constant(name) for name in used], ast.Load()),
        ast.Constant(logs),
    ]
    call = ast.Call(func=ast.Name(GUARD, ast.Load()), args=list(arguments), keywords=[])
    guard = ast.With(items=[ast.withitem(context_expr=call, optional_vars=None)], body=block)
    guard.is_guard = True  # type: ignore[attr-defined]
    ast.copy_location(guard, block[0])
    for node in (call, call.func, *arguments):
        ast.copy_location(node, block[0])
    return guard


def _defines(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom)
