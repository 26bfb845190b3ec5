"""Normalisation: over the batch, or over neighbouring channels."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.engines import own_form
from npseg.ops import arguments
from npseg.ops.examples import BadExample, Example


class BatchNormSaved(NamedTuple):
    """What the backward pass needs: the statistics used, (C,) each, and whether they were the batch's own."""

    mean: Array
    inverse_std: Array
    training: bool


@np.errstate(all="ignore")
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
) -> tuple[Array, BatchNormSaved]:
    """Give every channel mean beta and standard deviation gamma.

        y[n, c, h, w] = gamma[c] * (x[n, c, h, w] - mean[c]) / sqrt(var[c] + eps) + beta[c]

    Args:
        x: (N, C, H, W).
        gamma, beta: (C,).
        running_mean, running_var: (C,). While training they are updated in place, new = (1 - momentum) * old +
            momentum * batch, with the unbiased variance (divided by count - 1); otherwise they are the mean and var
            that are used.
        training: normalise with the batch's own mean and biased variance (divided by count).
        momentum: the weight of the newest batch.
        eps: added to the variance, at least 0.

    Returns:
        y of x's shape, and what `batch_norm2d_backward` needs.

    Raises:
        TypeError: arguments are of the wrong type, or dtypes differ.
        ValueError: shapes do not fit; while training, one value per channel, or running arrays that are read-only.

    An empty batch (N = 0) leaves the running statistics alone. Source: Ioffe, Szegedy, "Batch normalization" (2015).

    Lesson: notebooks/03_convolution_backward.ipynb

    >>> x = np.array([1.0, 3.0]).reshape(2, 1, 1, 1)
    >>> mean, var = np.zeros(1), np.ones(1)
    >>> y, saved = batch_norm2d(x, np.ones(1), np.zeros(1), mean, var, training=True, eps=0.0)
    >>> y.ravel(), mean, var
    (array([-1.,  1.]), array([0.2]), array([1.1]))
    """
    x = arguments.images(x)
    channels = x.shape[1]
    given = {"gamma": gamma, "beta": beta, "running_mean": running_mean, "running_var": running_var}
    checked = {name: arguments.vector(value, name, channels, "one for each channel") for name, value in given.items()}
    checks.same_dtype(x=x, **checked)
    checks.fits_memory(x.shape, x.itemsize, "x")
    training = checks.flag(training, "training")
    momentum = checks.number(momentum, "momentum")
    eps = checks.number(eps, "eps", at_least=0.0)

    count = len(x) * x.shape[2] * x.shape[3]
    mean, var = checked["running_mean"].copy(), checked["running_var"]
    if training:
        _check_training(x, count, running_mean, running_var)
        mean, var = np.zeros((2, channels), x.dtype)  # of an empty batch
    of_batch = training and count > 0
    normalise = own_form("batch_norm") or _batch_norm
    y, mean, var, inverse_std = normalise(x, checked["gamma"], checked["beta"], mean, var, eps, of_batch)
    if of_batch:
        running_mean[...] = (1 - momentum) * running_mean + momentum * mean
        running_var[...] = (1 - momentum) * running_var + momentum * (var * (count / (count - 1)))
    return y, BatchNormSaved(mean, inverse_std, training)


def _check_training(x: Array, count: int, running_mean: Array, running_var: Array) -> None:
    for name, running in (("running_mean", running_mean), ("running_var", running_var)):
        if not running.flags.writeable:
            raise ValueError(f"{name} must be writeable while training, got a read-only array")
    if count == 1:
        raise ValueError(f"x must have more than one value per channel while training, got shape {x.shape}")


def _batch_norm(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, of_batch: bool
) -> tuple[Array, Array, Array, Array]:
    """y, and the mean, variance and inverse deviation used: the batch's own, or those given."""
    if of_batch:
        mean = x.mean(axis=(0, 2, 3))
        var = np.square(x - _per_channel(mean)).mean(axis=(0, 2, 3))
    inverse_std = 1 / np.sqrt(var + eps)
    y = _normalised(x, mean, inverse_std)
    y *= _per_channel(gamma)
    y += _per_channel(beta)
    return y, mean, var, inverse_std


