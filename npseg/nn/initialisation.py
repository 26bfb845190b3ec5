"""Where training starts: the values that weights have before the first step."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from npseg.checks import Array

Initialiser = Callable[[np.random.Generator, tuple[int, ...], np.dtype[Any]], Array]


def he_normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Normal with variance 2 / fan_in, which keeps the signal's size through layers of convolution and ReLU.

    Args:
        rng: where the draws come from.
        shape: of a weight, (C_out, C_in // groups, K_h, K_w) or (C_out, C_in); all but the first axis are the fan-in.
        dtype: float32 or float64.

    Returns:
        The weight.

    Source: He et al., "Delving deep into rectifiers" (2015), equation 10.
    """
    deviation = math.sqrt(2 / math.prod(shape[1:]))
    return np.asarray(rng.standard_normal(shape, dtype=dtype.type) * dtype.type(deviation))


def bilinear(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Bilinear interpolation as the weight of a transposed convolution: a tent from each class to itself, else zeros.

    Args:
        rng: not used; every initialiser is called alike.
        shape: (C_in, C_out, K_h, K_w); an axis of K = 2 * stride taps interpolates at that stride.
        dtype: float32 or float64.

    Returns:
        The weight.

    Source: Long, Shelhamer, Darrell (2015), section 3.3, and `upsample_filt` of their code.

    >>> bilinear(np.random.default_rng(0), (1, 1, 4, 4), np.dtype(float))[0, 0, 1]
    array([0.1875, 0.5625, 0.5625, 0.1875])
    """
    tent = np.outer(_tent(shape[2]), _tent(shape[3])).astype(dtype)
    weight = np.zeros(shape, dtype)
    classes = np.arange(min(shape[:2]))
    weight[classes, classes] = tent
    return weight


def _tent(taps: int) -> Array:
    """A triangle over `taps` taps, highest in the middle: 1 - |i - centre| / factor."""
    factor = (taps + 1) // 2
    centre = factor - 1 if taps % 2 else factor - 0.5
    return np.asarray(1 - np.abs(np.arange(taps) - centre) / factor)


def zeros(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """All zeros: biases, and FCN's score layers, which so begin by adding nothing.

    Args:
        rng: not used; every initialiser is called alike.
        shape: of the weight.
        dtype: float32 or float64.

    Returns:
        The weight.
    """
    return np.zeros(shape, dtype)


def ones(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """All ones: the scale and the first running variance of batch normalisation.

    Args:
        rng: not used; every initialiser is called alike.
        shape: of the weight.
        dtype: float32 or float64.

    Returns:
        The weight.
    """
    return np.ones(shape, dtype)


def identity(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A convolution that hands its input on: each output is the mean of its inputs at the window's middle tap.

        weight[b, a, middle] = C / C_out  where  a C // C_in = b C // C_out,  noise elsewhere

    C is the largest number of groups that divides both the input's and the output's channels. With as many outputs as
    inputs (the paper's basic form) the weight is the identity and has no noise. Otherwise (the large form) the noise,
    normal with a thousandth of C / C_out as its deviation, lets equal channels grow apart. Through layers of C, 2 C,
    4 C, ..., C channels the factors cancel, and the module as a whole hands its input on.

    Args:
        rng: where the noise comes from.
        shape: of a weight, (C_out, C_in, K_h, K_w).
        dtype: float32 or float64.

    Returns:
        The weight.

    Source: Yu, Koltun, "Multi-scale context aggregation by dilated convolutions" (2016), equations 4 and 5.

    >>> identity(np.random.default_rng(0), (4, 2, 1, 1), np.dtype(float)).round(2)[:, :, 0, 0].T
    array([[0.5, 0.5, 0. , 0. ],
           [0. , 0. , 0.5, 0.5]])
    """
    outputs, inputs, height, width = shape
    groups = math.gcd(inputs, outputs)
    share = groups / outputs
    weight = np.zeros(shape, dtype)
    if inputs != outputs:
        weight += rng.standard_normal(shape, dtype=dtype.type) * dtype.type(share / 1000)
    same_group = np.equal.outer(np.arange(outputs) * groups // outputs, np.arange(inputs) * groups // inputs)
    weight[:, :, height // 2, width // 2][same_group] = share
    return weight


INITIALISERS: dict[str, Initialiser] = {
    "he_normal": he_normal,
    "bilinear": bilinear,
    "zeros": zeros,
    "ones": ones,
    "identity": identity,
}
