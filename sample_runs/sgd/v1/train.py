"""A linear classifier on the digits, fed in chunks."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

import logql

X, y = load_digits(return_X_y=True)
X = X / 16
rng = np.random.RandomState(0)
idx = rng.permutation(len(X))
X, y = X[idx], y[idx]

clf = SGDClassifier(loss="log_loss", alpha=0.01, random_state=rng)

for epoch in logql.loop("epoch", range(6)):
    order = rng.permutation(1400)
    for i in logql.loop("chunk", range(7)):
        part = order[i * 200 : i * 200 + 200]
        clf.partial_fit(X[part], y[part], classes=np.arange(10))
        logql.log("chunk_acc", clf.score(X[part], y[part]))
    acc = clf.score(X[1400:], y[1400:])
    logql.log("acc", acc)
    print(f"epoch {epoch}: {acc:.4f}")
