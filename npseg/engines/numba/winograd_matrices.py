"""Winograd's constant matrices, for tiles of 2 x 2 and of 4 x 4 outputs, as functions of long vectors.

    A^T   from products to outputs        G   of weights        B^T   of pixels

Source: Lavin, Gray, "Fast algorithms for convolutional neural networks" (2016).
"""

import numpy as np

from npseg.engines.numba.transforms import deal, join, join_largest, linear, linear_of_dealt

_BACK = {
    2: np.array([[1, 1, 1, 0], [0, 1, -1, -1]]),
    4: np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]),
}
"""A^T for each m."""

_WEIGHTS = {
    2: np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]),
    4: np.array(
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ]
    ),
}
"""G for each m."""

_PIXELS = {
    2: np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
    4: np.array(
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ]
    ),
}
"""B^T for each m."""

_BACK_TO_WEIGHTS = {
    2: np.array([[1, 1, 1, 0], [0, 1, -1, 0], [0, 1, 1, -1]]),
    4: np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 1]]),
}
"""A^T of the weight gradient for each m."""

_GRADS = {
    2: np.array([[1, 0], [1 / 2, 1 / 2], [1 / 2, -1 / 2], [0, 1]]),
    4: np.array(
        [
            [1 / 4, 0, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6, 1 / 6],
            [1 / 24, 1 / 12, 1 / 6, 1 / 3],
            [1 / 24, -1 / 12, 1 / 6, -1 / 3],
            [0, 0, 0, 1],
        ]
    ),
}
"""G of the weight gradient for each m."""

# For the parts of kernels in `winograd_tiles` and `winograd_weight_tiles`, by m. Kernels themselves have to call by
# name what they call.
DEAL = {m: deal(m) for m in (2, 4)}
JOIN = {m: join(m) for m in (2, 4)}
JOIN_LARGEST = {m: join_largest(m) for m in (2, 4)}
PIXELS_DOWN = {m: linear_of_dealt(_PIXELS[m], m, padded=True) for m in (2, 4)}
PIXELS_ACROSS = {m: linear_of_dealt(_PIXELS[m], m) for m in (2, 4)}
BACK = {m: linear(_BACK[m], padded=True) for m in (2, 4)}
PIXELS = {m: linear(_PIXELS[m], padded=True) for m in (2, 4)}
GRADS = {m: linear(_GRADS[m]) for m in (2, 4)}

weights_of_two, weights_of_four = linear(_WEIGHTS[2]), linear(_WEIGHTS[4])
back_to_weights_of_two, back_to_weights_of_four = linear(_BACK_TO_WEIGHTS[2]), linear(_BACK_TO_WEIGHTS[4])
