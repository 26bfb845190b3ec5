"""Depthwise convolution: too little arithmetic for a matrix product, so what counts is to read each pixel once.

Every channel has kernels of its own, and its plane fits a cache. A vector of neighbouring results is computed at a
time. Where it looks beside the image, its lanes are not loaded but zero, so nothing is padded or copied:

    for each image, channel, band of rows:                                            (shared among the threads)
        for each strip of `lanes` columns j:
            for each row i of the band:
                y[i, j] = bias + sum over taps (k, l) that see row h of x:  weight[k, l] * x[h, j * s - left + l * d]

Mostly the kernel is 3x3, with stride 1 or 2. Then the strip runs down the rows of x instead, with three sums open at a
time: row h of x is the bottom row that one row of results waits for, the middle one of the next, and the top one of the
one after that (with stride 2, every second row is the bottom row of one and the top row of the next). So each row is
loaded once, not three times. Both gradients run down the rows alike.

The gradient of x has the same form with the kernel turned around; where the convolution has a stride, pixels that are
`stride` apart form a phase, which only some taps reach. The gradient of the weight adds up grad * x for every tap, band
by band of rows; then the bands' sums are added in their order.
"""

import math
from dataclasses import replace

import numpy as np

from npseg import buffers
from npseg.checks import Array
from npseg.engines.numba.compiling import Task, plain
from npseg.engines.numba.depthwise import any_window, three_by_three
from npseg.engines.numba.depthwise.taps import bands_of, prepared, strips_in_turns, taps_of
from npseg.engines.numba.pointwise import BLOCK
from npseg.geometry import Size, Window


def depthwise_conv(x: Array, weight: Array, window: Window, bias: Array | None = None, relu: bool = False) -> Array:
    """The convolution of every channel with kernels of its own.

    Args:
        x: (N, C, H, W).
        weight: (C * multiplier, 1, K_h, K_w); output channel c * multiplier + a belongs to input channel c.
        window: what each output sees.
        bias: (C * multiplier,), added while the result is stored, or None.
        relu: whether to cut off the negative; NaN stays NaN.

    Returns:
        (N, C * multiplier, H_out, W_out).
    """
    y = buffers.empty((len(x), len(weight), *window.output_size((x.shape[2], x.shape[3]))), x.dtype)
    bias = np.zeros(len(weight), x.dtype) if bias is None else plain(bias)
    _correlate(x, weight, bias, y, window, (window.rows.stride, window.columns.stride), (1, 1), relu)
    return y


def depthwise_grad_input(grad: Array, weight: Array, size: Size, window: Window, channels: int) -> Array:
    """The gradient of x, given that of y: what each pixel was seen by, through the kernel turned around.

    Args:
        grad: (N, C * multiplier, H_out, W_out).
        weight: (C * multiplier, 1, K_h, K_w).
        size: (H, W) of x.
        window: of the convolution.
        channels: C.

    Returns:
        (N, C, H, W).
    """
    grad_x = buffers.empty((len(grad), channels, *size), grad.dtype)
    if _is_3x3(window, stride=2) and len(weight) == channels:
        top, left = window.rows.before, window.columns.before
        pair, seen, stored = strips_in_turns(left, grad.shape[3], size[1], grad.itemsize)
        begin, end = three_by_three.pairs_of_rows(top, size[0])
        tasks = len(grad) * channels * bands_of(end - begin, 2 * size[1])
        weight = plain(weight).reshape(channels, 9)
        three_by_three.spread(tasks, plain(grad), weight, grad_x, top, left, pair, seen, stored)
        return grad_x
    bias, phases = np.zeros(channels, grad.dtype), (window.rows.stride, window.columns.stride)
    _correlate(grad, weight[:, :, ::-1, ::-1], bias, grad_x, _turned_around(window), (1, 1), phases, False)
    return grad_x


