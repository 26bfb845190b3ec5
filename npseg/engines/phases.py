"""A convolution of stride s is one of stride 1 over the phases of its image.

Phase (p, q) of an image is every s-th pixel from row p and column q on. All windows of stride s begin in phase (0, 0),
and tap k = a * s + p sees phase p, a pixels further. So with the phases as channels, and the weights sorted alike,

    x       (N, C, H, W)                ->  (N, C * s_h * s_w, H / s_h, W / s_w)
    weight  (C_out, C, K_h, K_w)        ->  (C_out, C * s_h * s_w, K_h / s_h, K_w / s_w)

the stride is gone, and with it all copies of every s-th pixel, tap by tap. It pays where the stride is long and the
kernel a multiple of it, as in the layers that upsample (16 by 8, 64 by 32).

Source: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
Network" (2016), section 2.2, which reads a transposed convolution so.
"""

import numpy as np

from npseg import buffers
from npseg.checks import Array
from npseg.engines.columns import add_columns, fill_columns
from npseg.geometry import Axis, Size, Window

LEAST_PHASES = 16
"""Phases of the smallest stride at which sorting the image costs less than copying it tap by tap."""


def pays(window: Window) -> bool:
    """Whether the stride is long, and the kernel a multiple of it; windows that do not overlap are sorted anyway."""
    multiples = all(axis.kernel_size % axis.stride == 0 and axis.dilation == 1 for axis in window.axes)
    return multiples and LEAST_PHASES <= window.rows.stride * window.columns.stride < window.area


def window_of(window: Window) -> Window:
    """The window of stride 1 over the phases, which have their padding with them."""
    rows, columns = (Axis(axis.kernel_size // axis.stride) for axis in window.axes)
    return Window(rows, columns)


def size_of(window: Window, output_size: Size) -> Size:
    """The size of the phases: what the windows of these outputs see."""
    return window_of(window).input_size(output_size)


def from_image(x: Array, window: Window) -> Array:
    """(N, C, H, W) -> (N, C * s_h * s_w, rows, columns): padding is in it, pixels that no window sees are not."""
    batch, channels = x.shape[:2]
    rows, columns = size_of(window, window.output_size((x.shape[2], x.shape[3])))
    in_padding = buffers.empty(_in_padding(batch, channels, rows, columns, window), x.dtype)
    fill_columns(_as_columns(in_padding), x, _single_tap(window))
    phases = buffers.empty((batch, channels, window.rows.stride, window.columns.stride, rows, columns), x.dtype)
    phases[...] = _by_phase(in_padding, window)
    return phases.reshape(batch, -1, rows, columns)


def to_image(phases: Array, size: Size, window: Window) -> Array:
    """The adjoint of `from_image`: what lies on padding is cut off, and pixels that no window sees are 0."""
    strides = window.rows.stride, window.columns.stride
    batch, planes, rows, columns = phases.shape
    channels = planes // (strides[0] * strides[1])
    in_padding = buffers.empty(_in_padding(batch, channels, rows, columns, window), phases.dtype)
    _by_phase(in_padding, window)[...] = phases.reshape(batch, channels, *strides, rows, columns)
    x = buffers.zeros((batch, channels, *size), phases.dtype)
    add_columns(x, _as_columns(in_padding), _single_tap(window))
    return x


def from_weight(weight: Array, window: Window) -> Array:
    """(C_out, C, K_h, K_w) -> (C_out, C * s_h * s_w, K_h / s_h, K_w / s_w)."""
    phases = np.ascontiguousarray(_by_phase(weight, window))
    return phases.reshape(weight.shape[0], -1, *phases.shape[4:])


def to_weight(phases: Array, window: Window) -> Array:
    """Back from `from_weight`."""
    weight = np.empty(
        (len(phases), phases.shape[1] // (window.rows.stride * window.columns.stride), *window.kernel_size),
        phases.dtype,
    )
    by_phase = _by_phase(weight, window)
    by_phase[...] = phases.reshape(by_phase.shape)
    return weight


def _by_phase(maps: Array, window: Window) -> Array:
    """(N, C, H, W), multiples of the strides -> (N, C, s_h, s_w, H / s_h, W / s_w), a view."""
    (row_stride, column_stride), (height, width) = (axis.stride for axis in window.axes), maps.shape[2:]
    split = maps.reshape(*maps.shape[:2], height // row_stride, row_stride, width // column_stride, column_stride)
    return split.transpose(0, 1, 3, 5, 2, 4)


def _in_padding(batch: int, channels: int, rows: int, columns: int, window: Window) -> tuple[int, int, int, int]:
    """The shape of images in their padding whose phases have so many rows and columns."""
    return batch, channels, rows * window.rows.stride, columns * window.columns.stride


def _single_tap(window: Window) -> Window:
    """The window whose columns are the image in its padding."""
    return Window(Axis(1, before=window.rows.before), Axis(1, before=window.columns.before))


def _as_columns(in_padding: Array) -> Array:
    """(N, C, H, W) -> (C, 1, 1, N, H, W), a view."""
    return in_padding.transpose(1, 0, 2, 3)[:, None, None]
