"""Several statements in one patched tree."""

from __future__ import annotations

import ast

from logql.propagate.compose import place_all
from logql.propagate.statements import find_statements

NEW = """import logql
def train(net):
    for step in logql.loop("step", range(3)):
        loss = net(step)
        logql.log("loss", loss)
        logql.log("double", loss * 2)
    logql.log("z", net.z)
def main():
    net = make()
    for epoch in logql.loop("epoch", range(3)):
        train(net)
        logql.log("w", net.w)
main()
"""
OLD = """import logql
net = make()
for epoch in logql.loop("epoch", range(3)):
    # steps
    for step in logql.loop("step", range(3)):
        loss = net(step)
        logql.log("loss", loss)  # here
"""
PATCHED = """import logql
net = make()
for epoch in logql.loop("epoch", range(3)):
    # steps
    for step in logql.loop("step", range(3)):
        loss = net(step)
        logql.log("loss", loss)  # here
        logql.log("double", loss * 2)
    logql.log("z", net.z)
    logql.log("w", net.w)
"""


def test_statements_of_several_functions_go_into_one_inlined_loop() -> None:
    """Regression 1: the script was split into functions since; every statement reaches its level."""
    wanted = [s for s in find_statements({"t.py": NEW}) if s.name != "loss"]
    files, placements = place_all({"t.py": NEW}, wanted, {"t.py": OLD})
    assert files == {"t.py": PATCHED}
    by_name = {statement.name: placement for statement, placement in placements.items()}
    assert by_name["double"].levels == (("epoch", "step"),)
    assert by_name["z"].levels == by_name["w"].levels == (("epoch",),)
    lines = PATCHED.splitlines()
    for statement, placement in placements.items():
        assert placement.line is not None
        assert f'"{statement.name}"' in lines[placement.line - 1]


def test_one_that_cannot_be_placed_leaves_the_others() -> None:
    """Regression 3: a statement that is impossible in one version aborts nothing."""
    new = NEW.replace("net.w)", "scheduler.w)").replace("    net = make()", "    net, scheduler = make(), sched()")
    wanted = [s for s in find_statements({"t.py": new}) if s.name in ("double", "w")]
    files, placements = place_all({"t.py": new}, wanted, {"t.py": OLD})
    by_name = {statement.name: placement for statement, placement in placements.items()}
    assert by_name["w"].source is None
    assert by_name["w"].reason is not None
    assert by_name["w"].reason.startswith("`scheduler` is not defined at this place")
    assert files is not None
    assert '"double"' in files["t.py"]
    assert '"w"' not in files["t.py"]


def test_of_one_name_all_or_none() -> None:
    new = NEW.replace('logql.log("z", net.z)', 'logql.log("w", gone.z)').replace(
        "def train(net):", "def train(net):\n    gone = find()\n    print(gone)"
    )
    wanted = [s for s in find_statements({"t.py": new}) if s.name == "w"]
    assert len(wanted) == 2
    files, placements = place_all({"t.py": new}, wanted, {"t.py": OLD})
    assert files is None
    assert all(placement.reason for placement in placements.values())


def test_two_statements_of_one_guard_share_it() -> None:
    new = """import logql
for epoch in logql.loop("epoch", range(3)):
    loss = train(epoch)
    if epoch % 2:
        logql.log("a", loss + 1)
        logql.log("b", loss + 2)
"""
    old = "import logql\nfor epoch in logql.loop('epoch', range(3)):\n    loss = train(epoch)\n"
    files, _ = place_all({"t.py": new}, find_statements({"t.py": new}), {"t.py": old})
    assert files is not None
    assert ast.dump(ast.parse(files["t.py"])) == ast.dump(ast.parse(new))
