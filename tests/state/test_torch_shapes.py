"""What training code builds around a model: averages, scalers, parametrizations, schedules."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.state.cases import assert_exact, record

pytest.importorskip("torch")

HEAD = """\
import copy, warnings
import torch, rig
from torch import nn
from torch.nn import functional as F

warnings.simplefilter("ignore")
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
optimizer = torch.optim.Adam(net.parameters(), 1e-2)
x, y = torch.randn(8, 4), torch.randn(8, 1)


def learn(model, by):
    by.zero_grad()
    loss = F.mse_loss(model(x).mean(1, keepdim=True), y)
    loss.backward()
    by.step()
    return loss.item()
"""

#: name: (before the loop, the body)
SHAPES = {
    "averages": (
        """
from torch.optim.swa_utils import AveragedModel, SWALR, get_ema_multi_avg_fn
copied, mean = copy.deepcopy(net), AveragedModel(net)
moving, rate = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9)), SWALR(optimizer, swa_lr=0.05)
""",
        """
rig.log("loss", learn(net, optimizer))
for old, new in zip(copied.parameters(), net.parameters()):
    old.data.mul_(0.9).add_(new.data, alpha=0.1)
mean.update_parameters(net)
moving.update_parameters(net)
rate.step()
rig.log("averages", [float(one(x).sum()) for one in (copied, mean, moving)])
""",
    ),
    "scaler": (
        """
scaler, off = torch.amp.GradScaler("cpu"), torch.amp.GradScaler("cuda", enabled=False)
def scaled():
    optimizer.zero_grad()
    loss = F.mse_loss(net(x), y)
    off.scale(scaler.scale(loss)).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    return loss
""",
        """
rig.log("before", float(globals().get("loss", x).sum()))
loss = scaled()
rig.log("loss", [loss.item(), scaler.get_scale()])
""",
    ),
    "parametrizations": (
        """
from torch.nn.utils import parametrizations, spectral_norm
model = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4)), parametrizations.spectral_norm(nn.Linear(4, 4)),
                      parametrizations.orthogonal(nn.Linear(4, 4)), spectral_norm(nn.Linear(4, 4)))
other = torch.optim.SGD(model.parameters(), 0.1)
""",
        'rig.log("loss", learn(model, other))\n',
    ),
    "sparse": (
        """
index, value = torch.tensor([[0, 1, 1, 0], [2, 0, 2, 2]]), torch.tensor([3.0, 4.0, 5.0, 6.0])
doubled = torch.sparse_coo_tensor(index, value, (2, 4))
adjacency = doubled.coalesce()
rows = adjacency.to_sparse_csr()
layouts = [adjacency.to_sparse_csc(), torch.eye(4).to_sparse_bsr((2, 2)), torch.zeros(2, 3).to_sparse()]
free = torch.ones(3, 4).to_sparse().requires_grad_()
made = None
table = nn.Embedding(5, 4, sparse=True)
few = torch.optim.SparseAdam(table.parameters(), 0.1)
""",
        """
rig.log("made", made is None or [made.is_coalesced(), made.to_dense().tolist()])
few.zero_grad()
(torch.sparse.mm(adjacency, table(torch.tensor([i, 1, 1, 4]))).sum() ** 2).backward()
few.step()
rig.log("table", [table.weight.sum().item(), table.weight.grad.is_sparse])
value.mul_(1.5)
rows.values().add_(1)
made = (rows @ torch.ones(4, 4)).to_sparse() if i % 2 else doubled * i
rig.log("shared", [float(doubled.to_dense().sum()), doubled.is_coalesced(), adjacency.is_coalesced()])
rig.log("layouts", [str(one.layout) for one in layouts] + [float(one.to_dense().sum()) for one in layouts])
torch.sparse.sum(free).backward()
rig.log("free", [free.requires_grad, free.grad.to_dense().tolist()])
if i == 2:
    free.data = torch.eye(4)[:3].to_sparse()
    free.grad = None
    rows = (adjacency * 2).to_sparse_csr()
""",
    ),
    "schedules": (
        """
from torch.optim import lr_scheduler
def warm(epoch): return min(1.0, (epoch + 1) / 5)
first, plateau = lr_scheduler.LambdaLR(optimizer, warm), lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
second = lr_scheduler.SequentialLR(
    optimizer, [lr_scheduler.ConstantLR(optimizer), lr_scheduler.ExponentialLR(optimizer, 0.9)], [2])
""",
        """
loss = learn(net, optimizer)
first.step()
plateau.step(loss)
second.step()
rig.log("rate", [loss, optimizer.param_groups[0]["lr"]])
""",
    ),
}


def _script(setup: str, body: str) -> str:
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return f"{HEAD}{setup}\nfor i in rig.loop('i', range(4)):\n{lines}"


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_from_every_iteration(tmp_path: Path, name: str) -> None:
    assert_exact(record(tmp_path, _script(*SHAPES[name])), "0:1", "0:3")


def test_sparse_tensors(tmp_path: Path) -> None:
    assert_exact(record(tmp_path, _script(*SHAPES["sparse"])), "0:3")


def test_a_scaler_and_a_loss_whose_storage_is_larger_than_it(tmp_path: Path) -> None:
    assert_exact(record(tmp_path, _script(*SHAPES["scaler"])), "0:1")
