"""Which places stand ahead of the work of an iteration: what replaying them costs."""

from __future__ import annotations

import pytest

from logql.propagate import place

SCRIPT = """\
import logql
from lib import net, data, val


def train(net, data):
    for batch in logql.loop("step", data):
        net.fit(batch)


def fit(net):
    train(net, data)


def scale(net):
    return sum(w for w in net) + max(abs(w) for w in net)


def shuffle(data):
    for i in range(len(data)):
        data[i], data[-i] = data[-i], data[i]


for epoch in logql.loop("epoch", range(9)):
    lr = 0.1 / (1 + epoch)
{body}
    logql.log("val", val(net))
"""
NEW = "    logql.log('new', lr)\n"
INNER = "    for batch in logql.loop('step', data):\n        net.fit(batch)\n"


@pytest.mark.parametrize(
    ("ahead", "behind", "expected"),
    [
        ("", INNER, True),
        ("    norm = scale(net)\n    data.reset()\n", INNER, True),
        ("", "    fit(net)\n", True),
        ("", "    with net.training():\n        train(net, data)\n", True),
        (INNER, "", False),
        ("    fit(net)\n", "", False),
        ("    shuffle(data)\n", INNER, False),
        ("    while data.more():\n        data.next()\n", INNER, False),
        ("", "    net.fit(data)\n", False),
        ("", "    shuffle(data)\n", False),
    ],
)
def test_a_place_leads_where_the_named_loops_come_behind_it(ahead: str, behind: str, expected: bool) -> None:
    new = SCRIPT.replace("{body}\n", ahead + NEW + behind)
    old = SCRIPT.replace("{body}\n", ahead + behind)
    placement = place(new, new[: new.index(NEW)].count("\n") + 1, old)
    assert (placement.source, placement.once, placement.leads) == (new, True, expected)


@pytest.mark.parametrize("anchor", ["    for batch in logql.loop('step', data):\n", "from lib import net, data, val\n"])
def test_a_place_in_the_inner_loop_or_outside_of_all_leads_nothing(anchor: str) -> None:
    old = SCRIPT.replace("{body}\n", INNER)
    statement = "logql.log('new', net)\n"
    new = old.replace(anchor, anchor + ("        " if anchor.startswith(" ") else "") + statement)
    placement = place(new, new[: new.index(statement)].count("\n") + 1, old)
    assert (placement.source, placement.leads) == (new, False)
