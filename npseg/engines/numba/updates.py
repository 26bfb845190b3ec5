"""The optimisers' updates in one pass: each parameter is read and written once, together with all that belongs to it.

    SGD:   velocity  <- momentum * velocity - rate * (gradient + decay * parameter)
           parameter <- parameter + velocity
    Adam:  first     <- beta1 * first  + (1 - beta1) * gradient
           second    <- beta2 * second + (1 - beta2) * gradient^2
           parameter <- parameter * (1 - decay) - step_size * first / (sqrt(second) + epsilon)

The same pass finds out whether the new parameters are still finite numbers.
"""

import numpy as np

from npseg.checks import Array
from npseg.engines.numba.compiling import Task, on_all_cores
from npseg.engines.numba.pointwise import TASK, row


def sgd_update(
    parameter: Array, gradient: Array, velocity: Array, *, rate: float, momentum: float, decay: float
) -> bool:
    """One update in place; whether all parameters are finite after it."""
    return _updated(_sgd, gradient, [parameter, velocity], [rate, momentum, decay])


def adam_update(
    parameter: Array,
    gradient: Array,
    first: Array,
    second: Array,
    *,
    beta1: float,
    beta2: float,
    step_size: float,
    epsilon: float,
    decay: float,
) -> bool:
    """One update in place; whether all parameters are finite after it."""
    return _updated(
        _adam, gradient, [parameter, first, second], [beta1, 1 - beta1, beta2, 1 - beta2, step_size, epsilon, decay]
    )


def _updated(update: Task, gradient: Array, arrays: list[Array], numbers: list[float]) -> bool:
    """Run a kernel on arrays as one long row of numbers each; those that do not lie so in memory are copied back."""
    rows = [row(array) for array in arrays]
    finite = np.empty(-(-gradient.size // TASK), np.bool_)
    update(len(finite), row(gradient), *rows, *(gradient.dtype.type(number) for number in numbers), finite)
    for array, changed in zip(arrays, rows, strict=True):
        if not array.flags.c_contiguous:
            array[...] = changed.reshape(array.shape)
    return bool(finite.all())


@on_all_cores()
def _sgd(
    task: int,
    gradient: Array,
    parameter: Array,
    velocity: Array,
    rate: float,
    momentum: float,
    decay: float,
    finite: Array,
) -> None:
    largest = np.finfo(gradient.dtype).max
    here = slice(task * TASK, task * TASK + TASK)
    g, p, v = gradient[here], parameter[here], velocity[here]
    beyond = 0
    for i in range(len(p)):
        v[i] = momentum * v[i] - rate * (g[i] + decay * p[i])
        p[i] += v[i]
        beyond += not abs(p[i]) <= largest
    finite[task] = beyond == 0


@on_all_cores()
def _adam(
    task: int,
    gradient: Array,
    parameter: Array,
    first: Array,
    second: Array,
    beta1: float,
    rest1: float,
    beta2: float,
    rest2: float,
    step_size: float,
    epsilon: float,
    decay: float,
    finite: Array,
) -> None:
    largest = np.finfo(gradient.dtype).max
    here = slice(task * TASK, task * TASK + TASK)
    g, p, m, s = gradient[here], parameter[here], first[here], second[here]
    beyond = 0
    for i in range(len(p)):
        m[i] = beta1 * m[i] + rest1 * g[i]
        s[i] = beta2 * s[i] + rest2 * g[i] * g[i]
        p[i] -= decay * p[i] + step_size * m[i] / (np.sqrt(s[i]) + epsilon)
        beyond += not abs(p[i]) <= largest
    finite[task] = beyond == 0