@np.errstate(all="ignore")
def batch_norm2d_backward(grad: Array, x: Array, gamma: Array, saved: BatchNormSaved) -> tuple[Array, Array, Array]:
    """The gradients of `batch_norm2d` with respect to x, gamma and beta, in both modes.

        grad_beta[c]  = sum of grad
        grad_gamma[c] = sum of grad * x_hat,  x_hat = (x - mean) * inverse_std
        grad_x        = gamma * inverse_std * grad                                               (running statistics)
        grad_x        = gamma * inverse_std * (grad - grad_beta / m - x_hat * grad_gamma / m)    (the batch's own)

    with sums over n, h, w, and m = N * H * W: mean and variance depend on every x of the channel.

    Args:
        grad: (N, C, H, W), the loss's gradient with respect to y.
        x, gamma: as given to `batch_norm2d`.
        saved: from `batch_norm2d`.

    Returns:
        grad_x, grad_gamma, grad_beta.

    Raises:
        TypeError, ValueError: arguments are not of this form or do not fit together.

    Lesson: notebooks/03_convolution_backward.ipynb

    >>> x = np.array([1.0, 3.0]).reshape(2, 1, 1, 1)
    >>> _, saved = batch_norm2d(x, np.ones(1), np.zeros(1), np.zeros(1), np.ones(1), training=True, eps=0.0)
    >>> batch_norm2d_backward(np.array([0.0, 1.0]).reshape(2, 1, 1, 1), x, np.ones(1), saved)[1:]
    (array([1.]), array([1.]))
    """
    x = arguments.images(x)
    gamma = arguments.vector(gamma, "gamma", x.shape[1], "one for each channel")
    grad = arguments.gradient(grad, x.shape, "x's")
    if not isinstance(saved, BatchNormSaved):
        raise TypeError(f"saved must come from batch_norm2d, got {checks.describe(saved)}")
    mean, inverse_std = (
        arguments.vector(statistic, "saved", x.shape[1], "one for each channel")
        for statistic in (saved.mean, saved.inverse_std)
    )
    checks.same_dtype(grad=grad, x=x, gamma=gamma, saved=mean)
    checks.same_dtype(x=x, saved=inverse_std)
    saved = BatchNormSaved(mean, inverse_std, checks.flag(saved.training, "saved"))

    own = own_form("batch_norm_backward")
    if own is not None:
        gradients: tuple[Array, Array, Array] = own(grad, x, gamma, *saved)
        return gradients
    normalised = _normalised(x, saved.mean, saved.inverse_std)
    grad_beta = grad.sum(axis=(0, 2, 3))
    grad_gamma = (grad * normalised).sum(axis=(0, 2, 3))
    grad_x = grad
    if saved.training and x.size:
        count = len(x) * x.shape[2] * x.shape[3]
        grad_x = grad - _per_channel(grad_beta / count) - normalised * _per_channel(grad_gamma / count)
    return grad_x * _per_channel(gamma * saved.inverse_std), grad_gamma, grad_beta


def _normalised(x: Array, mean: Array, inverse_std: Array) -> Array:
    return np.asarray((x - _per_channel(mean)) * _per_channel(inverse_std))


def _per_channel(values: Array) -> Array:
    """(C,) lined up with (N, C, H, W)."""
    return values[:, None, None]


