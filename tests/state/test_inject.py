"""Restoring statements: where they stand, what they bind, and that nothing else changes."""

from __future__ import annotations

import ast
import textwrap
import traceback
from typing import Any

import pytest

from logql.state.inject import assigned_names, find_loop, inject
from logql.state.injected import NAME, Injected
from logql.state.restore import Bindings

MODULE = """
import contextlib

def main(n):
    kept, dropped = "kept", "dropped"
    count = 0
    def bump():
        nonlocal count
        count += 1
        return count
    with contextlib.nullcontext():
        try:
            for i, (a,) in loop(
                n,
            ):
                bump()
                seen.append((i, a, kept, count, "dropped" in locals()))
                if stop(i):
                    break
            else:
                seen.append("else")
        finally:
            seen.append("finally")
    return kept, count, i

class Trainer:
    def run(self):
        for x in loop(3): self.x = x
        return x

async def later():
    for x in loop(2):
        seen.append(x)
"""


def run(arm: Any, *, items: int) -> tuple[list[Any], Any, dict[str, Any]]:
    runtime = Injected()
    line = next(i for i, text in enumerate(MODULE.splitlines(), 1) if "loop(" in text) + 1
    tree = inject(ast.parse(MODULE), {line: "main"})
    seen: list[Any] = []

    def loop(n: int) -> Any:
        del n
        arm(runtime)
        for i in range(items):
            yield i, (i * 10,)

    names: dict[str, Any] = {"loop": loop, "seen": seen, "stop": {}.get, NAME: runtime}
    exec(compile(tree, "module.py", "exec"), names)
    return seen, names["main"](items) if items else None, names


def test_nothing_happens_unless_armed() -> None:
    plain, result, _ = run(id, items=2)
    assert plain == [(0, 0, "kept", 1, True), (1, 10, "kept", 2, True), "else", "finally"]
    assert result == ("kept", 2, 1)


def test_head_of_body_binds_everything_but_the_targets() -> None:
    bindings = Bindings({"kept": "saved", "count": 5, "i": 99, "a": 99}, ["dropped"])
    seen, result, _ = run(lambda runtime: runtime.arm("main", "body", bindings), items=2)
    assert seen[:2] == [(0, 0, "saved", 6, False), (1, 10, "saved", 7, False)]
    assert result == ("saved", 7, 1)


@pytest.mark.parametrize(
    ("exhausted", "tail"), [(True, ["else", "finally"]), (False, ["finally"]), (None, ["else", "finally"])]
)
def test_exit_binds_targets_too_and_skips_else_after_break(exhausted: bool | None, tail: list[str]) -> None:
    bindings = Bindings({"kept": "end", "count": 7, "i": 4, "a": 40}, [])
    runtime = Injected()
    line = next(i for i, text in enumerate(MODULE.splitlines(), 1) if "loop(" in text)
    names: dict[str, Any] = {"seen": [], "stop": None, NAME: runtime}

    def loop(n: int) -> Any:
        del n
        runtime.arm("k", "exit", bindings, exhausted=exhausted)
        yield from ()

    names["loop"] = loop
    exec(compile(inject(ast.parse(MODULE), {line: "k"}), "module.py", "exec"), names)
    assert names["main"](3) == ("end", 7, 4)
    assert names["seen"] == tail


def test_lines_of_tracebacks_stay() -> None:
    text = textwrap.dedent("""
        def main():
            x = 0
            for i in loop():
                x += 1
                raise ValueError
        main()
    """)
    names: dict[str, Any] = {"loop": lambda: [1], NAME: Injected()}
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        exec(compile(inject(ast.parse(text), {4: "k"}), "module.py", "exec"), names)
    assert [frame.lineno for frame in traceback.extract_tb(caught.value.__traceback__)][1:] == [7, 6]


def test_every_kind_of_function_and_place_compiles() -> None:
    tree = ast.parse(MODULE)
    lines = [node.iter.lineno for node in ast.walk(tree) if isinstance(node, ast.For)]
    assert {line for line in [*lines, 1] if find_loop(tree, line)} == set(lines)
    before = ast.dump(tree)
    changed = inject(tree, dict.fromkeys(lines, "k"))
    compile(changed, "module.py", "exec")
    assert ast.dump(tree) == before
    assert ast.unparse(changed).count(f"{NAME}.done()") == 2 * len(lines) + 1


def test_names_of_a_function() -> None:
    text = textwrap.dedent("""
        def f(a, /, b, *c, d=1, **e):
            global g
            nonlocal_ = [h for h in a if (walrus := h)]
            g = 1
            import x.y, z as zz
            with a as w: pass
            try: pass
            except OSError as error: pass
            match a:
                case {"k": m, **rest}: pass
                case [s, *star]: pass
            def inner(): hidden = 1
            class Inner: hidden = 2
            for t, (u, v[0]) in a: del b
            q: int = 3
            r += 1
            lambda p: p
    """)
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    expected = "a b d c e nonlocal_ walrus x zz w error m rest s star inner Inner t u q r"
    assert set(assigned_names(function)) == set(expected.split())
