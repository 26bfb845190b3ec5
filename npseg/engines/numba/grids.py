"""What a direct convolution is: a grid of positions, and how the work is cut into tasks."""

from typing import NamedTuple

from npseg.checks import Array
from npseg.engines.numba.compiling import numbers_of


class Grid(NamedTuple):
    """What is computed: positions (i, j), each of which sees pixels and has results.

    Through tap t, position (i, j) sees pixel (i * stride_h + tap_rows[t], j * stride_w + tap_columns[t]) of the source.
    Its result of kind p goes to pixel (i * step_h + kind_rows[p], j * step_w + kind_columns[p]) of y, or nowhere if
    there is no such pixel. The weight that joins them is at places[p, t] of a kernel.
    """

    height: int
    width: int
    stride: tuple[int, int]
    tap_rows: Array
    tap_columns: Array
    step: tuple[int, int]
    kind_rows: Array
    kind_columns: Array
    places: Array


class Blocking(NamedTuple):
    """How the work is cut into tasks; `plan` decides."""

    as_columns: bool
    """Write the band out as columns."""
    band: int
    """Rows of positions in a band; positions, of all images, if they are written out as columns."""
    chunk: int
    """Source channels that are multiplied at a time."""
    blocks: int
    """Blocks of ROWS results in a task."""
    pack_ahead: bool
    """Pack the weights once, for several bands; otherwise each task packs what it needs."""


class Numbers(NamedTuple):
    """All the whole numbers that the compiled code needs."""

    images: int
    channels: int
    group_channels: int
    height: int
    width: int
    grid_height: int
    grid_width: int
    stride_h: int
    stride_w: int
    out_channels: int
    group_out_channels: int
    rows: int
    out_height: int
    out_width: int
    step_h: int
    step_w: int
    group_step: int
    out_step: int
    in_step: int
    as_columns: bool
    band: int
    chunk: int
    blocks: int
    pack_ahead: bool
    block_by_block: bool
    pitch: int
    band_columns: int
    read_beyond: int
    plane_rows: int
    first_row: int
    first_column: int
    first_pixel: int
    line: int
    row_of_taps: int


named = numbers_of(Numbers)
