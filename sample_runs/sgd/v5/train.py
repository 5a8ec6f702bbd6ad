"""A linear classifier on the digits, fed in chunks."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss

import logql


def load(rng):
    """Digits in random order, pixels between 0 and 1."""
    features, labels = load_digits(return_X_y=True)
    shuffled = rng.permutation(len(features))
    return features[shuffled] / 16, labels[shuffled]


def fit_epoch(model, features, labels, chunk_size, rng):
    """One pass over the data in random chunks."""
    order = rng.permutation(len(features))
    classes = np.arange(10)
    for i in logql.loop("chunk", range(len(features) // chunk_size)):
        chunk = order[i * chunk_size : (i + 1) * chunk_size]
        model.partial_fit(features[chunk], labels[chunk], classes=classes)
        logql.log("chunk_acc", model.score(features[chunk], labels[chunk]))
        logql.log("max_coef", np.abs(model.coef_).max())


def main():
    alpha = logql.arg("alpha", 0.001)
    epochs = logql.arg("epochs", 6)
    chunk_size = logql.arg("chunk_size", 200)
    n_train = logql.arg("n_train", 1400)
    rng = np.random.RandomState(logql.arg("seed", 0))

    features, labels = load(rng)
    model = SGDClassifier(loss="log_loss", alpha=alpha, random_state=rng)
    for epoch in logql.loop("epoch", range(epochs)):
        logql.log("known_classes", len(getattr(model, "classes_", ())))
        fit_epoch(model, features[:n_train], labels[:n_train], chunk_size, rng)
        acc = model.score(features[n_train:], labels[n_train:])
        logql.log("acc", acc)
        logql.log("coef_norm", np.linalg.norm(model.coef_))
        logql.log("val_loss", log_loss(labels[n_train:], model.predict_proba(features[n_train:])))
        print(f"epoch {epoch}: {acc:.4f}")
    logql.log("updates", model.t_)


if __name__ == "__main__":
    main()
