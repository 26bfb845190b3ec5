"""What is done to every number by itself, and sums over them: bound by memory, so one pass and all cores.

    relu:                    y[i] = max(x[i], 0)
    relu_backward:           grad_x[i] = grad[i] where y[i] > 0, else 0
    relu6:                   y[i] = min(max(x[i], 0), 6)
    relu6_backward:          grad_x[i] = grad[i] where 0 < y[i] < 6, else 0
    bias_gradient:           grad_bias[c] = sum over n, i of grad[n, c, i]
    relu_and_bias_gradient:  the latter two at once, for the convolution that a ReLU follows

A sum is cut into blocks of fixed length, whose sums are added in their order in float64: exact enough for any map, and
the same for any number of threads.
"""

import numpy as np

from npseg.checks import Array
from npseg.engines.numba.compiling import empty_like, on_all_cores, plain
from npseg.geometry import ceil_divide

BLOCK = 1 << 9
"""Numbers that are added in their own precision before the sum goes on in float64: about as exact as NumPy's sums."""

TASK = 1 << 14
"""Numbers that a thread takes at once."""


def relu(x: Array) -> Array:
    """max(x, 0), where NaN stays NaN."""
    y = empty_like(x)
    _relu(ceil_divide(x.size, TASK), row(x), row(y))
    return y


def relu_backward(grad: Array, y: Array) -> Array:
    """The gradient where y is positive or NaN, else 0."""
    grad_x = empty_like(grad)
    _relu_backward(ceil_divide(y.size, TASK), row(grad), row(y), row(grad_x))
    return grad_x


def relu6(x: Array) -> Array:
    """min(max(x, 0), 6), where NaN stays NaN."""
    y = empty_like(x)
    _relu6(ceil_divide(x.size, TASK), row(x), row(y))
    return y


def relu6_backward(grad: Array, y: Array) -> Array:
    """The gradient where y lies between 0 and 6 or is NaN, else 0."""
    grad_x = empty_like(grad)
    _relu6_backward(ceil_divide(y.size, TASK), row(grad), row(y), row(grad_x))
    return grad_x


def bias_gradient(grad: Array) -> Array:
    """(C,): the sum over images and positions of (N, C, H, W)."""
    sums = np.empty(grad.shape[1], grad.dtype)
    _bias_gradient(grad.shape[1], planes(grad), sums)
    return sums


def relu_and_bias_gradient(grad: Array, y: Array) -> tuple[Array, Array]:
    """`relu_backward` of (N, C, H, W), and the result's `bias_gradient`."""
    grad_sums, grad_bias = empty_like(grad), np.empty(grad.shape[1], grad.dtype)
    _relu_and_bias_gradient(grad.shape[1], planes(grad), planes(y), planes(grad_sums), grad_bias)
    return grad_sums, grad_bias


def row(x: Array) -> Array:
    """All numbers in one row; a view where they lie so already, as do those of the two forms below."""
    return plain(x).reshape(-1)


def rows(x: Array) -> Array:
    """(N, H, W) -> (N, H * W)."""
    batch, height, width = x.shape
    return plain(x).reshape(batch, height * width)


def planes(x: Array) -> Array:
    """(N, C, H, W) -> (N, C, H * W)."""
    batch, channels, height, width = x.shape
    return plain(x).reshape(batch, channels, height * width)


@on_all_cores()
def _relu(task: int, x: Array, y: Array) -> None:
    here = slice(task * TASK, task * TASK + TASK)
    values, results = x[here], y[here]
    for i in range(len(values)):
        results[i] = x.dtype.type(0) if values[i] <= x.dtype.type(0) else values[i]


@on_all_cores()
def _relu_backward(task: int, grad: Array, y: Array, grad_x: Array) -> None:
    here = slice(task * TASK, task * TASK + TASK)
    g, outputs, results = grad[here], y[here], grad_x[here]
    for i in range(len(outputs)):
        results[i] = y.dtype.type(0) if outputs[i] <= y.dtype.type(0) else g[i]


@on_all_cores()
def _relu6(task: int, x: Array, y: Array) -> None:
    here = slice(task * TASK, task * TASK + TASK)
    values, results = x[here], y[here]
    zero, six = x.dtype.type(0), x.dtype.type(6)
    for i in range(len(values)):
        value = zero if values[i] <= zero else values[i]
        results[i] = six if value >= six else value


@on_all_cores()
def _relu6_backward(task: int, grad: Array, y: Array, grad_x: Array) -> None:
    here = slice(task * TASK, task * TASK + TASK)
    g, outputs, results = grad[here], y[here], grad_x[here]
    zero, six = y.dtype.type(0), y.dtype.type(6)
    for i in range(len(outputs)):
        stopped = (outputs[i] <= zero) | (outputs[i] >= six)
        results[i] = zero if stopped else g[i]


@on_all_cores(reorder=True)
def _bias_gradient(c: int, grad: Array, sums: Array) -> None:
    batch, _, positions = grad.shape
    total = 0.0
    for n in range(batch):
        for first in range(0, positions, BLOCK):
            g = grad[n, c, first : first + BLOCK]
            part = grad.dtype.type(0)
            for i in range(len(g)):
                part += g[i]
            total += part
    sums[c] = total


@on_all_cores(reorder=True)
def _relu_and_bias_gradient(c: int, grad: Array, y: Array, grad_sums: Array, grad_bias: Array) -> None:
    batch, _, positions = grad.shape
    total = 0.0
    for n in range(batch):
        for first in range(0, positions, BLOCK):
            here = slice(first, first + BLOCK)
            g, outputs, results = grad[n, c, here], y[n, c, here], grad_sums[n, c, here]
            part = grad.dtype.type(0)
            for i in range(len(g)):
                results[i] = grad.dtype.type(0) if outputs[i] <= grad.dtype.type(0) else g[i]
                part += results[i]
            total += part
    grad_bias[c] = total