def depthwise_grad_weight(x: Array, grad: Array, window: Window) -> Array:
    """The gradient of the weight.

    Args:
        x: (N, C, H, W).
        grad: (N, C * multiplier, H_out, W_out), the gradient of y.
        window: of the convolution.

    Returns:
        (C * multiplier, 1, K_h, K_w).
    """
    strides = window.rows.stride, window.columns.stride
    taps = taps_of(window, strides, (1, 1), _size(x), _size(grad), x.itemsize)
    band = -(-BLOCK // grad.shape[3])
    parts = buffers.zeros((len(x), -(-grad.shape[2] // band), grad.shape[1], window.area), x.dtype)
    tasks = math.prod(parts.shape[:3])
    if _is_3x3(window, strides[0]) and strides[0] <= 2 and taps.table.shape[1] == 9:
        add_up = three_by_three.add_up if strides[0] == 1 else three_by_three.add_up_by_two
        add_up(tasks, plain(x), plain(grad), parts, band, window.rows.before, taps.table, taps.stored)
    else:
        image, (_, add_up) = _at_most_two_apart(x, strides[1])
        table = taps.table, taps.stored
        add_up(tasks, image, plain(grad), parts, band, *table, strides[0], taps.kernel_columns)
    total: Array = parts.sum(axis=(0, 1), dtype=np.float64)
    return total.astype(x.dtype).reshape(-1, 1, *window.kernel_size)


def _correlate(
    source: Array, weight: Array, bias: Array, y: Array, window: Window, strides: Size, phases: Size, relu: bool
) -> None:
    """Write y: result i of an axis looks at positions (i * stride - before + k * dilation) / phases, where whole."""
    taps = taps_of(window, strides, phases, _size(source), _size(y), y.itemsize)
    weight = plain(weight).reshape(len(weight), window.area)
    special = phases == (1, 1) and strides[0] <= 2 and _is_3x3(window, strides[0])
    if special and source.shape[1] <= y.shape[1] and taps.table.shape[1] == 9:
        run = three_by_three.run if strides[0] == 1 else three_by_three.run_by_two
        tasks = y.shape[0] * y.shape[1] * bands_of(y.shape[2], y.shape[3])
        run(tasks, plain(source), weight, bias, y, window.rows.before, taps.table, taps.stored, relu)
        return
    source, (run, _) = _at_most_two_apart(source, strides[1])
    results = y if phases[1] <= 2 else buffers.empty((*y.shape[:3], -(-y.shape[3] // phases[1]) * phases[1]), y.dtype)
    table = taps.starts, taps.table, taps.stored
    tasks = y.shape[0] * y.shape[1] * phases[0] * bands_of(-(-y.shape[2] // phases[0]), results.shape[3])
    run(tasks, source, weight, bias, results, *table, strides[0], phases[0], relu)
    if results is not y:
        in_turns = results.reshape(*y.shape[:3], phases[1], -1).swapaxes(3, 4)
        y[...] = in_turns.reshape(results.shape)[..., : y.shape[3]]


def _at_most_two_apart(source: Array, stride: int) -> tuple[Array, tuple[Task, Task]]:
    """Images whose pixels that are `stride` apart lie one or two apart, and the kernels for which of both.

    With a stride above 2 the columns are sorted: every `stride`-th one, then their right neighbours, and so on.
    """
    if stride <= 2:
        return plain(source), any_window.ONE_APART if stride == 1 else any_window.TWO_APART
    count = -(-source.shape[3] // stride)
    padded = np.zeros((*source.shape[:3], count * stride), source.dtype)
    padded[..., : source.shape[3]] = source
    return plain(padded.reshape(*source.shape[:3], count, stride).swapaxes(3, 4)).reshape(
        padded.shape
    ), any_window.ONE_APART


@prepared
def _turned_around(window: Window) -> Window:
    """The window through which a pixel is seen, where a stride leaves gaps between the outputs."""
    rows, columns = (replace(axis, before=axis.extent - 1 - axis.before) for axis in window.axes)
    return Window(rows, columns)


@prepared
def _is_3x3(window: Window, stride: int) -> bool:
    """Whether it is 3x3, with this stride and no dilation."""
    return all((axis.kernel_size, axis.stride, axis.dilation) == (3, stride, 1) for axis in window.axes)


def _size(x: Array) -> Size:
    return x.shape[2], x.shape[3]
