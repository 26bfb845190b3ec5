"""im2col with fewer copies: at a vertical stride of 1, the columns of one kernel row serve all kernel rows.

What output row i sees through kernel row k, output row i + k * dilation sees through kernel row 0. So the columns S of
a kernel of one row, made for `extent - 1` more rows than there are outputs, hold those of every kernel row: S_k is no
copy but a view, which begins k * dilation rows further.

    y = sum over k of W_k S_k          grad_W_k = grad S_k^T          W_k (C_out, C * K_w): the weights of kernel row k

Copied are K_w pixels per output, not K_h * K_w, and the products need no sorting into images, for each is made where it
belongs. Back to the image the same holds, for at stride 1 that is a convolution as well, with the kernel turned by 180
degrees.

Source: Cho and Brand, "MEC: Memory-efficient Convolution for Deep Neural Network" (2017), whose columns overlap too.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from npseg import buffers
from npseg.checks import Array
from npseg.engines.columns import Block, column_blocks, rows_at_once
from npseg.engines.finishing import finished
from npseg.geometry import Size, Window

LEAST_ROWS = 4
"""Rows of outputs in a block for each row that is made beside them: fewer, and the copies saved are spent on these."""

WEIGHT_COPY = 2
"""How much longer a weight takes to be sorted by kernel rows than a pixel to be copied."""

MOST_CHANNELS = 2
"""Channels of a gradient for each channel of the image: more, and the image's columns, though whole, are fewer."""


def pays(x: Array, out_channels: int, output_size: Size, window: Window) -> bool:
    """Whether these columns are the cheaper ones for a convolution of x (N, C, H, W)."""
    batch, channels = x.shape[:2]
    height, width = window.kernel_size
    if window.rows.stride > 1 or height == 1:
        return False
    outputs = batch * output_size[0] * output_size[1]
    saved = outputs * (channels * (height - 1) * width + out_channels)
    if saved < WEIGHT_COPY * out_channels * channels * window.area:
        return False
    more_rows = window.rows.extent - 1
    return rows_at_once(output_size, channels * width * x.itemsize, more_rows) >= LEAST_ROWS * more_rows


def grad_input_pays(grad: Array, weight: Array, channels: int, size: Size, window: Window) -> bool:
    """The same for the gradient of x (N, C, H, W), a convolution of `grad` where all strides are 1.

    Its padding, zeros around `grad`, must not meet a weight that is infinite: the product would not be 0.
    """
    if not window.rows.stride == window.columns.stride == 1 or grad.shape[1] > MOST_CHANNELS * channels:
        return False
    return pays(grad, channels, size, window.over_zero_stuffed()) and bool(np.isfinite(weight.sum()))


def conv(x: Array, weight: Array, window: Window, groups: int, bias: Array | None = None, relu: bool = False) -> Array:
    """(N, C_out, H_out, W_out): each kernel row's weights times its columns, added up in place."""
    out_channels, group_channels, height, width = weight.shape
    output_size = window.output_size((x.shape[2], x.shape[3]))
    y = buffers.empty((len(x), out_channels, *output_size), x.dtype)
    by_row = weight.reshape(groups, -1, group_channels, height, width).transpose(3, 0, 1, 2, 4)
    weights = by_row.reshape(height, groups, out_channels // groups, -1)
    for block, columns in _columns_by_row(x, output_size, window, groups):
        part = y[block.images, :, block.rows]
        sums = _by_group(part, groups)
        product = buffers.empty(sums.shape, x.dtype)
        for k, (weights_of_row, columns_of_row) in enumerate(zip(weights, columns, strict=True)):
            np.matmul(weights_of_row, columns_of_row, out=product if k else sums)
            if k:
                sums += product
        finished(part, bias, relu)
    return y


def conv_grad_input(grad: Array, weight: Array, window: Window, groups: int) -> Array:
    """(N, C_in, H, W): the convolution of the gradient with the kernel turned, inputs and outputs exchanged."""
    out_channels, group_channels, *kernel_size = weight.shape
    grouped = weight[:, :, ::-1, ::-1].reshape(groups, -1, group_channels, *kernel_size)
    turned = grouped.swapaxes(1, 2).reshape(groups * group_channels, out_channels // groups, *kernel_size)
    return conv(grad, turned, window.over_zero_stuffed(), groups)


def conv_grad_weight(x: Array, grad: Array, window: Window, groups: int) -> Array:
    """(C_out, C_in // groups, K_h, K_w): the gradient times each kernel row's columns, summed over all outputs."""
    out_channels, group_channels = grad.shape[1], x.shape[1] // groups
    height, width = window.kernel_size
    grad_weights = np.zeros((height, groups, out_channels // groups, group_channels * width), x.dtype)
    for block, columns in _columns_by_row(x, (grad.shape[2], grad.shape[3]), window, groups):
        part = _by_group(grad[block.images, :, block.rows], groups)
        for grad_of_row, columns_of_row in zip(grad_weights, columns, strict=True):
            grad_of_row += (part @ columns_of_row.swapaxes(2, 3)).sum(axis=0)
    by_row = grad_weights.reshape(height, out_channels, group_channels, width)
    return np.ascontiguousarray(by_row.transpose(1, 2, 0, 3))


def _columns_by_row(x: Array, output_size: Size, window: Window, groups: int) -> Iterator[tuple[Block, list[Array]]]:
    """Block by block, the columns of every kernel row: views (n, groups, C // groups * K_w, rows * W_out)."""
    one_row = Window(replace(window.rows, kernel_size=1), window.columns)
    more_rows = window.rows.extent - 1
    for block, columns in column_blocks(x, output_size, one_row, more_rows):
        images, rows, width = columns.shape[3:]
        by_group = columns.reshape(groups, -1, images, rows * width).transpose(2, 0, 1, 3)
        starts = range(0, more_rows + 1, window.rows.dilation)
        outputs = (rows - more_rows) * width
        yield block, [by_group[..., start * width : start * width + outputs] for start in starts]


def _by_group(maps: Array, groups: int) -> Array:
    """(n, C, rows, W) -> (n, groups, C // groups, rows * W): a view, so that a product can be made in it."""
    images, channels, rows, width = maps.shape
    return maps.reshape(images, groups, channels // groups, rows * width)
