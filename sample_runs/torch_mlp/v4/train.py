"""Digits once more, in PyTorch: dropout, Adam, a learning rate that decays, a shuffling DataLoader."""

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

import logql
from net import Net


def load_digits():
    data = torch.from_numpy(np.loadtxt("data/digits.csv.gz", delimiter=",", dtype="float32"))
    return data[:, :64] / 16, data[:, 64].long()


def train_epoch(net, train_loader, optimizer):
    net.train()
    for x, target in logql.loop("step", train_loader):
        loss = F.cross_entropy(net(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        logql.log("loss", loss)


@torch.no_grad()
def evaluate(net, images, labels):
    net.eval()
    return (net(images).argmax(dim=1) == labels).float().mean()


def main():
    lr = logql.arg("lr", 0.003)
    dropout = logql.arg("dropout", 0.2)
    epochs = logql.arg("epochs", 6)
    batch_size = logql.arg("batch_size", 100)
    torch.manual_seed(logql.arg("seed", 0))

    images, labels = load_digits()
    train_loader = DataLoader(TensorDataset(images[:1400], labels[:1400]), batch_size=batch_size, shuffle=True)
    net = Net(dropout)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    for epoch in logql.loop("epoch", range(epochs)):
        train_epoch(net, train_loader, optimizer)
        val_acc = evaluate(net, images[1400:], labels[1400:])
        logql.log("val_acc", val_acc)
        print(f"epoch {epoch}: val_acc {val_acc:.4f}")
        scheduler.step()


if __name__ == "__main__":
    main()
