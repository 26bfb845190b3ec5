"""Which algorithm for which shape, and why.

| shape | algorithm | why |
|---|---|---|
| one input channel a group | `depthwise` | a row of pixels is the longest product there is; memory is the limit |
| 3x3, stride 1, float32 | `winograd`, if allowed and faster | a quarter of the multiplications; costs transforms |
| rows of whole vectors, large strides | `long_rows` | a kernel's row is multiplied as it stands; nothing is turned |
| maps of few pixels | `small_maps` | nothing is computed for padding, nothing copied for a tap |
| other windows | `direct`, in bands | nothing is copied but what a core's cache holds |
| small maps | `direct`, as columns | in bands, most positions would be wasted |
| input gradients, transposed convolutions | `direct`, by `transposed` | phases of the stride are convolutions |
| weight gradients, 3x3, stride 1, float32 | `winograd_weights`, if allowed | as forward |
| other weight gradients | `weights` | positions as the inner dimension of a product |

Where Winograd is allowed, the estimated times decide: products at the microkernel's speed, transforms at what they were
measured to take. The constants are nanoseconds on two cores with AVX-512; only their ratios matter.
"""

import numba

from npseg.engines.numba.grids import Blocking, Grid
from npseg.engines.numba.microkernel import PROCESSOR, ROWS, rounded_to_lanes
from npseg.engines.numba.vectors import LANES
from npseg.geometry import Window, ceil_divide

CACHE = 2**18
"""Bytes of each of the two things that a task keeps in its core's cache: its band, and half of its sums."""

LEAST_BAND = 96
"""Positions that a band should have at least."""


