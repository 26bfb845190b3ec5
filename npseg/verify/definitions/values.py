"""What looks at values and not at where they are: weighted sums, activations, normalisation, loss."""

import math
from typing import Any

import numpy as np

from npseg.checks import Array


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """A weighted sum."""
    return np.asarray(np.einsum("nc,oc->no", x, weight) + (0 if bias is None else bias))


def relu(x: Array) -> Array:
    """What is positive."""
    return np.where(x > 0, x, 0)


def relu6(x: Array) -> Array:
    """What lies between 0 and 6, and the bound for the rest."""
    return np.where(x > 6, 6, np.where(x > 0, x, 0))


def dropout(x: Array, p: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """One draw for each entry in its turn: at least p keeps it, enlarged so that the mean stays."""
    mask = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        if rng.random(dtype=x.dtype.type) >= p:
            mask[place] = 1 / (1 - p)
    return x * mask, mask


def batch_norm2d(
    x: Array,
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Array, tuple[Array, Array]]:
    """Channel by channel: less the mean, over the root of the biased variance; the unbiased one is what moves on."""
    y, means, deviations = np.zeros(x.shape), [], []
    for c in range(x.shape[1]):
        values = [float(value) for value in x[:, c].ravel()]
        mean, variance = float(running_mean[c]), float(running_var[c])
        if training:
            mean = math.fsum(values) / len(values)
            squares = math.fsum((value - mean) ** 2 for value in values)
            variance = squares / len(values)
            running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean
            running_var[c] = (1 - momentum) * running_var[c] + momentum * squares / (len(values) - 1)
        means.append(mean)
        deviations.append(1 / math.sqrt(variance + eps))
        y[:, c] = gamma[c] * (x[:, c] - mean) * deviations[c] + beta[c]
    return y, (np.array(means), np.array(deviations))


def local_response_norm(x: Array, size: Any, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Array:
    """Channel by channel, its span summed."""
    y = np.zeros(x.shape)
    for c in range(x.shape[1]):
        span = range(max(0, c - size // 2), min(x.shape[1] - 1, c + (size - 1) // 2) + 1)
        y[:, c] = x[:, c] / (k + alpha / size * sum(x[:, b] ** 2 for b in span)) ** beta
    return y


def softmax(x: Array, axis: int = 1) -> Array:
    """Exponentials over their sum."""
    return np.asarray(np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True))


def log_softmax(x: Array, axis: int = 1) -> Array:
    """The logarithm of the softmax."""
    return np.log(softmax(x, axis))


def segmentation_map(logits: Array) -> Array:
    """The first of the highest scores."""
    best = np.zeros((len(logits), *logits.shape[2:]), np.int64)
    for n, h, w in np.ndindex(best.shape):
        scores = logits[n, :, h, w].tolist()
        best[n, h, w] = scores.index(max(scores))
    return best


def cross_entropy2d(
    logits: Array, labels: Array, *, ignore_index: int = 255, class_weight: Any = None, reduction: str = "mean"
) -> Array:
    """Pixel by pixel: minus the logarithm of the true class's probability, times its weight."""
    losses, total = np.zeros(labels.shape), 0.0
    for n, h, w in np.ndindex(labels.shape):
        label = int(labels[n, h, w])
        if label == ignore_index:
            continue
        weight = 1.0 if class_weight is None else float(class_weight[label])
        scores = [math.exp(score) for score in logits[n, :, h, w]]
        losses[n, h, w] = -weight * math.log(scores[label] / math.fsum(scores))
        total += weight
    if reduction == "none":
        return losses
    return np.asarray(losses.sum() / (total or 1.0) if reduction == "mean" else losses.sum())
