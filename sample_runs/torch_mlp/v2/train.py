"""Digits once more, in PyTorch: dropout, Adam, a shuffling DataLoader."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import logql

lr = logql.arg("lr", 0.003)
dropout = logql.arg("dropout", 0.2)
epochs = logql.arg("epochs", 6)

torch.manual_seed(logql.arg("seed", 0))

data = torch.from_numpy(np.loadtxt("data/digits.csv.gz", delimiter=",", dtype="float32"))
X, y = data[:, :64] / 16, data[:, 64].long()
train_loader = DataLoader(TensorDataset(X[:1400], y[:1400]), batch_size=100, shuffle=True)

model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Dropout(dropout), nn.Linear(48, 10))
opt = torch.optim.Adam(model.parameters(), lr=lr)

for epoch in logql.loop("epoch", range(epochs)):
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
