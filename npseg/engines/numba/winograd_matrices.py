"""Winograd's constant matrices, for tiles of 2 x 2 and of 4 x 4 outputs, as functions of long vectors.

    A^T   from products to outputs        G   of weights        B^T   of pixels

Source: Lavin, Gray, "Fast algorithms for convolutional neural networks" (2016).
"""

import numpy as np

from npseg.engines.numba.transforms import join, linear, split

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

weights_of_two, weights_of_four = linear(_WEIGHTS[2]), linear(_WEIGHTS[4])
pixels_of_two, pixels_of_four = linear(_PIXELS[2], padded=True), linear(_PIXELS[4], padded=True)
neighbours_of_two, neighbours_of_four = linear(_PIXELS[2], wrap=2), linear(_PIXELS[4], wrap=4)
back_of_two, back_of_four = linear(_BACK[2], padded=True), linear(_BACK[4], padded=True)
split_in_two, split_in_four = split(2), split(4)
join_two, join_four = join(2), join(4)
