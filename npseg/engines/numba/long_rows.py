"""Kernels with long rows and large strides: how networks enlarge their scores, and the way back.

FCN's upsamplers have kernels of 16, 32 or 64 pixels a row, at strides of half as many, and each pixel of the small map
meets each row of the kernel. So a row of the kernel is multiplied as it stands, as whole vectors, and neither is the
large map cut into phases nor the kernel turned. With the small map's pixel (i, j) and the stride s:

    enlarge, for some channels o of the large map and each of its rows, h + before = s q + r:   (o, r shared by threads)
        for all j, some at a time:
            sums[j, l] = sum over channels c and taps t of  small[c, q - t, j] * weight[c, o, r + s t, l]
        large[o, h, s j + l - before] += sums[j, l]

    reduce, for each row i of the small map:                                               (shared among the threads)
        for each chunk of the large map's channels c:
            copy the rows that the kernel sees, padded
            small[o, i, j] += sum over c, k, l of  weight[o, c, k, l] * rows[c, k, s j + l]

The first is a transposed convolution, the second its gradient with respect to the small map, which is a convolution.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

from npseg import buffers
from npseg.checks import Array
from npseg.engines.numba.compiling import inner, numbers_of, on_all_cores
from npseg.engines.numba.dots import multiply_dots
from npseg.engines.numba.lines import copy_line, inside, store_line
from npseg.engines.numba.microkernel import ROWS, VECTOR_BYTES
from npseg.engines.numba.unpacked import multiply_in_place
from npseg.engines.numba.vectors import LANES, added, copy, load, store, store_some
from npseg.geometry import Window, ceil_divide

Shape = tuple[int, ...]


class Numbers(NamedTuple):
    """All the whole numbers that the compiled code needs."""

    images: int
    channels: int
    group_channels: int
    height: int
    width: int
    out_channels: int
    group_out_channels: int
    out_height: int
    out_width: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    before_h: int
    before_w: int
    pitch: int
    chunk: int
    parts: int


named = numbers_of(Numbers)


def _numbers(shape: Shape, out_shape: Shape, window: Window, groups: int, **rest: int) -> Numbers:
    rows, columns = window.axes
    return Numbers(
        images=shape[0],
        channels=shape[1],
        group_channels=shape[1] // groups,
        height=shape[2],
        width=shape[3],
        out_channels=out_shape[1],
        group_out_channels=out_shape[1] // groups,
        out_height=out_shape[2],
        out_width=out_shape[3],
        kernel_h=rows.kernel_size,
        kernel_w=columns.kernel_size,
        stride_h=rows.stride,
        stride_w=columns.stride,
        before_h=rows.before,
        before_w=columns.before,
        **rest,
    )


# ------------------------------------------------------------------------------------------------------------- enlarge


TOGETHER = 3
"""Channels of the large map whose rows of the kernel stand side by side, for the sake of the microkernel's tile."""


