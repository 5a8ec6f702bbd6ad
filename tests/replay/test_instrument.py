"""Compiling patched sources: lines, guards around inserted statements, loops that can be left."""

from __future__ import annotations

import ast
import builtins
from contextlib import nullcontext

import pytest

from logql.errors import ReplayError
from logql.replay import instrument
from logql.replay.instrument import map_lines, new_names
from logql.state.injected import Injected

OWN = """\
total = 0
for epoch in loop("epoch", range(4)):
    total += epoch
    note(total)
print(total)
"""
PATCHED = """\
import math
total = 0
for epoch in loop("epoch", range(4)):
    total += epoch
    half = total / 2
    log("half", half)
    note(total)
print(total)
"""


def test_lines_map_both_ways() -> None:
    lines = map_lines(OWN, PATCHED)
    assert lines.inserted == {1, 5, 6}
    assert (lines.to_patched[2], lines.own(7), lines.own(6)) == (3, 4, 3)
    assert new_names(OWN, PATCHED) == {"math", "half"}
    assert new_names(OWN, OWN) == frozenset()


def test_inserted_statements_are_guarded_and_lines_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, tuple[str, ...], bool]] = []

    def guard(*arguments: object) -> object:
        seen.append(arguments)  # type: ignore[arg-type]
        return nullcontext()

    monkeypatch.setattr(builtins, instrument.GUARD, guard, raising=False)
    monkeypatch.setattr(builtins, instrument.JUMP, KeyError, raising=False)
    monkeypatch.setattr(builtins, "__logql_state__", Injected(), raising=False)
    code = instrument.instrument(PATCHED, "x.py", map_lines(OWN, PATCHED), {2: "x:2"}, {2}, {"half"})
    logged: list[object] = []

    def note(value: int) -> None:
        if value == 1:
            raise KeyError
        logged.append(value)

    space = {
        "loop": lambda _, items: items,
        "log": lambda *pair: logged.append(pair),
        "note": note,
        "print": logged.append,
    }
    exec(code, space)
    assert logged == [("half", 0.0), 0, ("half", 0.5), ("half", 1.5), 3, ("half", 3.0), 6, 6]
    assert [line for line, _, _ in seen] == [1, 5, 5, 5, 5]
    assert seen[1][1:] == (("half", "log", "total"), True)
    assert not seen[0][2]


def test_a_loop_that_is_not_found_is_refused() -> None:
    with pytest.raises(ReplayError, match="main loop of line 1"):
        instrument.instrument(PATCHED, "x.py", map_lines(OWN, PATCHED), {1: "x:1"}, set(), set())


def test_a_wrapped_expression_is_no_inserted_statement() -> None:
    patched = OWN.replace("total += epoch", 'total += log("n", epoch)')
    lines = map_lines(OWN, patched)
    assert lines.inserted == frozenset()
    assert lines.to_patched[3] == 3
    tree = ast.parse(patched)
    assert instrument.find_loop(tree, 2) is not None


def test_a_statement_beside_a_changed_line_is_guarded() -> None:
    patched = OWN.replace("    total += epoch\n", '    log("n", total)\n    total += other(epoch)\n')
    code = instrument.instrument(patched, "x.py", map_lines(OWN, patched), {}, set(), {"n"})
    assert instrument.GUARD in code.co_names
