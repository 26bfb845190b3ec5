"""From logits to classes: softmax, cross-entropy over the pixels of a label map, and the segmentation map.

Segmentation is classification pixel by pixel, so every operation here treats (n, h, w) as an example with C scores.
"""

from typing import Any, NamedTuple

import numpy as np

from npseg import buffers, checks
from npseg.checks import Array
from npseg.engines import own_form
from npseg.ops import arguments
from npseg.ops.activation import floats_of_any_shape
from npseg.ops.examples import BadExample, Example

REDUCTIONS = ("mean", "sum", "none")


@np.errstate(all="ignore")
def softmax(x: Array, axis: int = 1) -> Array:
    """Turn scores into probabilities: y = exp(x) / sum over `axis` of exp(x).

    Args:
        x: a float array of any shape; only the first axis may be empty.
        axis: the axis along which the result sums to 1.

    Returns:
        The same shape.

    Raises:
        TypeError, ValueError: arguments are not of this form.

    The largest score is taken off first: the result is the same and nothing overflows.

    Lesson: notebooks/01_what_segmentation_is.ipynb

    >>> softmax(np.array([[0.0, np.log(3.0)]]))
    array([[0.25, 0.75]])
    """
    shifted, axis = _shifted(x, axis)
    exponentials = np.exp(shifted, out=shifted)
    exponentials /= exponentials.sum(axis=axis, keepdims=True)
    return exponentials


@np.errstate(all="ignore")
def log_softmax(x: Array, axis: int = 1) -> Array:
    """The logarithm of `softmax`, exact where probabilities underflow: y = x - log(sum over `axis` of exp(x)).

    Args:
        x: a float array of any shape; only the first axis may be empty.
        axis: the axis along which the probabilities sum to 1.

    Returns:
        The same shape.

    Raises:
        TypeError, ValueError: arguments are not of this form.

    Lesson: notebooks/01_what_segmentation_is.ipynb

    >>> log_softmax(np.array([[0.0, 1000.0]]))
    array([[-1000.,     0.]])
    """
    shifted, axis = _shifted(x, axis)
    shifted -= np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return shifted


def _shifted(x: Any, axis: Any) -> tuple[Array, int]:
    """x less its maximum along the axis."""
    x = floats_of_any_shape(x, "x")
    axis = checks.integer(axis, "axis")
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"axis must lie in {-x.ndim} ... {x.ndim - 1} for {x.ndim} dimensions, got {axis}")
    if not x.size:
        return x.copy(), axis
    return np.asarray(x - x.max(axis=axis, keepdims=True)), axis


class _Pixels(NamedTuple):
    """The labelled pixels, (N, H, W) each: ids, classes even where ignored, weights, 0 there, and which count."""

    labels: Array
    weights: Array
    kept: Array


@np.errstate(all="ignore")
def cross_entropy2d(
    logits: Array,
    labels: Array,
    *,
    ignore_index: int = 255,
    class_weight: Array | None = None,
    reduction: str = "mean",
) -> Any:
    """How surprised the predicted probabilities are by the true classes.

        l[n, h, w] = -class_weight[t] * log(softmax(logits)[n, t, h, w]),  t = labels[n, h, w];  0 where t is ignored

    Args:
        logits: (N, C, H, W).
        labels: (N, H, W), class ids 0 ... C - 1 of any integer dtype.
        ignore_index: a label that does not count, such as the void between objects.
        class_weight: (C,), finite and at least 0, of the logits' dtype; None is all ones.
        reduction: "mean" (the sum over the summed weights of the pixels that count), "sum" (the FCN paper's, hence its
            learning rates near 1e-10), or "none".

    Returns:
        A scalar of the logits' dtype; with "none" (N, H, W). Where the weights that count add up to 0, the mean is 0.

    Raises:
        TypeError: arguments are of the wrong type.
        ValueError: shapes do not fit; a label that is neither a class nor ignored is named with its place.

    Source: Long, Shelhamer, Darrell (2015), section 3.

    Lesson: notebooks/11_training.ipynb

    >>> logits = np.log(np.array([0.25, 0.75])).reshape(1, 2, 1, 1)
    >>> bool(np.isclose(cross_entropy2d(logits, np.array([[[1]]])), -np.log(0.75)))
    True
    """
    reduction = checks.choice(reduction, "reduction", REDUCTIONS)
    logits = arguments.images(logits, "logits")
    pixels = _checked_pixels(logits, labels, ignore_index, class_weight)
    own = own_form("cross_entropy")
    losses = _losses(logits, pixels) if own is None else own(logits, *pixels, None)[0]
    return _reduced(losses, pixels, reduction)


