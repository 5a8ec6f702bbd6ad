"""Inserted statements that change the state are told from those that do not, and what nobody can tell is said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from logql.replay.untouched import Untouched
from logql.state.roots import collect
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


NETWORK = """\
import torch
import logql

torch.manual_seed(0)
net = torch.nn.Linear(4, 2)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
x, y = torch.randn(16, 4), torch.randint(0, 2, (16,))
for epoch in logql.loop("epoch", range(3)):
    with torch.inference_mode():
        held = net(x)
    out = net(x)
    loss = torch.nn.functional.cross_entropy(out, y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    logql.log("loss", loss + held.sum())
"""


@pytest.mark.slow
def test_a_tensor_that_can_still_be_run_backward_is_compared(project: Project) -> None:
    pytest.importorskip("torch")
    _make(project, NETWORK)
    line = "logql.log('acc', (out.argmax(1) == y).float().mean() + held.max() + loss)"
    (result,) = project.replay(project.job(after("    loss = ", line), ["acc"], (1,)))
    assert (result.fidelity, result.notes, result.error) == ("exact", (), None)


#: What a statement does to `out`, which has a graph, and `held`, made in inference mode; and what changes by it.
CHANGES = {
    "out.argmax() + held.max() + torch.autograd.grad(out.sum(), net.bias, retain_graph=True)[0]": None,
    "out.data.mul_(2)": "out.storage",
    "out.detach().neg_().neg_()": "out",
    "out.mul_(1)": "out",
    "out.retain_grad()": "out",
    "out.register_hook(lambda g: 2 * g)": "out",
    "held.data.zero_()": "held.storage",
    "net.weight.grad.zero_()": "net._parameters.weight.grad.storage",
    "net.requires_grad_(False)": "net._parameters.bias",
}


@pytest.mark.parametrize("statement", CHANGES)
def test_what_changes_a_tensor_or_its_graph_is_seen(statement: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 2)
    net(torch.randn(3, 4)).sum().backward()
    out = net(torch.randn(3, 4))
    with torch.inference_mode():
        held = net(torch.randn(3, 4))
    unproved: list[str] = []
    here = sys._getframe()
    changed = Untouched(unproved.append).begin([lambda: collect(here, str(tmp_path), {})], ("out", "held", "net"))
    assert changed is not None
    exec(statement, {"torch": torch, "out": out, "held": held, "net": net})
    assert (changed(), unproved) == (CHANGES[statement], [])
    del net, out, held
