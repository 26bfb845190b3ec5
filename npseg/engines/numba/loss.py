"""From logits to the loss of every pixel and its gradient, or to its class, in one pass over the logits.

The pixels are cut into blocks that fit a cache. Along the pixels of a block everything is a vector instruction, so the
classes are the outer loop:

    for each block of pixels i:
        for c, i:  largest[i] = max(largest[i], x[c, i])
        for c, i:  e[c, i] = exp(x[c, i] - largest[i]),  sum[i] += e[c, i]
        for i:     loss[i] = weight[i] * (log(sum[i]) - (x[label[i], i] - largest[i]))
        for c, i:  grad[c, i] = share[i] * (e[c, i] / sum[i] - [c = label[i]])

with share = weight, divided by the summed weights where the loss is a mean. An ignored pixel gives 0, whatever its
logits. The segmentation map is the class of the largest score, found in the same order of loops.
"""

import numpy as np

from npseg import buffers
from npseg.checks import Array
from npseg.engines.numba.compiling import empty_like, inner, on_all_cores
from npseg.engines.numba.elementary import exponential, logarithm
from npseg.engines.numba.pointwise import planes, rows
from npseg.geometry import ceil_divide

BLOCK = 512
"""Pixels of a block: with 21 classes in float32, 43 KiB."""


def cross_entropy(
    logits: Array, labels: Array, weights: Array, kept: Array, shares: Array | None
) -> tuple[Array, Array | None]:
    """The loss of every pixel, (N, H, W), and, where `shares` is given, the gradient, (N, C, H, W).

    Args:
        logits: (N, C, H, W).
        labels: class ids, (N, H, W) int64, valid also where ignored.
        weights: of the pixels' losses, (N, H, W).
        kept: which pixels count, (N, H, W) bool.
        shares: of the pixels in the loss whose gradient is wanted, (N, H, W).
    """
    losses = empty_like(weights)
    grad = empty_like(logits if shares is not None else logits[:, :0])
    _cross_entropy(
        len(logits) * ceil_divide(logits.shape[2] * logits.shape[3], BLOCK),
        planes(logits),
        rows(labels),
        rows(weights),
        rows(kept),
        rows(weights if shares is None else shares),
        rows(losses),
        planes(grad),
    )
    return losses, None if shares is None else grad


def segmentation_map(logits: Array) -> Array:
    """The class of the highest score at each pixel, (N, H, W) int64: the first of equals, and NaN above all."""
    batch, _, height, width = logits.shape
    labels = buffers.empty((batch, height, width), np.int64)
    _segmentation_map(batch * ceil_divide(height * width, BLOCK), planes(logits), rows(labels))
    return labels


@on_all_cores(allocates=True)
def _cross_entropy(
    place: int, logits: Array, labels: Array, weights: Array, kept: Array, shares: Array, losses: Array, grad: Array
) -> None:
    pixels = logits.shape[2]
    blocks = -(-pixels // BLOCK)
    n, first = place // blocks, place % blocks * BLOCK
    here = slice(first, min(first + BLOCK, pixels))
    per_pixel = labels[n, here], weights[n, here], kept[n, here], shares[n, here], losses[n, here]
    largest, exponentials = logits[n, 0, here].copy(), np.empty((logits.shape[1], here.stop - first), logits.dtype)
    _of_block(logits, n, here, *per_pixel, largest, exponentials, np.zeros_like(largest), grad)


@inner
def _of_block(
    logits: Array,
    n: int,
    here: slice,
    labels: Array,
    weights: Array,
    kept: Array,
    shares: Array,
    losses: Array,
    largest: Array,
    exponentials: Array,
    sums: Array,
    grad: Array,
) -> None:
    zero, one = logits.dtype.type(0), logits.dtype.type(1)
    classes, pixels = logits.shape[1], len(losses)
    for c in range(1, classes):
        scores = logits[n, c, here]
        for i in range(pixels):
            largest[i] = scores[i] if scores[i] > largest[i] else largest[i]
    for c in range(classes):
        scores, e = logits[n, c, here], exponentials[c]
        for i in range(pixels):
            e[i] = exponential(scores[i] - largest[i])
            sums[i] += e[i]
    for i in range(pixels):
        losses[i] = logarithm(sums[i])
    for i in range(pixels):
        label = min(max(labels[i], 0), classes - 1)  # checked already, but another thread may have changed it since
        true = logits[n, label, here.start + i] - largest[i]
        losses[i] = weights[i] * (losses[i] - true) if kept[i] else zero
    for i in range(pixels):
        sums[i] = one / sums[i]
    for c in range(grad.shape[1]):
        e, g = exponentials[c], grad[n, c, here]
        for i in range(pixels):
            g[i] = shares[i] * (e[i] * sums[i] - (one if labels[i] == c else zero)) if kept[i] else zero


@on_all_cores(allocates=True)
def _segmentation_map(place: int, logits: Array, labels: Array) -> None:
    classes, pixels = logits.shape[1:]
    blocks = -(-pixels // BLOCK)
    n, first = place // blocks, place % blocks * BLOCK
    best, label = logits[n, 0, first : first + BLOCK].copy(), labels[n, first : first + BLOCK]
    label[:] = 0
    for c in range(1, classes):
        scores = logits[n, c, first : first + BLOCK]
        for i in range(len(best)):
            wins = not scores[i] <= best[i] and best[i] == best[i]
            best[i] = scores[i] if wins else best[i]
            label[i] = c if wins else label[i]
