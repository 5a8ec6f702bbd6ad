"""Refactorings with a known answer: a statement taken out of a real file must come back from the refactored one.

And the reverse: taken out of the refactored file (so that functions are put back in line, wrappers taken off and names
changed back), it must come back from the original.
"""

from __future__ import annotations

import ast
import copy
import importlib.util
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.propagate.oracle import equivalent
from logql.model import Placement
from logql.propagate import place, place_files
from tests.propagate.refactorings import REFACTORINGS, Function, Refactoring, blocks, extract_function, functions

MODULES = ("textwrap", "shlex", "fnmatch", "csv", "calendar", "heapq", "sched", "string", "bisect", "netrc")
SIMPLE = (ast.Assign, ast.AugAssign, ast.Expr, ast.Return)
_MARK = "HERE_IT_IS"
#: Share of the cases that may be refused; a function that is taken apart leaves less to go by.
_REFUSED = {extract_function: 0.5}


def read_module(name: str) -> str:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")


def take_out(source: str, statement: ast.stmt) -> str | None:
    """The source without a statement that has whole lines of its own; None where it shares them."""
    lines = source.splitlines(keepends=True)
    first, last = statement.lineno - 1, statement.end_lineno or 0
    if lines[first][: statement.col_offset].strip() or lines[last - 1].encode()[statement.end_col_offset :].strip():
        return None
    return "".join(lines[:first] + lines[last:])


@dataclass
class Case:
    """A source, the same refactored, and the line of one statement in each."""

    original: str
    line: int
    refactored: str
    new_line: int


def draw_case(source: str, refactor: Refactoring, draw: random.Random) -> Case | None:
    """Refactor a function of a source around one of its statements; None where the draw gives none."""
    tree = ast.parse(source)
    function = draw.choice(list(functions(tree)))
    statement = draw.choice(draw.choice([block for block in blocks(function) if len(block) > 2] or [function.body]))
    if not isinstance(statement, SIMPLE) or (ast.get_docstring(function) and statement is function.body[0]):
        return None
    dumps = [ast.dump(node) for node in ast.walk(function) if isinstance(node, ast.stmt)]
    if dumps.count(ast.dump(statement)) > 1:
        return None
    statement.marked = True  # type: ignore[attr-defined]
    new = copy.deepcopy(tree)
    target = next(n for n in ast.walk(new) if isinstance(n, Function) and n.lineno == function.lineno)
    if not refactor(new, target, draw):
        return None
    text, line = marked_text(new)
    return Case(source, statement.lineno, text, line)


def marked_text(tree: ast.Module) -> tuple[str, int]:
    """The text of a tree, and the line of the marked statement in it."""
    for node in ast.walk(tree):
        for slot in ("body", "orelse", "finalbody"):
            block = getattr(node, slot, None)
            at = (
                next((n for n, child in enumerate(block) if getattr(child, "marked", False)), None)
                if _is(block)
                else None
            )
            if at is not None:
                block.insert(at, ast.Expr(ast.Name(_MARK, ast.Load())))
                lines = ast.unparse(ast.fix_missing_locations(tree)).splitlines(keepends=True)
                line = next(n for n, text in enumerate(lines) if text.strip() == _MARK)
                return "".join(lines[:line] + lines[line + 1 :]), line + 1
    raise AssertionError("the marked statement is gone")


def _is(block: object) -> bool:
    return isinstance(block, list) and bool(block)


def statement_at(source: str, line: int) -> ast.stmt:
    return next(n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.stmt) and n.lineno == line)


@dataclass
class Tally:
    placed: int
    refused: list[str]
    wrong: list[str]

    def add(self, result: Placement, old: str, expected: str) -> None:
        """Judge one placement; whatever it did, it only added lines."""
        if result.source is None:
            assert result.reason
            self.refused.append(result.reason)
            return
        lines = iter(result.source.splitlines())
        assert all(line in lines for line in old.splitlines()), result.diff
        if equivalent(result.source, expected):
            self.placed += 1
        else:
            self.wrong.append(result.diff)


def cases(refactor: Refactoring, draws: int) -> Iterator[Case]:
    draw = random.Random(7)
    for name in MODULES:
        source = read_module(name)
        found = (draw_case(source, refactor, draw) for _ in range(draws))
        yield from (case for case in found if case is not None)


