"""im2col and col2im: windows copied out into columns, and columns added back into an image."""

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.engines.columns import add_columns, fill_columns
from npseg.geometry import Padding, Pair, Size, convolution_window
from npseg.ops import arguments
from npseg.ops.examples import BadExample, Example


@np.errstate(all="ignore")
def im2col(x: Array, kernel_size: Pair, *, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1) -> Array:
    """Copy each window into a column.

        columns[n, (c * K_h + k) * K_w + l, i * W_out + j] = x[n, c, i * s_h - top + k * d_h, j * s_w - left + l * d_w]

    Args:
        x: (N, C, H, W).
        kernel_size: taps of the window, an int or (K_h, K_w).
        stride: pixels from one window to the next.
        padding: zeros around the image: an int, (h, w), ((top, bottom), (left, right)), "valid" or "same".
        dilation: pixels from one tap to the next.

    Returns:
        (N, C * K_h * K_w, H_out * W_out), H_out = floor((H + top + bottom - d_h * (K_h - 1) - 1) / s_h) + 1.

    Raises:
        TypeError, ValueError: an argument is not of this form, no window fits, or the result exceeds 64 GiB.

    `col2im` is its adjoint. Named im2col in Caffe (Chellapilla, Puri, Simard 2006 had the idea), unfold in PyTorch.

    Lesson: notebooks/02_convolution.ipynb

    >>> im2col(np.arange(9.0).reshape(1, 1, 3, 3), 2)[0]
    array([[0., 1., 3., 4.],
           [1., 2., 4., 5.],
           [3., 4., 6., 7.],
           [4., 5., 7., 8.]])
    """
    x = arguments.images(x)
    size = arguments.size_of(x)
    window = convolution_window(kernel_size, size, stride=stride, padding=padding, dilation=dilation)
    outputs = window.output_size(size)
    batch, channels = x.shape[:2]
    shape = batch, channels, *window.kernel_size, *outputs
    arguments.result_fits(shape, x, "x", lambda: arguments.blamed(window, size, "kernel_size"))
    columns = np.empty(shape, x.dtype)
    fill_columns(columns.transpose(1, 2, 3, 0, 4, 5), x, window)
    return columns.reshape(batch, channels * window.area, outputs[0] * outputs[1])


@np.errstate(all="ignore")
def col2im(
    columns: Array,
    input_size: Size,
    kernel_size: Pair,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
) -> Array:
    """Add every column back to the window it was copied from: the adjoint of `im2col`.

        x[n, c, h, w] = the sum of columns[n, (c * K_h + k) * K_w + l, i * W_out + j] over all taps that see (h, w)

    It does not undo `im2col`: a pixel seen by five windows comes back five times.

    Args:
        columns: (N, C * K_h * K_w, H_out * W_out).
        input_size: (H, W) of the image that the columns are from.
        kernel_size, stride, padding, dilation: as in `im2col`.

    Returns:
        (N, C, H, W).

    Raises:
        TypeError, ValueError: an argument is not of this form, or the sizes do not belong together.

    Lesson: notebooks/03_convolution_backward.ipynb

    >>> col2im(np.ones((1, 4, 4)), (3, 3), 2)[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    columns = checks.floats(columns, "columns", "(N, C * K_h * K_w, H_out * W_out)")
    size = checks.size(input_size, "input_size")
    window = convolution_window(kernel_size, size, stride=stride, padding=padding, dilation=dilation)
    outputs = window.output_size(size)
    batch, rows, positions = columns.shape
    if rows % window.area or positions != outputs[0] * outputs[1]:
        raise ValueError(
            f"columns must have shape (N, C * {window.area}, {outputs[0]} * {outputs[1]} = {outputs[0] * outputs[1]}) "
            f"for kernel_size {window.kernel_size} on input_size {size}, got {columns.shape}"
        )
    channels = rows // window.area
    arguments.result_fits((batch, channels, *size), columns, "columns", "input_size")
    x = np.zeros((batch, channels, *size), columns.dtype)
    by_tap = columns.reshape(batch, channels, *window.kernel_size, *outputs)
    add_columns(x, by_tap.transpose(1, 2, 3, 0, 4, 5), window)
    return x


EXAMPLES = [
    Example("im2col", {"x": (2, 3, 5, 7)}, {"kernel_size": (3, 2), "stride": (2, 1), "padding": ((1, 0), (2, 1))}),
    Example("im2col", {"x": (1, 2, 6, 5)}, {"kernel_size": 2, "dilation": (1, 3), "padding": "same", "stride": (1, 2)}),
    Example("col2im", {"columns": (2, 12, 16)}, {"input_size": (5, 6), "kernel_size": (2, 3)}),
    Example("col2im", {"columns": (1, 4, 6)}, {"input_size": (4, 5), "kernel_size": 2, "stride": 2, "padding": (1, 0)}),
]

BAD_EXAMPLES = [
    BadExample("im2col", {"x": (1, 1, 3, 3)}, {"kernel_size": 4}, "kernel_size"),
    BadExample("im2col", {"x": (1, 1, 3, 3)}, {"kernel_size": 0}, "kernel_size"),
    BadExample("im2col", {"x": (1, 3, 3)}, {"kernel_size": 2}, "x"),
    BadExample("im2col", {"x": (1, 1, 3, 3)}, {"kernel_size": 2, "padding": 10**9}, "padding"),
    BadExample("col2im", {"columns": (1, 4, 5)}, {"input_size": (3, 3), "kernel_size": 2}, "columns"),
    BadExample("col2im", {"columns": (1, 5, 4)}, {"input_size": (3, 3), "kernel_size": 2}, "columns"),
]
