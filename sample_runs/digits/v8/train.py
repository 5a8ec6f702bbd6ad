"""Handwritten digits: train the network of model.py."""

import numpy as np

import logql
from model import backward, cross_entropy, forward, init_params


def load_digits(rng):
    """Images and labels in random order; the file has an 8 x 8 image per row, the digit in the last column."""
    data = np.loadtxt("data/digits.csv.gz", delimiter=",")
    shuffled = rng.permutation(len(data))
    return data[shuffled, :64] / 16, data[shuffled, 64].astype(int)


def train_epoch(params, images, labels, lr, batch_size, rng):
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


if __name__ == "__main__":
    lr = logql.arg("lr", 1.0)
    lr_decay = logql.arg("lr_decay", 0.8)
    patience = logql.arg("patience", 3)
    epochs = logql.arg("epochs", 5)
    batch_size = logql.arg("batch_size", 50)
    hidden_units = logql.arg("hidden_units", 32)
    seed = logql.arg("seed", 0)

    rng = np.random.default_rng(seed)
    images, labels = load_digits(rng)

    # cross-validation: every fifth image is held out in turn
    scores = []
    for fold in range(5):
        held_out = np.arange(len(images)) % 5 == fold
        train_images, train_labels = images[~held_out], labels[~held_out]
        val_images, val_labels = images[held_out], labels[held_out]

        params = init_params(rng, hidden_units)
        fold_lr = lr
        best_acc = 0.0
        bad_epochs = 0
        for epoch in logql.loop("epoch", range(epochs)):
            train_loss = train_epoch(params, train_images, train_labels, fold_lr, batch_size, rng)
            logql.log("train_loss", train_loss)
            val_acc = evaluate(params, val_images, val_labels)
            logql.log("val_acc", val_acc)
            print(f"fold {fold}, epoch {epoch}: train_loss {train_loss:.4f}, val_acc {val_acc:.4f}")
            fold_lr *= lr_decay
            # stop when nothing has improved for a while
            if val_acc > best_acc:
                best_acc, bad_epochs = val_acc, 0
            else:
                bad_epochs += 1
            if bad_epochs >= patience:
                break
        scores.append(best_acc)
    print(f"cross-validated accuracy: {np.mean(scores):.4f}")
