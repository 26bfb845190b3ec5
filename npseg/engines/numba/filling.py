"""What the microkernel multiplies in a direct convolution: bands of pixels, and columns, with padding around them.

Without a stride, rows of pixels are copied as they are. With a stride s, the pixels of a row are dealt out: pixel j * s
+ r goes to place j of plane r. With a small stride each plane's pixels are copied by themselves. With a large one the
row, copied to a line that has its padding around it, is a matrix of s columns that has to be turned (see `turning`).

Columns are filled the same way: row j of the matrix begins s pixels after the one before, so rows overlap, and its
columns are the taps.
"""

from typing import Any

import numpy as np

from npseg.checks import Array
from npseg.engines.numba.compiling import inner
from npseg.engines.numba.lines import copy_line, inside
from npseg.engines.numba.turning import turn

LARGE_STRIDE = 4
"""From this stride on, turning is faster than copying number by number."""


def places_along_a_line(columns: Array, step: int) -> Array:
    """For each pixel of a line from the least of some columns to the largest, where it goes: `step` apart, as listed.

    A pixel that is in none of them goes where the next one will overwrite it.
    """
    order = np.argsort(columns)
    following = np.searchsorted(columns[order], np.arange(columns.min(), columns.max() + 1))
    return order[following] * step


@inner
def clear(array: Array, start: int, count: int) -> None:
    """Zeros behind what is multiplied, where the last vectors reach.

    Whatever stood there does not count, but if it is tiny, below the smallest normal number, the processor takes a
    hundred times as long for it.
    """
    for k in range(start, start + count):
        array[k] = 0


@inner
def fill_band(
    band: Array,
    source: Array,
    plane_rows: Array,
    plane_columns: Array,
    image: int,
    c: int,
    channels: int,
    first: int,
    n: Any,
) -> None:
    """Copy some channels' rows around a band of positions, plane by plane, with zeros where there is padding."""
    planes = len(plane_rows)
    for plane in range(planes):
        row = (first + n.first_row) * n.stride_h + plane_rows[plane]
        column = n.first_column * n.stride_w + plane_columns[plane]
        begin, end = inside(column, n.stride_w, n.width, n.pitch)
        rows = min(n.plane_rows, n.height - row)
        unpadded = row >= 0 and begin == 0 and end == n.width == n.pitch and n.stride_h == n.stride_w == 1
        for channel in range(channels):
            start = ((image * n.channels + c + channel) * n.height + row) * n.width + column
            at = (channel * planes + plane) * n.plane_rows * n.pitch
            if unpadded and rows == n.plane_rows:  # all rows at once: they lie one behind the other in the source, too
                copy_line(band[at : at + rows * n.pitch], source, start, 1, 0, rows * n.pitch)
                continue
            for r in range(n.plane_rows):
                line = band[at : at + n.pitch]
                if 0 <= row + r * n.stride_h < n.height:
                    copy_line(line, source, start + r * n.stride_h * n.width, n.stride_w, begin, end)
                else:
                    for j in range(n.pitch):
                        line[j] = 0
                at += n.pitch


@inner
def fill_planes(
    band: Array,
    line: Array,
    source: Array,
    plane_rows: Array,
    places: Array,
    image: int,
    c: int,
    channels: int,
    first: int,
    n: Any,
) -> None:
    """The same, row by row of pixels, each of which is turned to deal its pixels out to the planes."""
    beside = 1  # planes of the same rows
    while beside < len(plane_rows) and plane_rows[beside] == plane_rows[0]:
        beside += 1
    for channel in range(channels):
        for plane in range(0, len(plane_rows), beside):
            for r in range(n.plane_rows):
                row = (first + n.first_row + r) * n.stride_h + plane_rows[plane]
                _copy_row(line, source, image * n.channels + c + channel, row, n)
                at = ((channel * len(plane_rows) + plane) * n.plane_rows + r) * n.pitch
                turn(band, at, places, 0, line, 0, n.stride_w, n.pitch, len(places))


@inner
def fill_columns(
    columns: Array, line: Array, source: Array, tap_rows: Array, places: Array, channel: int, group: int, n: Any
) -> None:
    """im2col of one channel of a group, positions counted through all images; `places` are those of a row of taps."""
    plane = n.grid_height * n.grid_width
    for k in range(len(tap_rows)):
        for image in range(n.images):
            for i in range(n.grid_height):
                of_image = image * n.channels + group * n.group_channels + channel
                _copy_row(line, source, of_image, i * n.stride_h + tap_rows[k], n)
                at = (channel * len(tap_rows) + k) * n.row_of_taps * n.pitch + image * plane + i * n.grid_width
                turn(columns, at, places, 0, line, 0, n.stride_w, n.grid_width, len(places))
    positions = n.images * plane
    for row in range(len(tap_rows) * n.row_of_taps):
        clear(columns, (channel * len(tap_rows) * n.row_of_taps + row) * n.pitch + positions, n.pitch - positions)


@inner
def _copy_row(line: Array, source: Array, plane: int, row: int, n: Any) -> None:
    """Pixels of a row of a plane, an image's channel, from n.first_pixel on, with the padding around them."""
    begin, end = inside(n.first_pixel, 1, n.width, len(line))
    if not 0 <= row < n.height:
        begin = end = len(line)
    copy_line(line, source, (plane * n.height + row) * n.width + n.first_pixel, 1, begin, end)
