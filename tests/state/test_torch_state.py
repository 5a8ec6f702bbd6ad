"""State of PyTorch programs: exact after a restore in a fresh process, or refused with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from logql.state.errors import GraphNotSaved
from logql.state.roots import random_roots
from tests.state.cases import assert_exact, assert_refused, record

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

HEAD = """
import random
import numpy as np, torch, rig
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
torch.set_num_threads(1)
torch.manual_seed(0)
"""


def test_a_whole_training(tmp_path: Path) -> None:
    script = (
        HEAD
        + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.bn, self.drop, self.b = nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 2)
    def forward(self, x):
        return self.b(self.drop(torch.relu(self.bn(self.a(x)))))

def fit(net, loader, x_val, y_val):
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    steps = torch.optim.lr_scheduler.StepLR(opt, 2, 0.5)
    ema = {k: v.detach().clone() for k, v in net.state_dict().items()}
    rng = np.random.default_rng(3)
    norms = 0.0
    for epoch in rig.loop("epoch", range(4)):
        net.train()
        if epoch:
            norms += sum(float(p.grad.norm()) for p in net.parameters())
        for x, y in loader:
            x = x + torch.from_numpy(rng.normal(size=x.shape)).float()
            loss = F.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            for k, v in net.state_dict().items():
                ema[k] = ema[k] * 0.9 + v * 0.1
        steps.step()
        net.eval()
        with torch.no_grad():
            value = F.cross_entropy(net(x_val), y_val)
        rig.log("loss", (loss.item(), value.item(), opt.param_groups[0]["lr"], norms))
        rig.log("ema", (ema["a.weight"].sum().item(), net.bn.running_mean.sum().item()))
        rig.log("shared", opt.param_groups[0]["params"][0] is net.a.weight)
    return loss.item(), value.item()

x = torch.randn(64, 8)
y = (x.sum(1) > 0).long()
net = Net()
weight = net.a.weight
rig.log("before", 0)
last = fit(net, DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True), x, y)
rig.log("after", (last, weight.sum().item(), weight is net.a.weight, torch.rand(1).item()))
"""
    )
    assert_exact(record(tmp_path, script), "0:0", "0:2", "0:3")


def test_lambda_scheduler_tied_weights_views_and_swapped_data(tmp_path: Path) -> None:
    script = (
        HEAD
        + """
def main():
    torch.manual_seed(2)
    emb, out = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
    out.weight = emb.weight
    scale = {"decay": 0.5}
    opt = torch.optim.SGD([emb.weight], lr=0.1, momentum=0.9)
    sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda e: scale["decay"] ** e)
    flat = torch.zeros(10)
    window = flat[2:6].view(2, 2)
    g = torch.Generator().manual_seed(4)
    buffer = np.zeros(4, dtype=np.float32)
    shared = torch.from_numpy(buffer)
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    half = torch.ones(3, dtype=torch.bfloat16)
    for i in rig.loop("i", range(4)):
        loss = out(emb(torch.randint(0, 5, (7,), generator=g))).pow(2).mean()
        loss.backward()
        opt.step()
        if i % 2:
            opt.zero_grad()
        sched.step()
        window += i
        shared += 1
        half = half * 1.5
        frozen.data = frozen.data * 2
        new = torch.arange(6.0) * (i + 1)
        pair = (new[1:4], new[::2])
        pair[0].add_(1)
        rig.log("x", (loss.item(), opt.param_groups[0]["lr"], flat.sum().item(), buffer.sum()))
        rig.log("tied", out.weight is emb.weight)
        rig.log("y", (half.float().sum().item(), frozen.sum().item(), frozen.requires_grad, pair[1].sum().item()))
        rig.log("grad", None if emb.weight.grad is None else emb.weight.grad.sum().item())
    rig.log("end", (emb.weight.sum().item(), torch.rand(1, generator=g).item()))
main()
"""
    )
    assert_exact(record(tmp_path, script), "0:1", "0:2", "0:3")


def test_a_loop_of_steps_over_a_shuffling_loader(tmp_path: Path) -> None:
    script = (
        HEAD
        + """
data = TensorDataset(torch.arange(24.0).view(12, 2))
def main():
    w = torch.zeros(2)
    for (x,) in rig.loop("step", DataLoader(data, batch_size=2, shuffle=True)):
        w += F.dropout(x, 0.5).sum(0) * torch.rand(1)
        rig.log("w", (w.tolist(), x.tolist()))
main()
"""
    )
    assert_exact(record(tmp_path, script), "0:0", "0:4")


