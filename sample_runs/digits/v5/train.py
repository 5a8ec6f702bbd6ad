"""Handwritten digits: train the network of model.py."""

import numpy as np

import logql
from model import backward, cross_entropy, forward, init_params

lr = logql.arg("lr", 0.5)
epochs = logql.arg("epochs", 8)
batch_size = logql.arg("batch_size", 50)
hidden_units = logql.arg("hidden_units", 32)
seed = logql.arg("seed", 0)

rng = np.random.default_rng(seed)

# one 8 x 8 image per row, the digit in the last column
data = np.loadtxt("data/digits.csv.gz", delimiter=",")
images = data[:, :64] / 16
labels = data[:, 64].astype(int)
shuffled = rng.permutation(len(images))
images, labels = images[shuffled], labels[shuffled]
train_images, train_labels = images[:1400], labels[:1400]
val_images, val_labels = images[1400:], labels[1400:]

params = init_params(rng, hidden_units)


def train_epoch(params, images, labels):
    """One pass over the shuffled training images; returns the mean loss."""
    order = rng.permutation(len(images))
    losses = []
    for step in logql.loop("step", range(len(images) // batch_size)):
        batch = order[step * batch_size : (step + 1) * batch_size]
        hidden, probs = forward(params, images[batch])
        loss = cross_entropy(probs, labels[batch])
        grads = backward(params, images[batch], labels[batch], hidden, probs)
        for name in params:
            params[name] = params[name] - lr * grads[name]
        logql.log("loss", loss)
        losses.append(loss)
    return np.mean(losses)


def evaluate(params, images, labels):
    _, probs = forward(params, images)
    return np.mean(probs.argmax(axis=1) == labels)


for epoch in logql.loop("epoch", range(epochs)):
    train_loss = train_epoch(params, train_images, train_labels)
    logql.log("train_loss", train_loss)
    val_acc = evaluate(params, val_images, val_labels)
    logql.log("val_acc", val_acc)
    print(f"epoch {epoch}: train_loss {train_loss:.4f}, val_acc {val_acc:.4f}")
