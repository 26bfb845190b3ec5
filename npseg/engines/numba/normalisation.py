"""Batch normalisation, channel by channel: a channel of all images often fits a cache, and needs nothing of the others.

    batch_norm:           mean = sum of x / m,  var = sum of (x - mean)^2 / m        (or both as they are given)
                          y = x_hat * gamma + beta,  x_hat = (x - mean) / sqrt(var + eps)
    batch_norm_backward:  grad_beta = sum of grad,  grad_gamma = sum of grad * x_hat,
                          grad_x = (grad - grad_beta / m - x_hat * grad_gamma / m) * gamma / sqrt(var + eps)

with sums over the m = N * H * W values of a channel, each cut into blocks as in `pointwise`. Mean and variance take one
pass over memory: a block has its own, found while it lies in the cache, and two sets of values with n and k members, of
means a and b, have together the squares

    sum of both about their common mean = sum about a + sum about b + (b - a)^2 * n * k / (n + k)

Source: Chan, Golub, LeVeque, "Algorithms for computing the sample variance" (1983).
"""

import numpy as np

from npseg.checks import Array
from npseg.engines.numba.compiling import empty_like, on_all_cores, plain
from npseg.engines.numba.pointwise import BLOCK, planes


def batch_norm(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, of_batch: bool
) -> tuple[Array, Array, Array, Array]:
    """(N, C, H, W) normalised, and the mean, variance and inverse deviation used, (C,) each.

    Mean and variance are the batch's own, which must not be empty, or those given.
    """
    y, mean, var, inverse_std = empty_like(x), mean.copy(), var.copy(), np.empty_like(gamma)
    _batch_norm(
        x.shape[1], planes(x), plain(gamma), plain(beta), x.dtype.type(eps), of_batch, planes(y), mean, var, inverse_std
    )
    return y, mean, var, inverse_std


def batch_norm_backward(
    grad: Array, x: Array, gamma: Array, mean: Array, inverse_std: Array, training: bool
) -> tuple[Array, Array, Array]:
    """The gradients of x, gamma and beta; `training` is whether mean and deviation were the batch's own."""
    grad_x, grad_gamma, grad_beta = empty_like(x), np.empty_like(gamma), np.empty_like(gamma)
    _batch_norm_backward(
        x.shape[1],
        planes(grad),
        planes(x),
        plain(gamma),
        plain(mean),
        plain(inverse_std),
        training,
        planes(grad_x),
        grad_gamma,
        grad_beta,
    )
    return grad_x, grad_gamma, grad_beta


@on_all_cores(reorder=True)
def _batch_norm(
    c: int,
    x: Array,
    gamma: Array,
    beta: Array,
    eps: float,
    of_batch: bool,
    y: Array,
    mean: Array,
    var: Array,
    inverse_std: Array,
) -> None:
    batch, _, positions = x.shape
    if of_batch:
        count, total, centre, squares = 0, 0.0, 0.0, 0.0
        for n in range(batch):
            for first in range(0, positions, BLOCK):
                values = x[n, c, first : first + BLOCK]
                part = x.dtype.type(0)
                for i in range(len(values)):
                    part += values[i]
                here = x.dtype.type(part / len(values))
                part_squares = x.dtype.type(0)
                for i in range(len(values)):
                    part_squares += (values[i] - here) * (values[i] - here)
                total += part
                count += len(values)
                squares += part_squares + (here - centre) ** 2 * len(values) * (count - len(values)) / count
                centre += (here - centre) * len(values) / count
        mean[c], var[c] = total / count, squares / count
    inverse_std[c] = 1 / np.sqrt(var[c] + eps)
    centre_c, inverse_c, gamma_c, beta_c = mean[c], inverse_std[c], gamma[c], beta[c]
    for n in range(batch):
        values, results = x[n, c], y[n, c]
        for i in range(positions):
            results[i] = (values[i] - centre_c) * inverse_c * gamma_c + beta_c


@on_all_cores(reorder=True)
def _batch_norm_backward(
    c: int,
    grad: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    inverse_std: Array,
    training: bool,
    grad_x: Array,
    grad_gamma: Array,
    grad_beta: Array,
) -> None:
    batch, _, positions = x.shape
    centre, inverse = mean[c], inverse_std[c]
    of_gradients, of_products = 0.0, 0.0
    for n in range(batch):
        for first in range(0, positions, BLOCK):
            g, values = grad[n, c, first : first + BLOCK], x[n, c, first : first + BLOCK]
            gradients, products = x.dtype.type(0), x.dtype.type(0)
            for i in range(len(g)):
                gradients += g[i]
                products += g[i] * ((values[i] - centre) * inverse)
            of_gradients += gradients
            of_products += products
    grad_beta[c], grad_gamma[c] = of_gradients, of_products
    scale = gamma[c] * inverse
    a = x.dtype.type(of_gradients / (batch * positions))
    b = x.dtype.type(of_products / (batch * positions))
    for n in range(batch):
        g, values, results = grad[n, c], x[n, c], grad_x[n, c]
        if training:
            for i in range(positions):
                results[i] = (g[i] - a - (values[i] - centre) * inverse * b) * scale
        else:
            for i in range(positions):
                results[i] = g[i] * scale
