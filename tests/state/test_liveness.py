"""What code still reads of its variables where it looks at them by other means than their names."""

from __future__ import annotations

import dis
import textwrap

import pytest

from logql.state.liveness import uses_after


def read_at_the_loop(script: str) -> set[str]:
    """Variables that the body of the first loop, or what comes after it, may still read as they are."""
    code = compile(textwrap.dedent(script), "script", "exec")
    code = next((constant for constant in code.co_consts if hasattr(constant, "co_code")), code)
    offset = next(one.offset for one in dis.get_instructions(code) if one.opname == "FOR_ITER")
    return {*uses_after(code, offset, True, True)}


@pytest.mark.parametrize(
    ("before", "body", "read"),
    [
        ("save(vars(opt))", "bar = enumerate(xs)", False),
        ("save(dir(opt))", "bar = enumerate(xs); show(vars(bar))", False),
        ("exec(text)", "bar = enumerate(xs)", False),
        ("known = [k for k in locals()]", "bar = enumerate(xs)", False),
        ("", "bar = enumerate(xs); show(locals())", False),
        ("", "show(locals()); bar = enumerate(xs)", True),
        ("", "show(vars()); bar = enumerate(xs)", True),
        ("", "show(eval(text)); bar = enumerate(xs)", True),
        ("look = vars", "show(look()); bar = enumerate(xs)", True),
        ("", "bar = enumerate(xs)\n    if xs: show(dir())", False),
        ("", "if xs: bar = enumerate(xs)\n    show(dir())", True),
    ],
)
def test_what_looks_around_reads_everything_where_it_is_called(before: str, body: str, read: bool) -> None:
    script = f"def train(opt, xs, text, bar):\n  {before or 'pass'}\n  for epoch in xs:\n    {body}\n"
    assert ("bar" in read_at_the_loop(script)) is read


def test_functions_of_a_module_that_look_at_its_variables() -> None:
    script = "bar = 0\nshow = lambda: {how}\nfor epoch in range(3):\n    bar = iter(())\n    show()\n"
    names = [
        "bar" in {*uses_after(code, next(i.offset for i in dis.get_instructions(code) if i.opname == "FOR_ITER"), True)}
        for how in ("globals()['b' + 'ar']", "locals()", "vars(1)")
        for code in [compile(script.format(how=how), "script", "exec")]
    ]
    assert names == [True, False, False]
