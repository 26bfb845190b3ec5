"""The operations by SciPy: correlations and convolutions of signals, interpolation, least squares, softmax."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy  # type: ignore[import-untyped]
from scipy import linalg, ndimage, signal, special

from npseg.checks import Array
from npseg.verify.cases import Case
from npseg.verify.definitions import both, deconvolution_matrix, padded, padding_sides


def version() -> str:
    """Of the library."""
    return str(scipy.__version__)


def results(case: Case) -> tuple[list[Array], dict[str, Array]] | None:
    """What SciPy computes in float64; None where it has no such operation."""
    if case.operation not in SCIPY:
        return None
    case = case.in_float64()
    return [SCIPY[case.operation](**case.arrays, **case.arguments)], {}


def _stuffed(array: Array, step: tuple[int, int]) -> Array:
    """With so many steps from one entry to the next along the last two axes, zeros between them."""
    height, width = ((n - 1) * s + 1 for n, s in zip(array.shape[-2:], step, strict=True))
    stuffed = np.zeros((*array.shape[:-2], height, width))
    stuffed[..., :: step[0], :: step[1]] = array
    return stuffed


def _with_bias(y: Array, bias: Array | None) -> Array:
    return y if bias is None else np.asarray(y + bias[:, None, None])


def _conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """Correlation with the zero-stuffed kernel at every place, of which every stride-th is kept."""
    stride, dilation = both(stride), both(dilation)
    x = padded(x, padding_sides(padding, x.shape[2:], weight.shape[2:], stride, dilation))
    kernels = _stuffed(weight, dilation)
    first = [o * groups // len(weight) * weight.shape[1] for o in range(len(weight))]
    maps = [
        [
            sum(signal.correlate2d(image[first[o] + c], kernel[c], mode="valid") for c in range(len(kernel)))
            for o, kernel in enumerate(kernels)
        ]
        for image in x
    ]
    return _with_bias(np.array(maps)[:, :, :: stride[0], :: stride[1]], bias)


def _depthwise_conv2d(x: Array, weight: Array, bias: Array | None = None, **arguments: Any) -> Array:
    return _conv2d(x, weight, bias, groups=x.shape[1], **arguments)


def _conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """Full convolution of the zero-stuffed maps with the zero-stuffed kernel, cropped or extended."""
    stride, dilation, extra = both(stride), both(dilation), both(output_padding)
    stuffed, kernels = _stuffed(x, stride), _stuffed(weight, dilation)
    channels, group_outputs = len(weight) // groups, weight.shape[1]
    maps = [
        [
            sum(
                signal.convolve2d(image[c], kernels[c, o % group_outputs], mode="full")
                for c in range(o // group_outputs * channels, (o // group_outputs + 1) * channels)
            )
            for o in range(group_outputs * groups)
        ]
        for image in stuffed
    ]
    y = np.array(maps)
    if padding == "same":
        surplus = [n - m * s for n, m, s in zip(y.shape[2:], x.shape[2:], stride, strict=True)]
        sides: Any = [(max(0, n) // 2, n - max(0, n) // 2) for n in surplus]
    else:
        sides = padding_sides(padding, None, None, None, None)
    ends = [more - last for (_, last), more in zip(sides, extra, strict=True)]
    y = padded(y, [(0, max(0, end)) for end in ends])
    (top, _), (left, _) = sides
    height, width = (n + min(0, end) for n, end in zip(y.shape[2:], ends, strict=True))
    return _with_bias(y[:, :, top:height, left:width], bias)


def _resize_bilinear(x: Array, output_size: Any, *, align_corners: bool = False) -> Array:
    places = []
    for n, out in zip(x.shape[2:], output_size, strict=True):
        if align_corners:
            places.append(np.arange(out) * ((n - 1) / max(out - 1, 1)))
        else:
            places.append((np.arange(out) + 0.5) * n / out - 0.5)
    coordinates = np.meshgrid(*places, indexing="ij")
    planes = [
        ndimage.map_coordinates(plane, coordinates, order=1, mode="nearest") for plane in x.reshape(-1, *x.shape[2:])
    ]
    return np.array(planes).reshape(*x.shape[:2], *output_size)


def _deconvolve2d(y: Array, kernel: Array, *, regularization: float = 0.0, **arguments: Any) -> Array:
    matrix, size = deconvolution_matrix(y.shape, kernel, **arguments)
    matrix = np.concatenate([matrix, np.sqrt(regularization) * np.eye(matrix.shape[1])])
    target = np.concatenate([y.ravel(), np.zeros(matrix.shape[1])])
    return np.asarray(linalg.lstsq(matrix, target)[0]).reshape(size)


SCIPY: dict[str, Callable[..., Array]] = {
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "deconvolve2d": _deconvolve2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "log_softmax": lambda x, axis=1: np.asarray(special.log_softmax(x, axis=axis)),
    "resize_bilinear": _resize_bilinear,
    "softmax": lambda x, axis=1: np.asarray(special.softmax(x, axis=axis)),
}
