"""Elementwise: the rectified linear unit, with and without an upper bound, and dropout."""

from typing import Any

import numpy as np

from npseg import buffers, checks
from npseg.checks import Array
from npseg.engines import own_form
from npseg.ops.examples import BadExample, Example


@np.errstate(all="ignore")
def relu(x: Array) -> Array:
    """Cut off the negative: y = max(x, 0). NaN stays NaN.

    Args:
        x: a float array of any shape; only the first axis may be empty.

    Returns:
        The same shape.

    Raises:
        TypeError, ValueError: x is not of this form.

    Source: Nair, Hinton (2010).

    Lesson: notebooks/03_convolution_backward.ipynb

    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    x = floats_of_any_shape(x, "x")
    own = own_form("relu")
    return np.asarray(np.maximum(x, 0, out=buffers.empty_like(x)) if own is None else own(x))


@np.errstate(all="ignore")
def relu_backward(grad: Array, y: Array) -> Array:
    """The gradient of `relu`: it passes where y > 0, and is 0 where y = 0. Where y is NaN it passes.

    Args:
        grad: the loss's gradient with respect to y.
        y: the result of `relu`, which is all that needs to be kept.

    Returns:
        grad_x, of the same shape.

    Raises:
        TypeError, ValueError: the arrays are not of one shape and dtype.

    Lesson: notebooks/03_convolution_backward.ipynb

    >>> relu_backward(np.array([10.0, 20.0, 30.0]), np.array([0.0, 0.0, 2.0]))
    array([ 0.,  0., 30.])
    """
    grad, y = _alike(grad, y, "y")
    own = own_form("relu_backward")
    if own is not None:
        return np.asarray(own(grad, y))
    # All ones or all zeros, bit by bit: as fast as a product, which would turn 0 * infinity into NaN.
    bits = np.dtype(f"i{grad.itemsize}")
    passes = -(~(y <= 0)).astype(bits)
    passes &= grad.view(bits)
    return passes.view(grad.dtype)


@np.errstate(all="ignore")
def relu6(x: Array) -> Array:
    """Cut off the negative and what exceeds 6: y = min(max(x, 0), 6). NaN stays NaN.

    Args, Returns, Raises: as `relu`.

    Source: Krizhevsky, "Convolutional deep belief networks on CIFAR-10" (2010).

    Lesson: notebooks/03_convolution_backward.ipynb

    >>> relu6(np.array([-1.0, 2.0, 9.0]))
    array([0., 2., 6.])
    """
    x = floats_of_any_shape(x, "x")
    own = own_form("relu6")
    if own is not None:
        return np.asarray(own(x))
    y = np.maximum(x, 0, out=buffers.empty_like(x))
    return np.asarray(np.minimum(y, 6, out=y))


@np.errstate(all="ignore")
def relu6_backward(grad: Array, y: Array) -> Array:
    """The gradient of `relu6`: it passes where 0 < y < 6, and is 0 at both bounds. Where y is NaN it passes.

    Args:
        grad: the loss's gradient with respect to y.
        y: the result of `relu6`, which is all that needs to be kept.

    Returns:
        grad_x, of the same shape.

    Raises:
        TypeError, ValueError: the arrays are not of one shape and dtype.

    Lesson: notebooks/03_convolution_backward.ipynb

    >>> relu6_backward(np.array([10.0, 20.0, 30.0]), np.array([0.0, 2.0, 6.0]))
    array([ 0., 20.,  0.])
    """
    grad, y = _alike(grad, y, "y")
    own = own_form("relu6_backward")
    if own is not None:
        return np.asarray(own(grad, y))
    return np.where((y <= 0) | (y >= 6), grad.dtype.type(0), grad)


@np.errstate(all="ignore")
def dropout(x: Array, p: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Switch off each entry with probability p, and scale the others up so that the mean stays.

        y = x * mask,  mask = 0 with probability p, else 1 / (1 - p)

    Args:
        x: a float array of any shape; only the first axis may be empty.
        p: the probability, 0 <= p < 1.
        rng: where the draws come from.

    Returns:
        y and the mask, both of x's shape and dtype.

    Raises:
        TypeError, ValueError: arguments are not of this form.

    Source: Srivastava et al., "Dropout" (2014); scaled while training ("inverted"), so that prediction needs no change.

    Lesson: notebooks/03_convolution_backward.ipynb

    >>> y, mask = dropout(np.ones(4), 0.5, np.random.default_rng(0))
    >>> np.array_equal(y, mask), set(mask.tolist()) <= {0.0, 2.0}
    (True, True)
    """
    x = floats_of_any_shape(x, "x")
    p = checks.number(p, "p", at_least=0.0, below=1.0)
    kept = checks.generator(rng, "rng").random(x.shape, dtype=x.dtype.type) >= p
    mask = kept * x.dtype.type(1 / (1 - p))
    return x * mask, mask


@np.errstate(all="ignore")
def dropout_backward(grad: Array, mask: Array) -> Array:
    """The gradient of `dropout`: grad * mask.

    Args:
        grad: the loss's gradient with respect to y.
        mask: from `dropout`.

    Returns:
        grad_x, of the same shape.

    Raises:
        TypeError, ValueError: the arrays are not of one shape and dtype.

    Lesson: notebooks/03_convolution_backward.ipynb

    >>> dropout_backward(np.array([1.0, 1.0]), np.array([0.0, 2.0]))
    array([0., 2.])
    """
    grad, mask = _alike(grad, mask, "mask")
    return np.asarray(grad * mask)


def floats_of_any_shape(value: Any, name: str) -> Array:
    """A float array with at least one axis, of which the first alone may be empty."""
    axes = ", ".join(["N", "C", "H", "W", *(f"axis {a}" for a in range(4, np.ndim(value)))][: max(np.ndim(value), 1)])
    checked = checks.floats(value, name, f"({axes})")
    checks.fits_memory(checked.shape, checked.itemsize, name)
    return checked


def _alike(grad: Any, other: Any, name: str) -> tuple[Array, Array]:
    """Two float arrays of one shape and dtype."""
    grad, other = floats_of_any_shape(grad, "grad"), floats_of_any_shape(other, name)
    checks.shape(grad, "grad", other.shape, f"{name}'s")
    checks.same_dtype(**{"grad": grad, name: other})
    return grad, other


EXAMPLES = [
    Example("relu", {"x": (2, 3, 4, 5)}),
    Example("relu", {"x": (3, 4)}),
    Example("relu", {"x": (0, 4)}),
    Example("relu6", {"x": (2, 3, 4, 5)}),
    Example("relu6", {"x": (0, 4)}),
]

BAD_EXAMPLES = [
    BadExample("relu", {"x": ()}, {}, "x"),
    BadExample("relu", {"x": (2, 0, 3)}, {}, "x"),
    BadExample("relu_backward", {"grad": (2, 3), "y": (2, 4)}, {}, "grad"),
    BadExample("relu6", {"x": (2, 0, 3)}, {}, "x"),
    BadExample("relu6_backward", {"grad": (2, 3), "y": (2, 4)}, {}, "grad"),
    BadExample("dropout", {"x": (2, 3)}, {"p": 1.0, "rng": np.random.default_rng(0)}, "p"),
    BadExample("dropout", {"x": (2, 3)}, {"p": -0.1, "rng": np.random.default_rng(0)}, "p"),
    BadExample("dropout", {"x": (2, 3)}, {"p": 0.5, "rng": 0}, "rng", TypeError),
    BadExample("dropout_backward", {"grad": (2, 3), "mask": (3, 2)}, {}, "grad"),
]
