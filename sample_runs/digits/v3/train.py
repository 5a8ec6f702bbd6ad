"""Handwritten digits: a network with one hidden layer, in plain numpy."""

import numpy as np

import logql

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

params = {
    "W1": rng.normal(0, 0.1, (64, hidden_units)),
    "b1": np.zeros(hidden_units),
    "W2": rng.normal(0, 0.1, (hidden_units, 10)),
    "b2": np.zeros(10),
}


def forward(params, x):
    hidden = np.maximum(x @ params["W1"] + params["b1"], 0)
    scores = hidden @ params["W2"] + params["b2"]
    scores = scores - scores.max(axis=1, keepdims=True)
    probs = np.exp(scores)
    return hidden, probs / probs.sum(axis=1, keepdims=True)


def backward(params, x, target, hidden, probs):
    delta = probs.copy()
    delta[np.arange(len(target)), target] -= 1
    delta /= len(target)
    delta_hidden = (delta @ params["W2"].T) * (hidden > 0)
    return {
        "W1": x.T @ delta_hidden,
        "b1": delta_hidden.sum(axis=0),
        "W2": hidden.T @ delta,
        "b2": delta.sum(axis=0),
    }


for epoch in logql.loop("epoch", range(epochs)):
    order = rng.permutation(len(train_images))
    for step in logql.loop("step", range(len(train_images) // batch_size)):
        batch = order[step * batch_size : (step + 1) * batch_size]
        hidden, probs = forward(params, train_images[batch])
        loss = -np.mean(np.log(probs[np.arange(len(batch)), train_labels[batch]] + 1e-12))
        grads = backward(params, train_images[batch], train_labels[batch], hidden, probs)
        for name in params:
            params[name] = params[name] - lr * grads[name]
        logql.log("loss", loss)
    _, probs = forward(params, val_images)
    val_acc = np.mean(probs.argmax(axis=1) == val_labels)
    logql.log("val_acc", val_acc)
    print(f"epoch {epoch}: val_acc {val_acc:.4f}")
