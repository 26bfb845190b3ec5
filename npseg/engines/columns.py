"""Columns: filled from images, added back to them, and made block by block.

A batch of columns is K_h * K_w times as large as its images. It is never whole in memory: several images, or some rows
of one image, are a block, which stays below the column limit, and in the processor's cache between being written and
being read.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from npseg import buffers, checks
from npseg.checks import Array
from npseg.geometry import Size, Window

CACHED_BYTES = 8 * 2**20
"""Columns of about this size were fastest: they fit a cache and still make long matrix products."""

_column_limit = 256 * 2**20


def get_column_limit() -> int:
    """The bytes that the columns of one block may take."""
    return _column_limit


def set_column_limit(bytes: int) -> None:
    """Let the columns of one block take at most so many bytes; one output row of one image is the least."""
    global _column_limit
    _column_limit = checks.integer(bytes, "bytes", at_least=1)


@dataclass(frozen=True)
class Block:
    """Some images, and some rows of their outputs."""

    images: slice
    rows: slice


def blocks(batch: int, output_size: Size, bytes_per_output: int, more_rows: int = 0) -> Iterator[Block]:
    """Cut a batch of outputs into blocks whose columns, those of `more_rows` rows more, stay below the limit."""
    height, width = output_size
    row_bytes = bytes_per_output * width
    images = max(1, _limit() // (row_bytes * (height + more_rows)))
    rows = height if images > 1 else rows_at_once(output_size, bytes_per_output, more_rows)
    for n in range(0, batch, images):
        for i in range(0, height, rows):
            yield Block(slice(n, min(n + images, batch)), slice(i, min(i + rows, height)))


def rows_at_once(output_size: Size, bytes_per_output: int, more_rows: int = 0) -> int:
    """The rows of one image's outputs in a block."""
    height, width = output_size
    return min(height, max(1, _limit() // (bytes_per_output * width) - more_rows))


def _limit() -> int:
    return min(_column_limit, CACHED_BYTES)


def column_blocks(x: Array, output_size: Size, window: Window, more_rows: int = 0) -> Iterator[tuple[Block, Array]]:
    """The columns (C, K_h, K_w, n, rows + more_rows, W_out) of x, block by block, in one buffer that is used again."""
    channels = x.shape[1]
    buffer = np.empty(0, x.dtype)
    for block in blocks(len(x), output_size, channels * window.area * x.itemsize, more_rows):
        images = x[block.images]
        rows = block.rows.stop - block.rows.start + more_rows
        shape = channels, *window.kernel_size, len(images), rows, output_size[1]
        entries = int(np.prod(shape))
        if entries > len(buffer):
            checks.fits_memory(shape, x.itemsize, "x", "the columns")
            buffer = buffers.empty((entries,), x.dtype)
        columns = buffer[:entries].reshape(shape)
        fill_columns(columns, images, window.from_row(block.rows.start))
        yield block, columns


def fill_columns(columns: Array, x: Array, window: Window) -> None:
    """im2col: columns[c, k, l, n, i, j] = the pixel of channel c that output (i, j) sees through tap (k, l), or 0."""
    outputs = columns.shape[4:]
    height, width = x.shape[2:]
    vertical, horizontal = window.rows.spans(height, outputs[0]), window.columns.spans(width, outputs[1])
    if len(vertical) * len(horizontal) < window.area:
        columns[...] = 0  # some taps see nothing but padding
    pixels = x.transpose(1, 0, 2, 3)  # (C, N, H, W)
    for k, i, h in vertical:
        for l, j, w in horizontal:  # noqa: E741 (k, l: the kernel's row and column)
            tap = columns[:, k, l]  # (C, N, H_out, W_out)
            tap[:, :, : i.start] = tap[:, :, i.stop :] = 0
            tap[..., : j.start] = tap[..., j.stop :] = 0
            tap[:, :, i, j] = pixels[:, :, h, w]


def add_columns(x: Array, columns: Array, window: Window) -> None:
    """col2im, the adjoint of `fill_columns`: every entry is added to the pixel that it was copied from."""
    outputs = columns.shape[4:]
    height, width = x.shape[2:]
    pixels = x.transpose(1, 0, 2, 3)  # (C, N, H, W)
    for k, i, h in window.rows.spans(height, outputs[0]):
        for l, j, w in window.columns.spans(width, outputs[1]):  # noqa: E741
            pixels[:, :, h, w] += columns[:, k, l, :, i, j]
