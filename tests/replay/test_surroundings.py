"""What a main loop changes beside its variables is as it was: settings of the process, modules that it imports."""

from __future__ import annotations

import pytest

from logql.dbapi import connect
from tests.replay.conftest import Project, after, values

LAZY = """\
steps = 0


def step():
    global steps
    steps += 1
    return steps
"""

SETTINGS = """\
import decimal, os
import numpy as np
import logql

os.makedirs("sub", exist_ok=True)
for epoch in logql.loop("epoch", range(6)):
    if epoch == 1:
        os.environ["PHASE"] = "two"
        os.chdir("sub")
        decimal.getcontext().prec = 5
        np.seterr(divide="raise")
    if epoch == 4:
        del os.environ["PHASE"]
    if epoch >= 1:
        import lazy

        lazy.step()
    now = [os.environ.get("PHASE"), os.path.basename(os.getcwd()), str(decimal.Decimal(1) / 3), np.geterr()["divide"]]
    now = " ".join(map(str, [*now, lazy.steps if epoch else 0]))
    logql.log("truth", now)
"""

TORCH = """\
import torch
import logql

for epoch in logql.loop("epoch", range(4)):
    if epoch == 1:
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
    now = f"{torch.ones(1).dtype} {torch.is_grad_enabled()}"
    logql.log("truth", now)
"""


WORDS = """\
import logql

words = set()
for epoch in logql.loop("epoch", range(6)):
    words |= {f"n{epoch}_{number}" for number in range(5)}
    words.discard(f"n{epoch - 1}_2")
    now = " ".join(words)
    logql.log("truth", now)
"""


def _recorded(project: Project) -> dict[tuple[int, ...], object]:
    with connect(project.store, replay="off") as connection:
        rows = connection.execute("SELECT epoch_index, truth FROM epoch").fetchall()
    return {(index,): value for index, value in rows}


def test_words_are_iterated_in_their_order_where_hashes_are_fixed(project: Project) -> None:
    project.write("train.py", WORDS)
    project.commit()
    project.run(PYTHONHASHSEED="0")
    truth = _recorded(project)
    (result,) = project.replay(project.job(after("    now =", 'logql.log("copy", now)'), ["copy"], (3, 5)))
    assert (result.state, result.error, result.notes, result.fidelity) == ("done", None, (), "exact")
    assert values(result.events, "copy") == {(3,): truth[3,], (5,): truth[5,]}


@pytest.mark.parametrize(
    ("script", "wanted"),
    [(SETTINGS, (0, 2, 5)), pytest.param(TORCH, (0, 2), marks=[pytest.mark.torch, pytest.mark.slow])],
)
def test_settings_of_the_process_and_modules_loaded_in_the_loop(
    project: Project, script: str, wanted: tuple[int, ...]
) -> None:
    project.write("train.py", script)
    project.write("lazy.py", LAZY)
    project.commit()
    project.run()
    truth = _recorded(project)
    for indices in (wanted, wanted[-1:]):
        edit = after("    now = f" if script == TORCH else '    now = " "', 'logql.log("copy", now)')
        (result,) = project.replay(project.job(edit, ["copy"], indices))
        assert (result.state, result.error, result.notes, result.fidelity) == ("done", None, (), "exact")
        found = values(result.events, "copy")
        assert found == {place: truth[place] for place in found}
        assert {(index,) for index in indices} <= found.keys()
