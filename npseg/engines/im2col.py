"""Convolution as one matrix product: the columns of im2col.

Each window is copied out into a column of its own, (C * K_h * K_w,) tall, one column per output position. Then

    y = W columns          grad_columns = W^T grad          grad_W = grad columns^T

with the weight as a matrix W (C_out, C * K_h * K_w), group by group, and `col2im` adds overlapping columns back into an
image. The copy costs memory, K_h * K_w times the image, and buys the fastest loop there is: the matrix product.

The columns are made block by block (`columns`). Where one kernel row's columns serve all kernel rows, or the stride can
be sorted away, the same is done with fewer or longer copies (`kernel_rows`, `phases`).
"""

import numpy as np

from npseg import buffers, checks
from npseg.checks import Array
from npseg.engines import kernel_rows, phases
from npseg.engines.columns import add_columns, blocks, column_blocks
from npseg.engines.finishing import finished
from npseg.geometry import Axis, Size, Window
from npseg.matrices import SparseMatrix

OPTIONS: dict[str, tuple[str, ...]] = {}


def conv(x: Array, weight: Array, window: Window, groups: int, bias: Array | None = None, relu: bool = False) -> Array:
    """(N, C_out, H_out, W_out): the weight matrix times the columns; then, block by block, the bias and the ReLU."""
    if phases.pays(window):
        x, weight, window = phases.from_image(x, window), phases.from_weight(weight, window), phases.window_of(window)
    out_channels = weight.shape[0]
    output_size = window.output_size((x.shape[2], x.shape[3]))
    if kernel_rows.pays(x, out_channels, output_size, window):
        return kernel_rows.conv(x, weight, window, groups, bias, relu)
    y = buffers.empty((len(x), out_channels, *output_size), x.dtype)
    weights = weight.reshape(groups, out_channels // groups, -1)
    for block, columns in column_blocks(x, output_size, window):
        product = weights @ columns.reshape(groups, weights.shape[2], -1)
        part = y[block.images, :, block.rows]
        part[...] = _batch_first(product, out_channels, columns.shape[3:])
        finished(part, bias, relu)
    return y


def conv_grad_input(grad: Array, weight: Array, size: Size, window: Window, groups: int) -> Array:
    """(N, C_in, H, W): the transposed weight matrix times the gradient gives columns, and columns add to an image."""
    if phases.pays(window):
        phase_size = phases.size_of(window, (grad.shape[2], grad.shape[3]))
        by_phase = phases.from_weight(weight, window)
        grad_phases = conv_grad_input(grad, by_phase, phase_size, phases.window_of(window), groups)
        return phases.to_image(grad_phases, size, window)
    out_channels, group_channels = weight.shape[:2]
    channels = group_channels * groups
    if kernel_rows.grad_input_pays(grad, weight, channels, size, window):
        return kernel_rows.conv_grad_input(grad, weight, window, groups)
    grad_x = buffers.zeros((len(grad), channels, *size), grad.dtype)
    transposed = weight.reshape(groups, out_channels // groups, -1).transpose(0, 2, 1)
    for block in blocks(len(grad), (grad.shape[2], grad.shape[3]), channels * window.area * grad.itemsize):
        part = grad[block.images, :, block.rows]
        outputs = len(part), *part.shape[2:]
        checks.fits_memory((channels, window.area, *outputs), grad.itemsize, "weight", "the columns")
        columns = transposed @ _channels_first(part, groups)
        columns = columns.reshape(channels, *window.kernel_size, *outputs)
        add_columns(grad_x[block.images], columns, window.from_row(block.rows.start))
        del columns  # or the next block's would be made while these are still there
    return grad_x


def conv_grad_weight(x: Array, grad: Array, window: Window, groups: int) -> Array:
    """(C_out, C_in // groups, K_h, K_w): the gradient times the columns, summed over all outputs."""
    if phases.pays(window):
        by_phase = conv_grad_weight(phases.from_image(x, window), grad, phases.window_of(window), groups)
        return phases.to_weight(by_phase, window)
    out_channels, group_channels = grad.shape[1], x.shape[1] // groups
    if kernel_rows.pays(x, out_channels, (grad.shape[2], grad.shape[3]), window):
        return kernel_rows.conv_grad_weight(x, grad, window, groups)
    grad_weights = np.zeros((groups, out_channels // groups, group_channels * window.area), x.dtype)
    for block, columns in column_blocks(x, (grad.shape[2], grad.shape[3]), window):
        part = _channels_first(grad[block.images, :, block.rows], groups)
        grad_weights += part @ columns.reshape(groups, grad_weights.shape[2], -1).transpose(0, 2, 1)
    return grad_weights.reshape(out_channels, group_channels, *window.kernel_size)


def _channels_first(images: Array, groups: int) -> Array:
    """(N, C, H, W) -> (groups, C // groups, N * H * W), as the columns are laid out."""
    channels = images.shape[1]
    return images.transpose(1, 0, 2, 3).reshape(groups, channels // groups, -1)


def _batch_first(product: Array, channels: int, outputs: tuple[int, ...]) -> Array:
    """(groups, C // groups, N * H * W) -> (N, C, H, W)."""
    return product.reshape(channels, *outputs).transpose(1, 0, 2, 3)


def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """The largest of the windows' pixels, tap by tap for all windows at once; the first of equals, NaN above all."""
    height, width = x.shape[2:]
    output_size = window.output_size((height, width))
    # Start below everything, at each window's first real pixel: where all are -inf, that one wins.
    y = np.full((*x.shape[:2], *output_size), -np.inf, x.dtype)
    first_row, first_column = (
        _first_pixels(axis, size, outputs)
        for axis, size, outputs in zip(window.axes, (height, width), output_size, strict=True)
    )
    indices = np.broadcast_to(first_row[:, None] * width + first_column, y.shape).copy()
    rows, columns = np.arange(height)[:, None] * width, np.arange(width)
    for _, i, h in window.rows.spans(height, output_size[0]):
        for _, j, w in window.columns.spans(width, output_size[1]):
            best, challenger = y[:, :, i, j], np.ascontiguousarray(x[:, :, h, w])
            # "not <=" is true for a NaN on either side; a NaN that is already best stays.
            wins = ~(challenger <= best) & (best == best)
            index = indices[:, :, i, j]
            np.maximum(index, wins * (rows[h] + columns[w]), out=index)  # of an output's pixels, later ones lie further
            np.maximum(best, challenger, out=best)
    return y, indices


def _first_pixels(axis: Axis, size: int, outputs: int) -> Array:
    """The first real pixel that each output sees along one axis."""
    return np.array([axis.position(i, axis.taps_of(i, size)[0]) for i in range(outputs)])


def scatter(values: Array, indices: Array, size: Size) -> Array:
    """(N, C, H, W): all planes lie one behind the other, so that one list of positions serves them all."""
    x = np.zeros((*values.shape[:2], *size), values.dtype)
    np.add.at(x.reshape(-1), _flat_positions(indices, size[0] * size[1]), values.ravel())
    return x


def gather(x: Array, indices: Array) -> Array:
    """The shape of `indices`: the value at each position."""
    return x.ravel()[_flat_positions(indices, x.shape[2] * x.shape[3])].reshape(indices.shape)


def _flat_positions(indices: Array, plane: int) -> Array:
    """Positions within a plane turned into positions within the whole batch."""
    planes = np.arange(indices.shape[0] * indices.shape[1]).reshape(*indices.shape[:2], 1, 1)
    return np.ravel(indices + planes * plane)


def resize(x: Array, rows: SparseMatrix, columns: SparseMatrix) -> Array:
    """(N, C, H_out, W_out): first along the rows, then along the columns."""
    return _combine(_combine(x, rows, axis=2), columns, axis=3)


def _combine(x: Array, matrix: SparseMatrix, axis: int) -> Array:
    """Apply a sparse matrix along one axis: every row's first entry, then the second of those that have one, ..."""
    source = np.moveaxis(x, axis, 0)
    shape = list(x.shape)
    shape[axis] = matrix.shape[0]
    y = np.zeros(shape, x.dtype)
    target = np.moveaxis(y, axis, 0)
    lengths = matrix.row_lengths
    for place in range(lengths.max()):
        filled = np.nonzero(lengths > place)[0]
        entries = matrix.indptr[filled] + place
        weights = matrix.data[entries].reshape(-1, 1, 1, 1)
        target[filled] += weights * source[matrix.indices[entries]]
    return y