def test_a_graph_that_is_carried_on_is_refused(tmp_path: Path) -> None:
    script = (
        HEAD
        + """
def main():
    w = nn.Parameter(torch.ones(3))
    carry = torch.zeros(())
    for i in rig.loop("i", range(3)):
        rig.log("carry", carry.item())
        carry = carry + (w * (i + 1)).sum()
    carry.backward()
    rig.log("grad", w.grad.tolist())
main()
"""
    )
    recorded = record(tmp_path, script)
    assert recorded.refused["0:1"] == ["a tensor whose autograd graph can still be run backward", "carry"]
    assert "0:0" in recorded.manifests


def test_a_graph_that_was_used_up_or_is_not_read_again_is_no_obstacle(tmp_path: Path) -> None:
    script = (
        HEAD
        + """
def main():
    w = nn.Parameter(torch.ones(3))
    total = 0.0
    for i in rig.loop("i", range(4)):
        y = w.pow(2)
        loss = y.sum()
        loss.backward()
        with torch.no_grad():
            w -= 0.1 * w.grad
        out = (w * 2).sum()
        total += out.item()
        rig.log("total", total)
    rig.log("loss", loss.item())
main()
"""
    )
    assert_exact(record(tmp_path, script), "0:2")


def test_restored_tensors_whose_graph_is_lost_raise_instead_of_dropping_gradients() -> None:
    import torch

    from logql.state.kinds.tensors import _lost_graph

    plain = torch.ones(3)
    lost = _lost_graph().apply(torch.empty(0, requires_grad=True), plain)
    assert lost.untyped_storage()._cdata == plain.untyped_storage()._cdata
    with pytest.raises(GraphNotSaved):
        (lost * 2).sum().backward()


def test_persistent_workers_are_refused(tmp_path: Path) -> None:
    script = (
        HEAD
        + """
loader = DataLoader(TensorDataset(torch.zeros(4, 1)), num_workers=1, persistent_workers=True)
for (x,) in rig.loop("step", loader):
    rig.log("x", 1)
"""
    )
    assert_refused(record(tmp_path, script), "persistent workers", "")


def test_what_no_tensor_shows_of_a_storage_is_not_compared(tmp_path: Path) -> None:
    script = """
        import torch
        import rig

        loss = torch.zeros(1)
        for i in rig.loop("i", range(3)):
            rig.log("before", loss)
            whole = torch.zeros(8)
            whole.untyped_storage().copy_(torch.full((8,), float(id(object()) % 9973)).untyped_storage())
            loss = whole[:1].fill_(i)
            whole = None
            rig.log("loss", loss)
        """
    assert_exact(record(tmp_path, script), "0:1")


@pytest.mark.parametrize("counts", [True, False])
def test_of_many_gpus_the_random_states_of_those_that_were_used_are_saved(
    monkeypatch: pytest.MonkeyPatch, counts: bool
) -> None:
    """A stand-in for torch.cuda: a replay has one GPU of eight, and must not look for the others' states."""
    torch = pytest.importorskip("torch")

    def memory_stats(device: int) -> dict[str, int]:
        if not counts:
            raise RuntimeError("this allocator does not count")
        return {"allocated_bytes.all.allocated": 512} if device == 1 else {}

    for name, value in (("is_available", True), ("is_initialized", True)):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(torch.cuda, "default_generators", tuple(torch.Generator() for _ in range(3)))
    monkeypatch.setattr(torch.cuda, "memory_stats", memory_stats)

    def names(**options: bool) -> list[str]:
        return [root.name for root in random_roots(**options) if "cuda" in root.name]

    every = [f"<torch.cuda.random[{device}]>" for device in range(3)]
    assert names() == (every[1:2] if counts else every)
    assert names(every_device=True) == every


def test_an_array_and_its_tensor_that_the_next_iteration_makes_anew(tmp_path: Path) -> None:
    recorded = record(
        tmp_path,
        """
        import numpy as np, torch, rig
        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        fixed = rng.normal(size=4).astype("float32")
        shown = torch.from_numpy(fixed)
        net = torch.nn.Linear(4, 1)
        opt = torch.optim.SGD(net.parameters(), 0.1)
        for epoch in rig.loop("epoch", range(3)):
            rows = rng.normal(size=(8, 4)).astype("float32")
            x = torch.from_numpy(rows)
            y = x[:, :2]
            loss = net(x).pow(2).mean() + shown.sum()
            opt.zero_grad()
            loss.backward()
            opt.step()
            fixed += 1
            rig.log("loss", loss.detach())
        """,
    )
    assert_exact(recorded)
