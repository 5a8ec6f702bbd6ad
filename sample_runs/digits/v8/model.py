"""A network with one hidden layer: its parameters, its output, its gradients."""

import numpy as np


def init_params(rng, hidden_units):
    return {
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


def cross_entropy(probs, target):
    return -np.mean(np.log(probs[np.arange(len(target)), target] + 1e-12))