@np.errstate(all="ignore")
def cross_entropy2d_backward(
    logits: Array,
    labels: Array,
    *,
    ignore_index: int = 255,
    class_weight: Array | None = None,
    reduction: str = "mean",
) -> Array:
    """The gradient of `cross_entropy2d` with respect to the logits: predicted less true probabilities.

        grad[n, c, h, w] = class_weight[t] * (softmax(logits)[n, c, h, w] - [c = t]),  0 where t is ignored

    divided, with "mean", by the summed weights of the pixels that count. "none" has the gradient of "sum".

    Args:
        logits, labels, ignore_index, class_weight, reduction: as given to `cross_entropy2d`.

    Returns:
        (N, C, H, W).

    Raises:
        TypeError, ValueError: as `cross_entropy2d`.

    Lesson: notebooks/11_training.ipynb

    >>> logits = np.log(np.array([0.25, 0.75])).reshape(1, 2, 1, 1)
    >>> cross_entropy2d_backward(logits, np.array([[[1]]])).ravel()
    array([ 0.25, -0.25])
    """
    reduction = checks.choice(reduction, "reduction", REDUCTIONS)
    logits = arguments.images(logits, "logits")
    pixels = _checked_pixels(logits, labels, ignore_index, class_weight)
    shares = _shares(pixels, reduction)
    own = own_form("cross_entropy")
    return np.asarray(_gradient(logits, pixels, shares) if own is None else own(logits, *pixels, shares)[1])


@np.errstate(all="ignore")
def cross_entropy2d_and_gradient(
    logits: Array,
    labels: Array,
    *,
    ignore_index: int = 255,
    class_weight: Array | None = None,
    reduction: str = "mean",
) -> tuple[Any, Array]:
    """`cross_entropy2d` and `cross_entropy2d_backward` at once: an engine may compute their softmax once for both."""
    reduction = checks.choice(reduction, "reduction", REDUCTIONS)
    logits = arguments.images(logits, "logits")
    pixels = _checked_pixels(logits, labels, ignore_index, class_weight)
    shares = _shares(pixels, reduction)
    own = own_form("cross_entropy")
    if own is not None:
        losses, grad = own(logits, *pixels, shares)
    else:
        losses, grad = _losses(logits, pixels), _gradient(logits, pixels, shares)
    return _reduced(losses, pixels, reduction), grad


def _losses(logits: Array, pixels: _Pixels) -> Array:
    """l of the definition, (N, H, W)."""
    true_class = np.take_along_axis(log_softmax(logits), pixels.labels[:, None], axis=1)[:, 0]
    return np.where(pixels.kept, -pixels.weights * true_class, np.zeros((), logits.dtype))


def _reduced(losses: Array, pixels: _Pixels, reduction: str) -> Any:
    """All pixels' losses as one number, unless the reduction is "none"."""
    if reduction == "none":
        return losses
    total = losses.sum()
    if reduction == "sum":
        return total
    weight = pixels.weights.sum()
    return total / weight if weight != 0 else losses.dtype.type(0)


def _shares(pixels: _Pixels, reduction: str) -> Array:
    """How much each pixel's loss counts in the whole, (N, H, W)."""
    total = pixels.weights.sum()
    if reduction != "mean" or total == 0:  # where nothing counts, all are 0 as they are
        return pixels.weights
    return np.asarray(np.divide(pixels.weights, total, out=buffers.empty_like(pixels.weights)))


def _gradient(logits: Array, pixels: _Pixels, shares: Array) -> Array:
    """Predicted less true probabilities, times the pixels' shares, (N, C, H, W)."""
    grad = softmax(logits)
    true_class = pixels.labels[:, None]
    np.put_along_axis(grad, true_class, np.take_along_axis(grad, true_class, axis=1) - 1, axis=1)
    grad *= shares[:, None]
    if not pixels.kept.all():
        # Weight 0 is not enough: an ignored pixel's NaN or infinity would survive the product.
        np.copyto(grad, 0, where=~pixels.kept[:, None])
    return grad


