"""Inserted statements that change the state are told from those that do not, and what nobody can tell is said."""

from __future__ import annotations

import pytest

from tests.replay.conftest import Project, after, values

SCRIPT = """\
import random
import helper
import logql

random.seed(0)
numbers = (i for i in range(10**9))
seen = []
total = 0.0
for epoch in logql.loop("epoch", range(6)):
    total += random.random() + len(seen) + 0 * next(numbers)
    logql.log("total", total)
    helper.note(total)
"""


def _make(project: Project, script: str = SCRIPT, helper: str = "def note(value):\n    pass\n") -> None:
    project.write("helper.py", helper)
    project.write("train.py", script)
    project.commit()
    project.run()


#: What is inserted, the fidelity of what it logs, and what is told of it.
STATEMENTS = {
    "pure": (("logql.log('y', sum(seen))",), "exact", ""),
    "changes a list": (("seen.append(1); logql.log('y', seen.pop() + len(seen)); seen.append(2)",), "impure", "seen"),
    "only later": (("if epoch > 2:", "    seen.append(0); logql.log('y', len(seen))"), "impure", "seen"),
    "uses what cannot be looked at": (("logql.log('y', next(numbers))",), "unchecked", "numbers"),
}


@pytest.mark.parametrize("case", [*list(STATEMENTS)[1:], pytest.param("pure", marks=pytest.mark.slow)])
def test_a_state_that_cannot_be_saved_is_checked_as_far_as_it_can_be(project: Project, case: str) -> None:
    _make(project)
    lines, fidelity, told = STATEMENTS[case]
    (result,) = project.replay(project.job(after("    total +=", *lines), ["y"], (3, 4)))
    assert (result.error, result.fidelity) == (None, fidelity)
    assert told in "".join(result.notes)
    assert bool(result.notes) is bool(told)


@pytest.mark.parametrize(("where", "handler"), [("train.py", "except:"), ("helper.py", "except BaseException:")])
def test_what_catches_everything_does_not_catch_the_end_of_an_iteration(
    project: Project, where: str, handler: str
) -> None:
    mine, theirs = (handler, "except ValueError:") if where == "train.py" else ("except ValueError:", handler)
    body = f"    def inner():\n        print(epoch)\n    try:\n        helper.note(inner)\n    {mine}\n        break\n"
    script = SCRIPT.replace(" + 0 * next(numbers)", "").replace("    helper.note(total)\n", body)
    helper = f"import os\ndef note(log):\n    try:\n        log()\n    {theirs}\n        os._exit(3)\n"
    _make(project, script, helper)
    (result,) = project.replay(project.job(after("def inner", "    logql.log('y', total)"), ["y"], (2, 4), once=True))
    assert result.error is None
    assert set(values(result.events, "y")) == {(2,), (4,)}
