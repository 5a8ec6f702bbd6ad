"""Digits once more, in PyTorch: dropout, Adam, a shuffling DataLoader."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import logql

lr = logql.arg("lr", 0.003)
dropout = logql.arg("dropout", 0.2)
epochs = logql.arg("epochs", 6)
batch_size = logql.arg("batch_size", 100)

torch.manual_seed(logql.arg("seed", 0))


class Net(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.hidden = nn.Linear(64, 48)
        self.norm = nn.BatchNorm1d(48)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(48, 10)

    def forward(self, x):
        return self.out(self.dropout(F.relu(self.norm(self.hidden(x)))))


data = torch.from_numpy(np.loadtxt("data/digits.csv.gz", delimiter=",", dtype="float32"))
images, labels = data[:, :64] / 16, data[:, 64].long()
train_loader = DataLoader(TensorDataset(images[:1400], labels[:1400]), batch_size=batch_size, shuffle=True)
val_images, val_labels = images[1400:], labels[1400:]

net = Net(dropout)
optimizer = torch.optim.Adam(net.parameters(), lr=lr)

for epoch in logql.loop("epoch", range(epochs)):
    net.train()
    for x, target in logql.loop("step", train_loader):
        loss = F.cross_entropy(net(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        logql.log("loss", loss)
    net.eval()
    with torch.no_grad():
        val_acc = (net(val_images).argmax(dim=1) == val_labels).float().mean()
    logql.log("val_acc", val_acc)
    print(f"epoch {epoch}: val_acc {val_acc:.4f}")