class Enlargement:
    """A transposed convolution from maps of `shape` (N, C, H, W) to maps of `out_shape`, prepared.

    Args:
        shape, out_shape: of the small maps and the large ones.
        window: in which the small map would see the large one.
        groups: how many independent parts the channels are cut into.
        dtype: of all arrays.
    """

    def __init__(self, shape: Shape, out_shape: Shape, window: Window, groups: int, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        pitch = ceil_divide(shape[3], ROWS) * ROWS
        self.numbers = n = _numbers(shape, out_shape, window, groups, pitch=pitch, chunk=TOGETHER, parts=0)
        self.words = np.array(n)
        taps, channels = np.meshgrid(
            np.arange(ceil_divide(n.kernel_h, n.stride_h)), np.arange(n.group_channels), indexing="ij"
        )
        self.places = ((channels * n.height - taps) * n.pitch).ravel()
        self.offsets = np.arange(self.places.size) * n.chunk * n.kernel_w
        self.blocks = groups * ceil_divide(n.group_out_channels, n.chunk)
        self.lines = ceil_divide(n.kernel_w, n.stride_w)
        longest = max((n.width - 1) * n.stride_w + n.kernel_w, n.before_w + ceil_divide(n.out_width, LANES) * LANES)
        self.length = ceil_divide(longest, LANES) * LANES

    def run(self, small: Array, weight: Array, large: Array) -> bool:
        """Write `large`. Returns True: no weight has met a zero that is none of the map's."""
        n, threads = self.numbers, numba.config.NUMBA_NUM_THREADS
        padded, packed, lines, sums = buffers.workspace(
            self.dtype,
            (n.images, n.channels, n.height, n.pitch),
            (threads, self.offsets.size * n.chunk * n.kernel_w),
            (threads, self.lines * self.length),
            (threads, n.pitch * n.chunk * n.kernel_w),
        )
        padded[..., : n.width] = small
        padded[..., n.width :] = 0
        tables = self.places, self.offsets
        arrays = padded.reshape(-1), weight.reshape(-1), large.reshape(-1), packed, lines, sums
        _enlarge(self.blocks * n.stride_h, *arrays, *tables, self.words)
        return True


@on_all_cores()
def _enlarge(
    task: int,
    small: Array,
    weight: Array,
    large: Array,
    packed: Array,
    all_lines: Array,
    all_sums: Array,
    places: Array,
    offsets: Array,
    numbers: Array,
) -> None:
    """All rows of some channels and one phase: their rows of the kernel are copied once, side by side."""
    n = named(numbers)
    thread = numba.get_thread_id()
    rows, lines, sums = packed[thread], all_lines[thread], all_sums[thread]
    blocks = -(-n.group_out_channels // n.chunk)
    block, phase = task // n.stride_h, task % n.stride_h
    group, first_channel = block // blocks, block % blocks * n.chunk
    channels = min(n.chunk, n.group_out_channels - first_channel)
    length = len(lines) // -(-n.kernel_w // n.stride_w)
    taps, pitch = -(-(n.kernel_h - phase) // n.stride_h), n.chunk * n.kernel_w
    for t in range(taps):
        for c in range(n.group_channels):
            for o in range(channels):
                kernel = (group * n.group_channels + c) * n.group_out_channels + first_channel + o
                start = (kernel * n.kernel_h + phase + t * n.stride_h) * n.kernel_w
                copy(weight, start, rows, (t * n.group_channels + c) * pitch + o * n.kernel_w, n.kernel_w)
    for k in range(len(lines)):
        lines[k] = 0  # and so it stays between the sums
    first_channel += group * n.group_out_channels
    first = -((phase - n.before_h) // n.stride_h)
    last = (n.out_height - 1 + n.before_h - phase) // n.stride_h
    for image in range(n.images):
        for q in range(first, last + 1):
            begin, end = max(0, q - n.height + 1), min(taps, q + 1)  # tap t sees row q - t
            source = ((image * n.channels + group * n.group_channels) * n.height + q) * n.pitch
            for j in range(0, n.width if begin < end else 0, ROWS):
                multiply_in_place(
                    small,
                    source + j,
                    1,
                    places,
                    rows,
                    0,
                    offsets,
                    begin * n.group_channels,
                    (end - begin) * n.group_channels,
                    sums,
                    j * pitch,
                    pitch,
                    channels * n.kernel_w,
                    0,
                )
            h = q * n.stride_h + phase - n.before_h
            for o in range(channels):
                to = ((image * n.out_channels + first_channel + o) * n.out_height + h) * n.out_width
                if begin < end:
                    _lay_apart(lines, length, sums, o * n.kernel_w, pitch, n)
                    _add_lines(lines, length, n.before_w, large, to, n.out_width)
                else:
                    large[to : to + n.out_width] = 0


@inner
def _lay_apart(lines: Array, length: int, sums: Array, start: int, pitch: int, n: Any) -> None:
    """Pixel j's sums at stride * j of one of the lines, in turn, so that none overlap."""
    line = 0
    for j in range(n.width):
        for k in range(0, n.kernel_w, LANES):
            store(lines, line + j * n.stride_w + k, load(sums, start + j * pitch + k))
        line = line + length if line + length < len(lines) else 0


@inner
def _add_lines(lines: Array, length: int, begin: int, target: Array, to: int, count: int) -> None:
    """target[to + k] = the sum of all lines' [begin + k]."""
    for k in range(0, count, LANES):
        total = load(lines, begin + k)
        for line in range(length, len(lines), length):
            total = added(total, load(lines, line + begin + k))
        if k + LANES <= count:
            store(target, to + k, total)
        else:
            store_some(target, to + k, total, count - k)


# -------------------------------------------------------------------------------------------------------------- reduce

CACHE = 2**18
"""Bytes of the padded rows that a task keeps in its core's cache."""


class Reduction:
    """A convolution from maps of `shape` (N, C, H, W) to maps of `out_shape`, prepared.

    Args:
        shape, out_shape: of the large maps and the small ones.
        window: in which the small map sees the large one.
        groups: how many independent parts the channels are cut into.
        dtype: of all arrays.
    """

    def __init__(self, shape: Shape, out_shape: Shape, window: Window, groups: int, dtype: np.dtype[Any]) -> None:
        self.dtype, self.groups = dtype, groups
        lanes = VECTOR_BYTES // dtype.itemsize
        rows, columns = window.axes
        self.pixels = ceil_divide(out_shape[3], ROWS) * ROWS
        pitch = (self.pixels - 1) * columns.stride + columns.kernel_size
        channels, fitting = shape[1] // groups, CACHE // (rows.kernel_size * pitch * dtype.itemsize)
        chunk = ceil_divide(channels, ceil_divide(channels, max(fitting, 1)))
        places = out_shape[0] * out_shape[2]
        parts = 1 if places >= FEW_ROWS else min(ceil_divide(FEW_ROWS, places), out_shape[1] // groups)
        self.numbers = n = _numbers(shape, out_shape, window, groups, pitch=pitch, chunk=chunk, parts=parts)
        self.words = np.array(n)
        lines, vectors = np.arange(chunk * n.kernel_h) * pitch, np.arange(0, n.kernel_w, lanes)
        self.offsets = (lines[:, None] + vectors).ravel()

    def run(self, large: Array, weight: Array, small: Array, bias: Array | None = None, relu: bool = False) -> None:
        """Write `small`; with relu, cut off the negative results."""
        n, threads = self.numbers, numba.config.NUMBA_NUM_THREADS
        bias = np.zeros(n.out_channels, self.dtype) if bias is None else bias
        bands, sums = buffers.workspace(
            self.dtype, (threads, n.chunk * n.kernel_h * n.pitch), (threads, n.group_out_channels * self.pixels)
        )
        arrays = large.reshape(-1), weight.reshape(-1), small.reshape(-1), bias, bands, sums
        _reduce(self.groups * n.images * n.out_height * n.parts, *arrays, self.offsets, relu, self.words)


FEW_ROWS = 16
"""With fewer rows of results than these the channels are cut into parts, so that no core waits for long."""


@on_all_cores()
def _reduce(
    task: int,
    large: Array,
    weight: Array,
    small: Array,
    bias: Array,
    bands: Array,
    all_sums: Array,
    offsets: Array,
    relu: bool,
    numbers: Array,
) -> None:
    """One row of one group's results, or of a part of its channels."""
    n = named(numbers)
    thread = numba.get_thread_id()
    band, sums = bands[thread], all_sums[thread]
    pixels = len(sums) // n.group_out_channels
    place, part = task // n.parts, task % n.parts
    of_part = -(-n.group_out_channels // n.parts)
    first, rows = part * of_part, min(of_part, n.group_out_channels - part * of_part)
    group, image, i = place // (n.images * n.out_height), place // n.out_height % n.images, place % n.out_height
    area, vectors = n.kernel_h * n.kernel_w, len(offsets) // (n.chunk * n.kernel_h)
    top = i * n.stride_h - n.before_h
    begin, end = inside(-n.before_w, 1, n.width, n.pitch)
    for c in range(0, n.group_channels, n.chunk):
        channels = min(n.chunk, n.group_channels - c)
        for channel in range(channels):
            start = ((image * n.channels + group * n.group_channels + c + channel) * n.height + top) * n.width
            for k in range(n.kernel_h):
                line = band[(channel * n.kernel_h + k) * n.pitch : (channel * n.kernel_h + k + 1) * n.pitch]
                if 0 <= top + k < n.height:
                    copy_line(line, large, start + k * n.width - n.before_w, 1, begin, end)
                else:
                    line[:] = 0
        for j in range(0, n.out_width, ROWS):
            multiply_dots(
                band,
                j * n.stride_w,
                n.stride_w,
                offsets,
                weight,
                ((group * n.group_out_channels + first) * n.group_channels + c) * area,
                n.group_channels * area,
                channels * n.kernel_h * vectors,
                sums,
                j,
                pixels,
                rows,
                c,
            )
    for row in range(rows):
        o = group * n.group_out_channels + first + row
        start = ((image * n.out_channels + o) * n.out_height + i) * n.out_width
        store_line(small, start, sums[row * pixels :], bias[o], 0, n.out_width, 1, relu)
