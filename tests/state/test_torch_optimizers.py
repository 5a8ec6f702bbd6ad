"""State of optimizers, schedulers, samplers and precision modes: exact in a fresh process, or refused."""

# ruff: noqa: E501  (scripts as text)

from __future__ import annotations

from pathlib import Path

import pytest

from tests.state.cases import assert_exact, record

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

HEAD = """
import torch, rig
from torch import nn
from torch.optim import lr_scheduler as lrs
from torch.utils.data import DataLoader, RandomSampler, TensorDataset
torch.set_num_threads(1)
torch.manual_seed(0)
"""


def test_optimizers_and_schedulers(tmp_path: Path) -> None:
    script = (
        HEAD
        + """
def sequential(opt):
    return lrs.SequentialLR(opt, [lrs.ConstantLR(opt, 0.1, 2), lrs.ExponentialLR(opt, 0.8)], [2])

pairs = {
    "sgd": (lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True), lambda o: lrs.OneCycleLR(o, 0.2, total_steps=9)),
    "adamw": (lambda p: torch.optim.AdamW(p, 0.1, amsgrad=True), lambda o: lrs.CosineAnnealingWarmRestarts(o, 2)),
    "rms": (lambda p: torch.optim.RMSprop(p, 0.01, centered=True), lambda o: lrs.ReduceLROnPlateau(o, patience=0)),
    "adagrad": (lambda p: torch.optim.Adagrad(p, 0.1), sequential),
    "lbfgs": (lambda p: torch.optim.LBFGS(p, 0.5, max_iter=3), lambda o: lrs.CosineAnnealingLR(o, 5)),
}

def main():
    x, y = torch.randn(32, 4), torch.randn(32, 1)
    g = torch.Generator().manual_seed(7)
    data = TensorDataset(x, y)
    loader = DataLoader(data, 8, sampler=RandomSampler(data, generator=g), generator=torch.Generator().manual_seed(1))
    nets = {name: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)) for name in pairs}
    opts = {name: make(nets[name].parameters()) for name, (make, _) in pairs.items()}
    scheds = {name: make(opts[name]) for name, (_, make) in pairs.items()}
    for epoch in rig.loop("epoch", range(4)):
        for a, b in loader:
            for name, net in nets.items():
                def closure():
                    opts[name].zero_grad()
                    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=name == "adamw"):
                        loss = (net(a) - b).pow(2).mean()
                    loss.backward()
                    return loss
                loss = opts[name].step(closure)
                rig.log(name, loss.item())
        for name, sched in scheds.items():
            sched.step(*([loss.item()] if name == "rms" else []))
            rig.log("lr", opts[name].param_groups[0]["lr"])
        rig.log("drawn", torch.rand(1, generator=g).item())
main()
"""
    )
    assert_exact(record(tmp_path, script), "0:2")


def test_workers_that_are_started_anew_for_each_epoch(tmp_path: Path) -> None:
    script = (
        HEAD
        + """
class Noisy(torch.utils.data.Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, i):
        return torch.rand(2) + i

def main():
    loader = DataLoader(Noisy(), batch_size=2, shuffle=True, num_workers=2)
    w = torch.zeros(2)
    for epoch in rig.loop("epoch", range(3)):
        for x in loader:
            w += x.sum(0) * torch.rand(1)
        rig.log("w", w.tolist())
main()
"""
    )
    assert_exact(record(tmp_path, script), "0:1")


@pytest.mark.slow
def test_a_compiled_model(tmp_path: Path) -> None:
    script = (
        HEAD
        + """
def main():
    net = nn.Linear(3, 1)
    fast = torch.compile(net, backend="eager")
    opt = torch.optim.Adam(net.parameters(), 0.1)
    for epoch in rig.loop("epoch", range(3)):
        loss = fast(torch.randn(5, 3)).pow(2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        rig.log("loss", loss.item())
main()
"""
    )
    assert_exact(record(tmp_path, script), "0:1", "0:2")
