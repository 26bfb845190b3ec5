"""The fully connected layer: every output sees every input."""

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.ops import arguments
from npseg.ops.examples import BadExample, Example


@np.errstate(all="ignore")
def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Multiply by a matrix: y[n, o] = bias[o] + sum over c of weight[o, c] * x[n, c].

    Args:
        x: (N, C_in).
        weight: (C_out, C_in).
        bias: (C_out,), or None.

    Returns:
        (N, C_out).

    Raises:
        TypeError, ValueError: arguments are not of this form or do not fit together.

    On a flattened map (C, H, W) it equals a convolution whose kernel is as large as the map, which is how a classifier
    becomes a fully convolutional network.

    Lesson: notebooks/09_classifier_to_fcn.ipynb

    >>> linear(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), np.array([100.0]))
    array([[111.]])
    """
    x, weight = _checked(x, weight)
    bias = arguments.optional_bias(bias, weight.shape[0])
    checks.same_dtype(x=x, weight=weight, bias=bias)
    y = x @ weight.T
    if bias is not None:
        y += bias
    return np.asarray(y)


@np.errstate(all="ignore")
def linear_backward(grad: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """The gradients of `linear` with respect to its input, weight and bias.

        grad_x[n, c]      = sum over o of grad[n, o] * weight[o, c]
        grad_weight[o, c] = sum over n of grad[n, o] * x[n, c]
        grad_bias[o]      = sum over n of grad[n, o]

    Args:
        grad: (N, C_out), the loss's gradient with respect to y.
        x, weight: as given to `linear`.

    Returns:
        grad_x, grad_weight, grad_bias, shaped like x, weight and bias.

    Raises:
        TypeError, ValueError: as `linear`; grad is not shaped like y.

    Lesson: notebooks/09_classifier_to_fcn.ipynb

    >>> linear_backward(np.array([[1.0]]), np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))
    (array([[3., 4.]]), array([[1., 2.]]), array([1.]))
    """
    x, weight = _checked(x, weight)
    grad = checks.floats(grad, "grad", "(N, C_out)")
    checks.shape(grad, "grad", (len(x), weight.shape[0]), "y's: N, C_out")
    checks.same_dtype(grad=grad, x=x, weight=weight)
    return grad @ weight, grad.T @ x, grad.sum(axis=0)


def _checked(x: Array, weight: Array) -> tuple[Array, Array]:
    x = checks.floats(x, "x", "(N, C_in)")
    weight = checks.floats(weight, "weight", "(C_out, C_in)")
    checks.shape(weight, "weight", (weight.shape[0], x.shape[1]), "C_out, then the C_in of x")
    checks.fits_memory(x.shape, x.itemsize, "x", "its gradient or copy")
    checks.fits_memory(weight.shape, weight.itemsize, "weight", "its gradient or copy")
    checks.fits_memory((len(x), len(weight)), x.itemsize, "weight")
    return x, weight


EXAMPLES = [
    Example("linear", {"x": (3, 4), "weight": (5, 4), "bias": (5,)}),
    Example("linear", {"x": (2, 7), "weight": (1, 7)}),
]

BAD_EXAMPLES = [
    BadExample("linear", {"x": (3, 4), "weight": (4, 5)}, {}, "weight"),
    BadExample("linear", {"x": (3, 4, 1), "weight": (5, 4)}, {}, "x"),
    BadExample("linear", {"x": (3, 4), "weight": (5, 4), "bias": (4,)}, {}, "bias"),
    BadExample("linear_backward", {"grad": (3, 4), "x": (3, 4), "weight": (5, 4)}, {}, "grad"),
]