def check(tally: Tally, refactor: Refactoring | None = None, least: int = 3) -> None:
    """None may come back anywhere else, and few may be refused."""
    assert not tally.wrong, tally.wrong[0]
    assert tally.placed >= least
    allowed = max(2.0, tally.placed * (_REFUSED.get(refactor, 0.05) if refactor is not None else 0.05))
    assert len(tally.refused) <= allowed, tally.refused


@pytest.mark.parametrize("draws", [3, pytest.param(30, marks=pytest.mark.slow)])
@pytest.mark.parametrize("refactor", REFACTORINGS, ids=lambda one: one.__name__)
def test_a_statement_comes_back_through_a_refactoring(refactor: Refactoring, draws: int) -> None:
    tally = Tally(0, [], [])
    for case in cases(refactor, draws):
        old = take_out(case.original, statement_at(case.original, case.line))
        if old is not None:
            tally.add(place(case.refactored, case.new_line, old), old, case.original)
    check(tally, refactor)


@pytest.mark.parametrize("draws", [3, pytest.param(30, marks=pytest.mark.slow)])
@pytest.mark.parametrize("refactor", REFACTORINGS[1:], ids=lambda one: one.__name__)
def test_a_statement_goes_back_to_before_a_refactoring(refactor: Refactoring, draws: int) -> None:
    """The refactored file is the old one: functions are inlined again, wrappers are gone, names change back."""
    tally = Tally(0, [], [])
    for case in cases(refactor, draws):
        old = take_out(case.refactored, statement_at(case.refactored, case.new_line))
        if old is not None and _parses(old):
            tally.add(place(case.original, case.line, old), old, case.refactored)
    check(tally, refactor)


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def only_formatted(draws: int) -> Iterator[tuple[Case, str]]:
    """Cases of which only the layout differs, with the original less its statement."""
    for case in cases(REFACTORINGS[0], draws):
        old = take_out(case.original, statement_at(case.original, case.line))
        if old is not None:
            yield case, old


def test_indentation_of_either_side_does_not_matter() -> None:
    tally = Tally(0, [], [])
    for case, old in only_formatted(2):
        tabs = re.sub(r"^(?: {4})+", lambda match: "\t" * (len(match.group()) // 4), case.refactored, flags=re.M)
        tally.add(place(tabs, case.new_line, old), old, case.original)
        crlf = case.refactored.replace("\n", "\r\n")
        tally.add(place(crlf, case.new_line, old), old, case.original)
    check(tally)


def test_a_function_that_moved_to_another_module_and_back() -> None:
    tally = Tally(0, [], [])
    for case, old in only_formatted(3):
        split = split_module(case.refactored, case.new_line)
        if split is None:
            continue
        rest, moved, line = split
        new = {"main.py": rest, "moved.py": moved}
        tally.add(place_files(new, "moved.py", line, {"main.py": old}), old, case.original)
        gone = take_out(moved, statement_at(moved, line))
        if gone is not None and _parses(gone):
            result = place_files({"main.py": case.original}, "main.py", case.line, {"main.py": rest, "moved.py": gone})
            tally.add(result, gone, moved)
    check(tally)


def bound_in(tree: ast.Module) -> Iterator[str]:
    """Names that a module's own statements bind, but for what it imports from everywhere."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        for inside in ast.walk(node) if not isinstance(node, ast.FunctionDef | ast.ClassDef) else ():
            if isinstance(inside, ast.alias) and inside.name != "*":
                yield (inside.asname or inside.name).split(".")[0]
            elif isinstance(inside, ast.Name) and isinstance(inside.ctx, ast.Store):
                yield inside.id


def split_module(source: str, line: int) -> tuple[str, str, int] | None:
    """The module without the function (or class) around a line, that one in a module of its own, and the new line."""
    tree = ast.parse(source)
    part = next((n for n in tree.body if n.lineno <= line <= (n.end_lineno or 0)), None)
    if not isinstance(part, ast.FunctionDef | ast.ClassDef) or part.decorator_list:
        return None
    lines = source.splitlines(keepends=True)
    first, last = part.lineno - 1, part.end_lineno or 0
    rest = [*lines[:first], f"from moved import {part.name}\n", *lines[last:]]
    names = sorted(set(bound_in(tree)) - {part.name})
    moved = [f"from main import {', '.join(names)}\n" if names else "", *lines[first:last]]
    return "".join(rest), "".join(moved), line - first + 1