@np.errstate(all="ignore")
def local_response_norm(x: Array, size: int, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Array:
    """Divide each value by the activity of the channels around it.

        y[n, c, h, w] = x[n, c, h, w] / s[n, c, h, w] ^ beta
        s[n, c, h, w] = k + alpha / size * sum over b = c - size // 2 ... c + (size - 1) // 2 of x[n, b, h, w]^2

    Args:
        x: (N, C, H, W).
        size: how many channels the sum spans; those beyond the first or last count as 0.
        alpha, beta, k: finite numbers; alpha is divided by size, as in Caffe and PyTorch.

    Returns:
        (N, C, H, W).

    Raises:
        TypeError, ValueError: arguments are not of this form.

    Source: Krizhevsky, Sutskever, Hinton (2012), section 3.3.

    Lesson: notebooks/03_convolution_backward.ipynb

    >>> local_response_norm(np.full((1, 1, 1, 1), 2.0), 1, alpha=1.0, beta=1.0, k=0.0)
    array([[[[0.5]]]])
    """
    x = arguments.images(x)
    size, alpha, beta, k = _response_arguments(size, alpha, beta, k)
    checks.fits_memory(x.shape, x.itemsize, "x")
    return np.asarray(x * _response_scale(x, size, alpha, k) ** -beta)


@np.errstate(all="ignore")
def local_response_norm_backward(
    grad: Array, x: Array, size: int, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Array:
    """The gradient of `local_response_norm`.

        grad_x[c] = grad[c] * s[c]^-beta - 2 alpha beta / size * x[c] * sum over the b whose span holds c of
                    grad[b] * x[b] * s[b]^(-beta - 1)

    Args:
        grad: (N, C, H, W), the loss's gradient with respect to y.
        x, size, alpha, beta, k: as given to `local_response_norm`.

    Returns:
        (N, C, H, W).

    Raises:
        TypeError, ValueError: arguments are not of this form or do not fit together.

    Lesson: notebooks/03_convolution_backward.ipynb

    >>> x = np.full((1, 1, 1, 1), 2.0)
    >>> local_response_norm_backward(np.ones((1, 1, 1, 1)), x, 1, alpha=1.0, beta=1.0, k=0.0)
    array([[[[-0.25]]]])
    """
    x = arguments.images(x)
    grad = arguments.gradient(grad, x.shape, "x's")
    checks.same_dtype(grad=grad, x=x)
    size, alpha, beta, k = _response_arguments(size, alpha, beta, k)
    scale = _response_scale(x, size, alpha, k)
    shared = np.zeros_like(x)
    for centre, neighbour in _channel_pairs(x.shape[1], size):
        shared[:, neighbour] += grad[:, centre] * x[:, centre] * scale[:, centre] ** (-beta - 1)
    return np.asarray(grad * scale**-beta - (2 * alpha * beta / size) * x * shared)


def _response_arguments(size: Any, alpha: Any, beta: Any, k: Any) -> tuple[int, float, float, float]:
    return (
        checks.integer(size, "size", at_least=1),
        checks.number(alpha, "alpha"),
        checks.number(beta, "beta"),
        checks.number(k, "k"),
    )


def _response_scale(x: Array, size: int, alpha: float, k: float) -> Array:
    """s of the definition."""
    squares = np.square(x)
    total = np.zeros_like(x)
    for centre, neighbour in _channel_pairs(x.shape[1], size):
        total[:, centre] += squares[:, neighbour]
    return np.asarray(k + alpha / size * total)


def _channel_pairs(channels: int, size: int) -> Iterator[tuple[slice, slice]]:
    """For each distance within the span: the channels that have a neighbour there, and these neighbours."""
    for distance in range(max(-(size // 2), 1 - channels), min((size - 1) // 2, channels - 1) + 1):
        first, last = max(0, -distance), min(channels, channels - distance)
        yield slice(first, last), slice(first + distance, last + distance)


EXAMPLES = [
    Example("local_response_norm", {"x": (2, 5, 3, 4)}, {"size": 3, "alpha": 0.7, "beta": 0.6, "k": 1.3}),
    Example("local_response_norm", {"x": (1, 6, 2, 3)}, {"size": 4, "alpha": 0.9}),
    Example("local_response_norm", {"x": (1, 2, 2, 3)}, {"size": 9, "alpha": 0.9}),
]

BAD_EXAMPLES = [
    BadExample("local_response_norm", {"x": (1, 2, 2, 3)}, {"size": 0}, "size"),
    BadExample("local_response_norm", {"x": (1, 2, 2, 3)}, {"size": 3, "alpha": float("nan")}, "alpha"),
    BadExample("local_response_norm_backward", {"grad": (1, 2, 3, 2), "x": (1, 2, 2, 3)}, {"size": 3}, "grad"),
    BadExample(
        "batch_norm2d",
        {"x": (1, 2, 2, 3), "gamma": (3,), "beta": (2,), "running_mean": (2,), "running_var": (2,)},
        {"training": False},
        "gamma",
    ),
    BadExample(
        "batch_norm2d",
        {"x": (1, 2, 1, 1), "gamma": (2,), "beta": (2,), "running_mean": (2,), "running_var": (2,)},
        {"training": True},
        "x",
    ),
    BadExample(
        "batch_norm2d",
        {"x": (1, 2, 1, 1), "gamma": (2,), "beta": (2,), "running_mean": (2,), "running_var": (2,)},
        {"training": False, "eps": -1.0},
        "eps",
    ),
]
