"""What follows a convolution at once: its bias, and the ReLU where one comes next."""

import numpy as np

from npseg.checks import Array


def finished(y: Array, bias: Array | None, relu: bool) -> Array:
    """Add the bias to maps (N, C, H, W) and cut off the negative, in place; NaN stays NaN.

    Args:
        y: the convolution's sums, which are changed.
        bias: (C,), or None.
        relu: whether to cut off the negative.
    """
    if bias is not None:
        y += bias[:, None, None]
    if relu:
        np.maximum(y, 0, out=y)
    return y
