"""A linear classifier on the digits, fed in chunks."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss

import logql

alpha = logql.arg("alpha", 0.001)
epochs = logql.arg("epochs", 6)
chunk_size = logql.arg("chunk_size", 200)
seed = logql.arg("seed", 0)

features, labels = load_digits(return_X_y=True)
features = features / 16
rng = np.random.RandomState(seed)
shuffled = rng.permutation(len(features))
features, labels = features[shuffled], labels[shuffled]
n_train = 1400
classes = np.unique(labels)

model = SGDClassifier(loss="log_loss", alpha=alpha, random_state=rng)

for epoch in logql.loop("epoch", range(epochs)):
    order = rng.permutation(n_train)
    for i in logql.loop("chunk", range(n_train // chunk_size)):
        chunk = order[i * chunk_size : (i + 1) * chunk_size]
        model.partial_fit(features[chunk], labels[chunk], classes=classes)
        logql.log("chunk_acc", model.score(features[chunk], labels[chunk]))
    acc = model.score(features[n_train:], labels[n_train:])
    logql.log("acc", acc)
    logql.log("val_loss", log_loss(labels[n_train:], model.predict_proba(features[n_train:]), labels=classes))
    print(f"epoch {epoch}: {acc:.4f}")
