"""Handwritten digits: a network with one hidden layer, in plain numpy."""

import numpy as np

import logql

lr = logql.arg("lr", 2.0)
epochs = logql.arg("epochs", 8)
batch_size = logql.arg("batch_size", 50)
seed = logql.arg("seed", 0)

np.random.seed(seed)

# one 8 x 8 image per row, the digit in the last column
data = np.loadtxt("data/digits.csv.gz", delimiter=",")
X = data[:, :64] / 16
y = data[:, 64].astype(int)
perm = np.random.permutation(len(X))
X, y = X[perm], y[perm]
X_train, y_train = X[:1400], y[:1400]
X_val, y_val = X[1400:], y[1400:]

w = {
    "W1": np.random.randn(64, 32) * 0.1,
    "b1": np.zeros(32),
    "W2": np.random.randn(32, 10) * 0.1,
    "b2": np.zeros(10),
}


def forward(w, x):
    h = np.maximum(x @ w["W1"] + w["b1"], 0)
    z = h @ w["W2"] + w["b2"]
    z = z - z.max(axis=1, keepdims=True)
    p = np.exp(z)
    return h, p / p.sum(axis=1, keepdims=True)


def backward(w, x, t, h, p):
    d = p.copy()
    d[np.arange(len(t)), t] -= 1
    d /= len(t)
    dh = (d @ w["W2"].T) * (h > 0)
    return {"W1": x.T @ dh, "b1": dh.sum(axis=0), "W2": h.T @ d, "b2": d.sum(axis=0)}


for epoch in logql.loop("epoch", range(epochs)):
    idx = np.random.permutation(len(X_train))
    for step in logql.loop("step", range(len(X_train) // batch_size)):
        b = idx[step * batch_size : (step + 1) * batch_size]
        h, p = forward(w, X_train[b])
        loss = -np.mean(np.log(p[np.arange(len(b)), y_train[b]] + 1e-12))
        g = backward(w, X_train[b], y_train[b], h, p)
        for k in w:
            w[k] = w[k] - lr * g[k]
        logql.log("loss", loss)
    _, p = forward(w, X_val)
    acc = np.mean(p.argmax(axis=1) == y_val)
    logql.log("val_acc", acc)
    print(f"epoch {epoch}: val_acc {acc:.4f}")
