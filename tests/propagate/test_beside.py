"""Lines that only feed a log statement and give names of the old code other values: they come along, or it is refused.

The oracle runs the code: a version that differs from the old one by logging alone logs what the patched old one must.
"""

from __future__ import annotations

import itertools
import random
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType

import pytest

from logql.propagate import place

HEAD = """
import logql
state = [1.0, 2.0]
train = [0.5, 1.5, 2.0]
test = [3.0, 4.0]
def fit(s):
    s[0], s[1] = s[0] * 0.9 + s[1] * 0.1, s[1] + 0.3
    return s[0]
def measure(s, data):
    return sum(abs(s[0] * d - s[1]) for d in data)
for epoch in logql.loop("epoch", range(3)):
"""
BODY = [
    "total = 0.0",
    "for x in train:\n    out = x * state[0]\n    loss = (out - state[1]) ** 2\n    total += loss",
    'logql.log("train", total)',
    "fit(state)",
    "err = measure(state, train)",
    'logql.log("err", err)',
    "best = min(err, total)",
    'logql.log("best", best + loss)',
]
#: What is added to log "q": one piece of text, or two of which the first may stand earlier.
GROUPS = [
    ("err = measure(state, test)\nlogql.log('q', err)",),
    ("total = 0.0\nfor x in test:\n    loss = x - state[1]\n    total += loss\nlogql.log('q', total / 2)",),
    ("for x in test:\n    out = x - state[1]\n    logql.log('q', out * 2)",),
    ("out = state[0]\nloss = out + 1\nlogql.log('q', loss)",),
    ("loss = state[0]\nloss = loss / 2\nlogql.log('q', loss + epoch)",),
    ("total = epoch * 2\nif epoch > 1:\n    total = 7\nlogql.log('q', total)",),
    ("if epoch != 1:\n    err = measure(state, test)\n    logql.log('q', err)",),
    ("with open(__file__):\n    err = measure(state, test)\n    logql.log('q', err)",),
    ("before = state[0]", "logql.log('q', state[0] - before)"),
    ("err = measure(state, test)", "logql.log('q', err)"),
    ("best = epoch + 5\nwidth = best * 2", "logql.log('q', width + best)"),
]
#: The same where the lines read what the old code has under the name that they bind.
GOING_ON = [
    ("err = err * 3\nlogql.log('q', err)",),
    ("total = total / 4\nlogql.log('q', total)",),
    ("loss = loss if epoch else 0\nlogql.log('q', loss)",),
    ("best = 0 if epoch == 0 else best\nbest += 1\nlogql.log('q', best)",),
]


def script(pieces: Iterable[str]) -> str:
    lines = [line for piece in pieces for line in piece.split("\n")]
    return HEAD.lstrip() + "".join(f"    {line}\n" for line in lines)


def renamed(source: str) -> str:
    """The script with other names for its variables; what it logs has the same names."""
    for name, other in (("total", "running"), ("err", "error"), ("loss", "value"), ("state", "w"), ("best", "top")):
        source = re.sub(rf"\b{name}\b(?!\")", other, source)
    return source


def in_main(source: str) -> str:
    """The script with its loop in a function."""
    head, at, loop = source.partition("for epoch in")
    return head + "def main():\n" + "".join(f"    {line}\n" for line in (at + loop).splitlines()) + "main()\n"


def logged(source: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[object]] | None:
    """What a script logs, by name; None where it fails."""
    found: dict[str, list[object]] = {}
    module = ModuleType("logql")
    vars(module).update(log=lambda name, value: found.setdefault(name, []).append(value), loop=lambda _, over: over)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "logql", module)
        try:
            exec(compile(source, __file__, "exec"), {"__file__": __file__})
        except (NameError, TypeError):
            return None
    return found


def versions(groups: Iterable[tuple[str, ...]], places: int = len(BODY) + 1) -> Iterator[list[str]]:
    """Bodies with a group added, at each place, or each two places."""
    for group in groups:
        for at in itertools.combinations(range(places), len(group)) if len(group) > 1 else zip(range(places)):
            body = list(BODY)
            for position, text in sorted(zip(at, group, strict=True), reverse=True):
                body.insert(position, text)
            yield body


def judge(
    body: list[str],
    monkeypatch: pytest.MonkeyPatch,
    changed: Callable[[str], str] = str,
    old: Callable[[str], str] = str,
) -> str:
    """`placed`, `refused`, or `other` where the new version differs by more than what it logs and how it is written."""
    new, before = changed(script(body)), old(script(BODY))
    wanted, known = logged(new, monkeypatch), logged(before, monkeypatch)
    assert known is not None
    if wanted is None or {name: wanted[name] for name in known} != known:
        return "other"
    line = next(number for number, text in enumerate(new.splitlines(), start=1) if "'q'" in text)
    result = place(new, line, before)
    if result.source is None:
        return "refused"
    got = logged(result.source, monkeypatch)
    expected = {**known, **({"q": wanted["q"]} if "q" in wanted else {})}
    assert got == expected, f"{new}\n{result.diff}"
    return "placed"


@pytest.mark.parametrize(("groups", "least"), [(GROUPS, 0.85), (GOING_ON, 0.3)], ids=["anew", "going on"])
def test_what_is_logged_is_what_the_new_version_logs(
    groups: list[tuple[str, ...]], least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [judge(body, monkeypatch) for body in versions(groups)]
    placed, refused = found.count("placed"), found.count("refused")
    assert placed + refused > 20
    assert placed >= least * (placed + refused)


@pytest.mark.parametrize(
    ("changed", "old"), [(str, str), (str, renamed), (in_main, renamed), (str, in_main)], ids=lambda one: one.__name__
)
def test_two_groups_that_were_added_do_not_disturb_each_other(
    changed: Callable[[str], str], old: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = random.Random(7)
    other = [group[0].replace("'q'", "'r'") for group in (*GROUPS, *GOING_ON) if len(group) == 1]
    found = []
    for body in chosen.sample(list(versions([*GROUPS, *GOING_ON])), 40):
        body.insert(chosen.randrange(len(body)), chosen.choice(other))
        found.append(judge(body, monkeypatch, changed, old))
    assert found.count("placed") > 5