def _checked_pixels(logits: Array, labels: Any, ignore_index: Any, class_weight: Any) -> _Pixels:
    """Labels, weights and which pixels count."""
    checks.fits_memory(logits.shape, logits.itemsize, "logits", "their softmax")
    labels = checks.array(labels, "labels")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    batch, classes, height, width = logits.shape
    checks.shape(labels, "labels", (batch, height, width), "N, H, W of the logits")
    ignore_index = checks.integer(ignore_index, "ignore_index")
    kept = labels != ignore_index
    safe = _class_ids(labels, kept, classes, ignore_index)
    weights = buffers.empty(labels.shape, logits.dtype)
    weights[...] = kept
    if class_weight is not None:
        weights *= _checked_weight(class_weight, logits)[safe]
    if not (kept if class_weight is None else weights).any():
        # Nothing counts, so that loss and gradient are 0 whatever the logits hold, NaN included.
        kept = np.zeros_like(kept)
    return _Pixels(safe, weights, kept)


def _checked_weight(class_weight: Any, logits: Array) -> Array:
    weight = arguments.vector(class_weight, "class_weight", logits.shape[1], "one for each class")
    checks.same_dtype(logits=logits, class_weight=weight)
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise ValueError(f"class_weight must be finite and at least 0, got {weight}")
    return weight


def _class_ids(labels: Array, kept: Array, classes: int, ignore_index: int) -> Array:
    """The labels as int64, 0 instead of an ignored one that is no class."""
    if labels.size and labels.min() >= 0 and labels.max() < classes:
        return labels.astype(np.int64, copy=False)
    _check_labels(labels, kept, classes, ignore_index)
    safe = buffers.zeros(labels.shape, np.int64)
    np.copyto(safe, labels, where=kept, casting="same_kind")
    return safe


def _check_labels(labels: Array, kept: Array, classes: int, ignore_index: int) -> None:
    wrong = kept & ((labels < 0) | (labels >= classes))
    if wrong.any():
        place = tuple(int(axis[0]) for axis in np.nonzero(wrong))
        raise ValueError(
            f"labels must lie in 0 ... {classes - 1} or be ignore_index {ignore_index}, got {labels[place]} at "
            f"(n, h, w) = {place}"
        )


def segmentation_map(logits: Array) -> Array:
    """The class of the highest score at each pixel: argmax over the channels, the lowest class of equals.

    Args:
        logits: (N, C, H, W).

    Returns:
        (N, H, W) int64.

    Raises:
        TypeError, ValueError: logits are not of this form.

    Lesson: notebooks/01_what_segmentation_is.ipynb

    >>> segmentation_map(np.array([1.0, 3.0, 3.0]).reshape(1, 3, 1, 1))
    array([[[1]]])
    """
    logits = arguments.images(logits, "logits")
    checks.fits_memory(logits.shape, 8, "logits", "a copy and the result")
    own = own_form("segmentation_map")
    return np.asarray(np.argmax(logits, axis=1) if own is None else own(logits), dtype=np.int64)


EXAMPLES = [
    Example("softmax", {"x": (2, 3, 4, 5)}),
    Example("log_softmax", {"x": (2, 3, 4, 5)}, {"axis": -1}),
    Example("segmentation_map", {"logits": (2, 3, 4, 5)}),
]

_LABELS = np.zeros((1, 2, 3), np.int64)
BAD_EXAMPLES = [
    BadExample("softmax", {"x": (2, 3)}, {"axis": 2}, "axis"),
    BadExample("softmax", {"x": (2, 3)}, {"axis": 1.0}, "axis", TypeError),
    BadExample("cross_entropy2d", {"logits": (1, 2, 2, 3)}, {"labels": _LABELS + 2}, "labels"),
    BadExample("cross_entropy2d", {"logits": (1, 2, 2, 3)}, {"labels": _LABELS - 1}, "labels"),
    BadExample("cross_entropy2d", {"logits": (1, 2, 2, 3)}, {"labels": _LABELS.astype(bool)}, "labels", TypeError),
    BadExample("cross_entropy2d", {"logits": (1, 2, 2, 3)}, {"labels": _LABELS.astype(float)}, "labels", TypeError),
    BadExample("cross_entropy2d", {"logits": (1, 2, 3, 2)}, {"labels": _LABELS}, "labels"),
    BadExample("cross_entropy2d", {"logits": (1, 2, 2, 3)}, {"labels": _LABELS, "reduction": "avg"}, "reduction"),
    BadExample("cross_entropy2d", {"logits": (1, 2, 2, 3), "class_weight": (3,)}, {"labels": _LABELS}, "class_weight"),
    BadExample(
        "cross_entropy2d",
        {"logits": (1, 2, 2, 3)},
        {"labels": _LABELS, "class_weight": np.array([1.0, -1.0])},
        "class_weight",
    ),
    BadExample(
        "cross_entropy2d",
        {"logits": (1, 2, 2, 3)},
        {"labels": _LABELS, "ignore_index": None},
        "ignore_index",
        TypeError,
    ),
]
