"""Code that became methods of a class, or that stopped being so, and what two versions log under one name."""

from __future__ import annotations

import textwrap

import pytest

from logql.propagate import place

FLAT = """
import logql

model = build()
optimizer = make(model)
for epoch in logql.loop("epoch", range(3)):
    for x, y in logql.loop("step", data):
        loss = model(x, y)
        loss.backward()
        optimizer.step()
        logql.log("loss", loss)
    acc = test(model, data)
    logql.log("acc", acc)
"""

FUNCTIONS = """
import logql


def train(model, optimizer, loader):
    for x, y in logql.loop("step", loader):
        loss = model(x, y)
        loss.backward()
        optimizer.step()
        logql.log("loss", loss)


def main(args):
    model = build()
    optimizer = make(model)
    for epoch in logql.loop("epoch", range(args.epochs)):
        train(model, optimizer, data)
        acc = test(model, data)
        optimizer.decay(acc)
        logql.log("acc", acc)
"""

METHODS = """
import logql


class Trainer:
    def __init__(self, config):
        self.config = config
        self.model = build()
        self.optimizer = make(self.model)

    def train(self):
        for x, y in logql.loop("step", self.loader):
            loss = self.model(x, y)
            loss.backward()
            self.optimizer.step()
            logql.log("loss", loss)

    def fit(self):
        for epoch in logql.loop("epoch", range(self.config.epochs)):
            self.train()
            score = self.test()
            logql.log("acc", score)
"""

ITERATION = """
import logql

model = build()
epoch = 0
while epoch < 3:
    with logql.iteration("epoch", epoch):
        value = test(model, data)
        logql.log("acc", value)
    epoch += 1
"""


def put(new: str, statement: str, before: str, old: str) -> tuple[list[str], str]:
    """What is added to `old` for a statement put before the line `before` of `new`, and the old line behind it."""
    lines = new.splitlines()
    at = next(number for number, line in enumerate(lines) if line.strip().startswith(before))
    indent = " " * (len(lines[at]) - len(lines[at].lstrip()))
    lines.insert(at, indent + statement)
    result = place("\n".join(lines) + "\n", at + 1, old)
    assert result.source is not None, result.reason
    diff = result.diff.splitlines()
    added = [line[1:].strip() for line in diff if line.startswith("+") and not line.startswith("+++")]
    last = max(number for number, line in enumerate(diff) if line.startswith("+"))
    return added, diff[last + 1].strip()


@pytest.mark.parametrize("old", [FLAT, FUNCTIONS])
def test_what_methods_have_of_self_was_a_variable(old: str) -> None:
    statement = 'logql.log("norm", norm_of(self.model.parameters()).sum())'
    wanted = statement.replace("self.", "").replace("norm_of", "abs")
    assert put(METHODS, statement.replace("norm_of", "abs"), "self.optimizer.step()", old) == (
        [wanted],
        "optimizer.step()",
    )


@pytest.mark.parametrize("old", [FLAT, FUNCTIONS])
def test_what_is_logged_under_one_name_is_one_thing(old: str) -> None:
    added, behind = put(METHODS, 'logql.log("error", 1 - score)', 'logql.log("acc"', old)
    assert added == ['logql.log("error", 1 - acc)']
    assert behind in ('logql.log("acc", acc)', "optimizer.decay(acc)")


def test_a_variable_of_functions_became_an_attribute() -> None:
    statement = 'logql.log("norm", abs(model.weight).sum())'
    wanted = 'logql.log("norm", abs(self.model.weight).sum())'
    assert put(FUNCTIONS, statement, "optimizer.step()", METHODS) == ([wanted], "self.optimizer.step()")


def test_self_is_never_the_argument_of_a_function() -> None:
    lines = METHODS.splitlines()
    at = next(number for number, line in enumerate(lines) if "loss.backward" in line)
    lines.insert(at, '            logql.log("rank", self.rank)')
    result = place("\n".join(lines), at + 1, FUNCTIONS)
    assert result.source is None
    assert result.reason is not None
    assert "`self` is not defined" in result.reason


def test_a_loop_that_was_an_iteration() -> None:
    added, behind = put(METHODS, 'logql.log("error", 1 - score)', 'logql.log("acc"', ITERATION)
    assert added == ['logql.log("error", 1 - value)']
    assert behind == 'logql.log("acc", value)'


def test_several_new_statements_side_by_side() -> None:
    """What is logged beside a statement does not part it from the code that both versions have."""
    new = FUNCTIONS.replace("        optimizer.step()\n", '        logql.log("a", x)\n        optimizer.step()\n')
    added, behind = put(new, 'logql.log("b", y)', "optimizer.step()", textwrap.dedent(FLAT))
    assert added == ['logql.log("b", y)']
    assert behind == "optimizer.step()"
