"""Convolution and transposed convolution: a weight stands in the matrix wherever its tap sees a real pixel."""

from dataclasses import dataclass

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.geometry import Padding, Pair, Size, Window, convolution_window, transposed_window
from npseg.matrices.sparse_matrix import SparseMatrix


@dataclass(frozen=True)
class ConvolutionTaps:
    """Every multiplication of a convolution of one image, sorted by output, then input: three equally long arrays.

    output[t] and input[t] are flat positions in (C_out, H_out, W_out) and (C_in, H, W), weight[t] one in the weights.
    """

    output: Array
    input: Array
    weight: Array


def convolution_taps(
    window: Window, input_size: Size, output_size: Size, weight_shape: tuple[int, ...], groups: int, name: str
) -> ConvolutionTaps:
    """The taps of a convolution: the pattern of its sparse matrix, and which weight stands in which place.

    `name` is the argument to blame where they would not fit in memory.
    """
    out_channels, group_channels, *kernel_size = weight_shape
    checks.fits_memory((out_channels, *output_size), 8, name, "the sparse matrix's rows")
    rows = window.rows.taps(input_size[0], output_size[0])
    columns = window.columns.taps(input_size[1], output_size[1])
    entries = out_channels, group_channels, len(rows.input), len(columns.input)
    checks.fits_memory(entries, 4 * 8, name, "the sparse matrix's entries")

    # One output channel first: (channel of the group, tap of a row, tap of a column).
    channel = np.arange(group_channels)[:, None, None]
    row, column = np.arange(len(rows.input))[:, None], np.arange(len(columns.input))
    plane = np.broadcast_to(
        rows.output[row] * output_size[1] + columns.output[column], (group_channels, row.size, column.size)
    ).ravel()
    pixel = ((channel * input_size[0] + rows.input[row]) * input_size[1] + columns.input[column]).ravel()
    weight = ((channel * kernel_size[0] + rows.kernel[row]) * kernel_size[1] + columns.kernel[column]).ravel()
    order = np.lexsort((pixel, plane))
    plane, pixel, weight = plane[order], pixel[order], weight[order]

    # Every other output channel sees the same taps, through its own weights, in its own group's channels.
    out_channel = np.arange(out_channels)[:, None]
    group = out_channel // (out_channels // groups)
    return ConvolutionTaps(
        output=(out_channel * (output_size[0] * output_size[1]) + plane).ravel(),
        input=(group * (group_channels * input_size[0] * input_size[1]) + pixel).ravel(),
        weight=(out_channel * (group_channels * kernel_size[0] * kernel_size[1]) + weight).ravel(),
    )


def convolution_matrix(
    window: Window, input_size: Size, output_size: Size, weight: Array, groups: int, name: str
) -> SparseMatrix:
    """The matrix of a convolution whose geometry is already parsed; `name` as in `convolution_taps`."""
    taps = convolution_taps(window, input_size, output_size, weight.shape, groups, name)
    shape = (
        weight.shape[0] * output_size[0] * output_size[1],
        groups * weight.shape[1] * input_size[0] * input_size[1],
    )
    return SparseMatrix.from_taps(taps.output, taps.input, weight.ravel()[taps.weight], shape)


def conv2d_matrix(
    weight: Array,
    input_size: Size,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> SparseMatrix:
    """The convolution of one image as a matrix: `conv2d(x)[n].ravel() == matrix @ x[n].ravel()`.

    Args:
        weight: (C_out, C_in // groups, K_h, K_w).
        input_size: (H, W) of the image.
        stride, padding, dilation, groups: as in `npseg.ops.conv2d`.

    Returns:
        (C_out * H_out * W_out, C_in * H * W), of the weight's dtype.

    >>> kernel = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    >>> matrix = conv2d_matrix(kernel, (4, 4))
    >>> matrix.shape, matrix.nnz
    ((4, 16), 36)
    >>> matrix.toarray()[0].reshape(4, 4)
    array([[1., 2., 3., 0.],
           [4., 5., 6., 0.],
           [7., 8., 9., 0.],
           [0., 0., 0., 0.]])
    """
    weight, groups = check_convolution_weight(weight, groups)
    input_size = checks.size(input_size, "input_size")
    window = convolution_window(
        weight.shape[2:], input_size, stride=stride, padding=padding, dilation=dilation, argument="weight"
    )
    blamed = "padding" if window.mostly_padding(input_size) else "input_size"
    return convolution_matrix(window, input_size, window.output_size(input_size), weight, groups, blamed)


def conv_transpose2d_matrix(
    weight: Array,
    input_size: Size,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> SparseMatrix:
    """The transposed convolution of one image as a matrix: the transpose of a convolution's, with weights of its own.

    Args:
        weight: (C_in, C_out // groups, K_h, K_w).
        input_size: (H, W) of the map that is to be enlarged.
        stride, padding, output_padding, dilation, groups: as in `npseg.ops.conv_transpose2d`.

    Returns:
        (C_out * H_out * W_out, C_in * H * W), of the weight's dtype.

    >>> conv_transpose2d_matrix(np.ones((1, 1, 3, 3)), (2, 2)).shape
    (16, 4)
    """
    weight, groups = check_convolution_weight(weight, groups)
    input_size = checks.size(input_size, "input_size")
    window = transposed_window(
        weight.shape[2:], input_size, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation
    )
    output_size = window.input_size(input_size)
    blamed = window.enlarged_by(input_size, image="input_size")
    checks.fits_memory((weight.shape[1] * groups, *output_size), 8, blamed, "the sparse matrix's rows")
    return convolution_matrix(window, output_size, input_size, weight, groups, "input_size").T


def check_convolution_weight(weight: Array, groups: int) -> tuple[Array, int]:
    """A weight of four axes whose first is divisible into groups."""
    weight = checks.floats(weight, "weight", "(C_out, C_in // groups, K_h, K_w)")
    checks.fits_memory(weight.shape, weight.itemsize, "weight", "its gradient or copy")
    groups = checks.integer(groups, "groups", at_least=1)
    if weight.shape[0] % groups:
        raise ValueError(f"groups must divide the {weight.shape[0]} channels that weight comes with, got {groups}")
    return weight, groups
