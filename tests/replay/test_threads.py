"""Thread counts: as recorded a replay is exact; a count that the user forces gives other bits, within tolerance."""

from __future__ import annotations

import pytest

from logql.replay.job import Options
from tests.replay.conftest import Project, after, values

SCRIPT = """\
import torch

import logql

torch.manual_seed(0)
x = torch.randn(20_000, 24)
y = x.square().sum(1, keepdim=True)
net = torch.nn.Sequential(torch.nn.Linear(24, 48), torch.nn.LayerNorm(48), torch.nn.Tanh(), torch.nn.Linear(48, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
for epoch in logql.loop("epoch", range(4)):
    for step in logql.loop("step", range(3)):
        loss = (net(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        logql.log("loss", loss)
    norm = sum(p.square().sum() for p in net.parameters())
    logql.log("norm", norm)
print(torch.get_num_threads())
"""
EDIT = after("loss.backward()", 'logql.log("grad", net[0].weight.grad.square().sum())')


@pytest.mark.torch
@pytest.mark.parametrize("recorded", [1, 2])
def test_as_recorded_is_exact_and_forced_is_close(project: Project, recorded: int) -> None:
    pytest.importorskip("torch")
    project.write("train.py", SCRIPT)
    printed = project.run(OMP_NUM_THREADS=str(recorded))
    if printed.split()[-1:] != [str(recorded)]:
        pytest.skip(f"PyTorch does not take {recorded} threads here")
    job = project.job(EDIT, ["grad"], (1, 2))
    (same,) = project.replay(job)
    assert (same.state, same.error, same.fidelity) == ("done", None, "exact"), same.notes
    other = project.job(EDIT, ["grad"], (1, 2))
    (forced,) = project.replay(other, options=Options(threads=3 - recorded))
    assert (forced.state, forced.fidelity) == ("done", "close")
    for key, value in values(same.events, "grad").items():
        assert values(forced.events, "grad")[key] == pytest.approx(value, rel=1e-3)
