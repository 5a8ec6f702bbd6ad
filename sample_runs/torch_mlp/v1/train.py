"""Digits once more, in PyTorch: dropout, Adam, a shuffling DataLoader."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import logql

torch.manual_seed(0)

data = torch.from_numpy(np.loadtxt("data/digits.csv.gz", delimiter=",", dtype="float32"))
X, y = data[:, :64] / 16, data[:, 64].long()
train_loader = DataLoader(TensorDataset(X[:1400], y[:1400]), batch_size=100, shuffle=True)

model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 10))
opt = torch.optim.Adam(model.parameters(), lr=0.003)

for epoch in logql.loop("epoch", range(6)):
    model.train()
    for i, (xb, yb) in enumerate(logql.loop("step", train_loader)):
        loss = nn.functional.cross_entropy(model(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
        logql.log("loss", loss)
    model.eval()
    with torch.no_grad():
        acc = (model(X[1400:]).argmax(dim=1) == y[1400:]).float().mean()
    logql.log("val_acc", acc)
    print(f"epoch {epoch}: val_acc {acc:.4f}")
