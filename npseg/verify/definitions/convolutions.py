"""Convolutions, their gradients, their columns, and their inverse."""

import itertools
import math
from typing import Any

import numpy as np

from npseg.checks import Array
from npseg.verify.definitions.windows import both, padded, padding_sides, seen, windows, windows_to_map, without_padding


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """Each output is the sum of its window times the kernel."""
    kernel, stride, dilation = weight.shape[2:], both(stride), both(dilation)
    x = padded(x, padding_sides(padding, x.shape[2:], kernel, stride, dilation))
    out_channels, group_channels = weight.shape[:2]
    entries = []
    for i, j, window in windows(x, kernel, stride, dilation):
        value = np.zeros((len(x), out_channels))
        for n, o in itertools.product(range(len(x)), range(out_channels)):
            first = (o * groups // out_channels) * group_channels
            value[n, o] = np.sum(window[n, first : first + group_channels] * weight[o]) + (
                0 if bias is None else bias[o]
            )
        entries.append((i, j, value))
    return windows_to_map(entries, (len(x), out_channels))


def conv2d_grad_input(
    grad: Array,
    weight: Array,
    input_size: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """Each gradient goes back to all pixels of its window, times the kernel; what lands on padding is cut off."""
    kernel, stride, dilation = weight.shape[2:], both(stride), both(dilation)
    sides = padding_sides(padding, input_size, kernel, stride, dilation)
    out_channels, group_channels = weight.shape[:2]
    x = padded(np.zeros((len(grad), group_channels * groups, *input_size)), sides)
    for n, o, i, j in np.ndindex(grad.shape):
        first = (o * groups // out_channels) * group_channels
        rows, columns = seen((i, j), kernel, stride, dilation)
        x[np.ix_([n], range(first, first + group_channels), rows, columns)] += grad[n, o, i, j] * weight[o]
    return without_padding(x, sides)


def conv2d_grad_weight(
    grad: Array,
    x: Array,
    kernel_size: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """Each weight meets a pixel in every window, and collects it times the window's gradient."""
    kernel, stride, dilation = both(kernel_size), both(stride), both(dilation)
    x = padded(x, padding_sides(padding, x.shape[2:], kernel, stride, dilation))
    out_channels, group_channels = grad.shape[1], x.shape[1] // groups
    grad_weight = np.zeros((out_channels, group_channels, *kernel))
    for i, j, window in windows(x, kernel, stride, dilation):
        for n, o in itertools.product(range(len(x)), range(out_channels)):
            first = (o * groups // out_channels) * group_channels
            grad_weight[o] += grad[n, o, i, j] * window[n, first : first + group_channels]
    return grad_weight


def depthwise_conv2d(x: Array, weight: Array, bias: Array | None = None, **arguments: Any) -> Array:
    """A convolution of its own for every channel."""
    multiplier = len(weight) // x.shape[1]
    channels = []
    for channel in range(len(weight)):
        source = channel // multiplier
        own_bias = None if bias is None else bias[channel : channel + 1]
        channels.append(conv2d(x[:, source : source + 1], weight[channel : channel + 1], own_bias, **arguments))
    return np.concatenate(channels, axis=1)


def separable_conv2d(
    x: Array, depthwise_weight: Array, pointwise_weight: Array, bias: Array | None = None, **arguments: Any
) -> Array:
    """Depthwise, then a weighted sum over the channels."""
    mixed = np.einsum("nchw,oc->nohw", depthwise_conv2d(x, depthwise_weight, **arguments), pointwise_weight[:, :, 0, 0])
    return np.asarray(mixed if bias is None else mixed + bias[:, None, None])


def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """Stamp the kernel on a large enough canvas, then cut off what padding says, or append."""
    kernel, stride, dilation, extra = weight.shape[2:], both(stride), both(dilation), both(output_padding)
    extent = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    full = [(n - 1) * s + e for n, s, e in zip(x.shape[2:], stride, extent, strict=True)]
    if padding == "same":
        size = [n * s for n, s in zip(x.shape[2:], stride, strict=True)]
        first = [max(0, e - s) // 2 for e, s in zip(extent, stride, strict=True)]
    else:
        sides = padding_sides(padding, None, kernel, stride, dilation)
        size = [f - sum(side) + p for f, side, p in zip(full, sides, extra, strict=True)]
        first = [side[0] for side in sides]

    in_channels, group_channels = weight.shape[:2]
    canvas = np.zeros((len(x), group_channels * groups, *(f + n for f, n in zip(full, size, strict=True))))
    for n, c, i, j in np.ndindex(x.shape):
        start = (c * groups // in_channels) * group_channels
        for o, k, l in np.ndindex(weight.shape[1:]):  # noqa: E741
            h, w = i * stride[0] + k * dilation[0], j * stride[1] + l * dilation[1]
            canvas[n, start + o, h, w] += x[n, c, i, j] * weight[c, o, k, l]
    y = canvas[:, :, first[0] : first[0] + size[0], first[1] : first[1] + size[1]]
    return y if bias is None else y + bias[:, None, None]


def im2col(x: Array, kernel_size: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Array:
    """Every window a column."""
    kernel, stride, dilation = both(kernel_size), both(stride), both(dilation)
    x = padded(x, padding_sides(padding, x.shape[2:], kernel, stride, dilation))
    columns = [window.reshape(len(x), -1) for _, _, window in windows(x, kernel, stride, dilation)]
    return np.stack(columns, axis=2)


def col2im(
    columns: Array, input_size: Any, kernel_size: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> Array:
    """Each column is added to the pixels of its window; what lands on padding is cut off."""
    kernel, stride, dilation = both(kernel_size), both(stride), both(dilation)
    sides = padding_sides(padding, input_size, kernel, stride, dilation)
    channels = columns.shape[1] // math.prod(kernel)
    x = padded(np.zeros((len(columns), channels, *input_size)), sides)
    places = padded(np.arange(math.prod(input_size)).reshape(1, 1, *input_size), sides)
    for place, (i, j, _) in enumerate(windows(places, kernel, stride, dilation)):
        rows, lines = seen((i, j), kernel, stride, dilation)
        x[np.ix_(range(len(x)), range(channels), rows, lines)] += columns[:, :, place].reshape(-1, channels, *kernel)
    return without_padding(x, sides)


def deconvolution_matrix(
    output_size: tuple[int, ...], kernel: Array, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> tuple[Array, tuple[int, ...]]:
    """The matrix of the convolution that is to be undone, found column by column, and the size of its image."""
    stride, dilation = both(stride), both(dilation)
    if padding == "same":
        size = tuple(n * s for n, s in zip(output_size, stride, strict=True))
    else:
        sides = padding_sides(padding, None, None, None, None)
        extents = [d * (k - 1) + 1 for d, k in zip(dilation, kernel.shape, strict=True)]
        size = tuple(
            (n - 1) * s + extent - sum(side)
            for n, s, extent, side in zip(output_size, stride, extents, sides, strict=True)
        )
    pixels = np.eye(math.prod(size)).reshape(-1, 1, *size)
    columns = conv2d(pixels, kernel[None, None], stride=stride, padding=padding, dilation=dilation)
    return columns.reshape(len(pixels), -1).T, size


def deconvolve2d(y: Array, kernel: Array, *, regularization: float = 0.0, **arguments: Any) -> Array:
    """The normal equations' minimiser of smallest norm."""
    matrix, size = deconvolution_matrix(y.shape, kernel, **arguments)
    if regularization == 0:
        return np.asarray(np.linalg.pinv(matrix) @ y.ravel()).reshape(size)
    normal = matrix.T @ matrix + regularization * np.eye(matrix.shape[1])
    return np.linalg.solve(normal, matrix.T @ y.ravel()).reshape(size)