def blocking(images: int, channels: int, rows: int, grid: Grid, itemsize: int) -> Blocking:
    """How to cut a direct convolution into tasks.

    Args:
        images: N.
        channels: source channels.
        rows: results of each position: channels times kinds.
        grid: the positions and what they see.
        itemsize: bytes of a number.
    """
    taps, threads = len(grid.tap_rows), numba.config.NUMBA_NUM_THREADS
    column_span = int(max(grid.tap_columns) - min(grid.tap_columns)) // grid.stride[1]
    row_span = int(max(grid.tap_rows) - min(grid.tap_rows)) // grid.stride[0]
    pitch = grid.width + column_span
    all_blocks = -(-rows // ROWS)
    positions = grid.height * grid.width
    wasted = rounded_to_lanes(grid.height * pitch, itemsize) / positions
    # With a stride, writing out columns costs more: a band holds each pixel once, columns hold it for each tap.
    as_columns = wasted > (1.3 if grid.stride == (1, 1) or pitch < 12 else 2)
    if as_columns:
        bands = -(-images * positions // 384)
        band = -(-images * positions // bands)
        band_columns = rounded_to_lanes(band, itemsize)
        chunk = max(1, CACHE // (taps * band_columns * itemsize))
    else:
        bands = ceil_divide(grid.height * pitch, 512)
        # The order of summation follows from the chunk, which therefore may not depend on the number of threads.
        rows_seen = (ceil_divide(grid.height, bands) + row_span) * grid.stride[0]
        of_channel = rows_seen * pitch * grid.stride[1] * itemsize
        chunk = channels if channels * of_channel <= 2 * CACHE else max(1, CACHE // of_channel)
        # What several tasks copy or pack, each for itself, should be the lesser of the two: the band or the weights.
        if rows * taps < positions * grid.stride[0] * grid.stride[1]:
            most = max(bands, grid.height * pitch // LEAST_BAND)
            bands = next((count for count in range(bands, most + 1) if images * count % threads == 0), bands)
        band = ceil_divide(grid.height, bands)
        bands = ceil_divide(grid.height, band) * images
        band_columns = rounded_to_lanes(band * pitch, itemsize)
    chunk = min(chunk, max(1, 512 // taps), channels)
    chunk = -(-channels // -(-channels // chunk))
    parts = min(all_blocks, ceil_divide(2 * threads if as_columns else threads, bands))
    if chunk < channels:  # the sums of all of a task's blocks are kept
        parts = max(parts, ceil_divide(all_blocks * ROWS * band_columns * itemsize, 2 * CACHE))
    blocks = -(-all_blocks // parts)
    return Blocking(as_columns, band, chunk, blocks, bands > 2)


FEW_POSITIONS, SOME_POSITIONS, POINTWISE_POSITIONS = 256, 1024, 64
"""Up to so many outputs, a product for each tap is faster; up to the second number, if there are many channels, or much
padding; up to the third, forward, if there is a single tap."""

MANY_CHANNELS, REAL_SHARE = 128, 0.75
"""So many channels of each group are many; up to this share of taps that meet real pixels there is much padding."""


def is_small(
    shape: tuple[int, ...], out_shape: tuple[int, ...], window: Window, groups: int, *, forward: bool = False
) -> bool:
    """Whether `small_maps` serves a convolution, or one of its gradients, better than `direct`.

    Args:
        shape: (N, C, H, W) of the convolution's input.
        out_shape: (N, C_out, H_out, W_out) of its output.
        window: in which an output sees the input.
        groups: of channels.
        forward: whether this is the convolution itself.
    """
    outputs = out_shape[2] * out_shape[3]
    positions = shape[0] * outputs
    if positions > SOME_POSITIONS:
        return False
    many_channels = min(shape[1], out_shape[1]) // groups >= MANY_CHANNELS
    if window.area == 1:
        return forward and many_channels and positions <= POINTWISE_POSITIONS
    seen = [
        sum(places.stop - places.start for _, places, _ in axis.spans(length, out_length))
        for axis, length, out_length in zip(window.axes, shape[2:], out_shape[2:], strict=True)
    ]
    if seen[0] * seen[1] == 0:
        return False
    at_stride_one = window.rows.stride == window.columns.stride == 1
    enough_channels = many_channels or (positions <= FEW_POSITIONS and out_shape[1] // groups >= ROWS)
    return (at_stride_one and enough_channels) or seen[0] * seen[1] <= REAL_SHARE * window.area * outputs


def has_long_rows(window: Window) -> bool:
    """Whether `long_rows` serves a convolution and its input gradient best: FCN's upsamplers, k16s8 and larger."""
    rows, columns = window.axes
    undilated = rows.dilation == columns.dilation == 1
    return undilated and columns.kernel_size % LANES == 0 and 2 * columns.stride >= LANES


TAKES_HALVES = ("znver4",)
"""Processors that do 512-bit vectors in two halves: products take twice the time there, transforms hardly more."""

PRODUCT = (2 if PROCESSOR in TAKES_HALVES else 1) / 240
"""Nanoseconds of a multiply-add in the microkernel."""

DIRECT_OVERHEAD = 1.6
"""What direct convolution takes, relative to its products alone: columns computed for nothing, tiles that end early."""

SMALL_MAP, SMALL_MAP_PIXEL, SMALL_MAP_WEIGHT = 0.85, 0.8, 4.0
"""What `small_maps` takes, relative to its products, and besides, nanoseconds for each number of its maps, and for each
weight's gradient."""

MOVED = 0.12
"""Nanoseconds for a number that direct convolution copies to a band or stores, or turns for a weight gradient."""

WEIGHT_ENTRY = 0.12
"""Nanoseconds for an entry of a transformed weight."""

TILE_ENTRY, ROW_OF_TILES = 0.12, 2.2
"""Nanoseconds for an entry of a transformed tile, and what each row of tiles costs besides."""

TURNED_TILE_ENTRY = 0.2
"""Nanoseconds for an entry of a tile whose channels lie side by side."""

TILES = {"off": (), "f2": (2,), "f4": (2, 4)}
"""The m of Winograd's algorithms F(m x m, 3 x 3) that each setting allows."""


def tile_size(
    allowed: str,
    images: int,
    channels: int,
    out_channels: int,
    size: tuple[int, int],
    dilation: tuple[int, int],
    small: bool,
) -> int:
    """The m of the fastest Winograd algorithm for a convolution or its input gradient, or 0: another way is faster.

    Args:
        allowed: one of `TILES`.
        images: N.
        channels: input channels.
        out_channels: output channels.
        size: of the outputs.
        dilation: of the window.
        small: whether the other way is that of small maps, see `is_small`.
    """
    weights, outputs = channels * out_channels, images * size[0] * size[1]
    times = {0: _without_winograd(weights, (channels + out_channels) * outputs, outputs, small)}
    for m in TILES[allowed]:
        tiles = images * _tiles(size[0], dilation[0], m) * _tiles(size[1], dilation[1], m)
        products = weights * rounded_to_lanes(tiles, 4) * PRODUCT
        transforms = (channels + out_channels) * tiles * (TILE_ENTRY + ROW_OF_TILES * m * dilation[1] / size[1])
        times[m] = (m + 2) ** 2 * (products + transforms + weights * WEIGHT_ENTRY)
    return min(times, key=lambda m: times[m])


def weight_tile_size(
    allowed: str, images: int, channels: int, out_channels: int, size: tuple[int, int], small: bool
) -> int:
    """The same for a weight gradient, whose tiles have their channels side by side.

    Only the largest m that is allowed is considered: a smaller one is seldom faster, and costs seconds to compile.
    """
    weights, outputs = channels * out_channels, images * size[0] * size[1]
    times = {0: _without_winograd(weights, (channels + out_channels) * outputs, outputs, small)}
    if small:
        times[0] += weights * SMALL_MAP_WEIGHT
    for m in TILES[allowed][-1:]:
        tiles = images * _tiles(size[0], 1, m) * _tiles(size[1], 1, m)
        transforms = (channels + out_channels) * tiles * TURNED_TILE_ENTRY
        times[m] = (m + 2) ** 2 * (weights * tiles * PRODUCT + transforms + 2 * weights * WEIGHT_ENTRY)
    return min(times, key=lambda m: times[m])


def _without_winograd(weights: int, pixels: int, outputs: int, small: bool) -> float:
    """Nanoseconds of a 3x3 convolution of so many weights a tap and so many numbers in all maps together."""
    products = 9 * weights * outputs * PRODUCT
    return products * SMALL_MAP + pixels * SMALL_MAP_PIXEL if small else products * DIRECT_OVERHEAD + pixels * MOVED


def _tiles(length: int, dilation: int, m: int) -> int:
    """Tiles along one axis; every grid of a dilation has its own."""
    return dilation * ceil_divide(ceil_divide(length, dilation), m)
