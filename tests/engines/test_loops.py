"""The loops engine is the definition: it makes one multiplication for every entry of the sparse matrix."""

import numpy as np
import pytest

from npseg import matrices
from npseg.engines import loops
from npseg.geometry import convolution_window


@pytest.mark.parametrize(
    ("weight_shape", "size", "arguments"),
    [
        ((3, 2, 3, 2), (5, 4), {}),
        ((4, 1, 2, 3), (6, 5), {"stride": (2, 1), "padding": ((2, 0), (1, 3)), "dilation": (1, 2), "groups": 2}),
        ((1, 1, 3, 3), (2, 2), {"padding": "same"}),
    ],
)
def test_taps_are_the_matrix_entries(weight_shape, size, arguments):
    arguments = dict(arguments)
    groups = arguments.pop("groups", 1)
    weight = np.arange(1.0, 1 + np.prod(weight_shape)).reshape(weight_shape)
    window = convolution_window(weight_shape[2:], size, **arguments)
    outputs = window.output_size(size)
    dense = np.zeros((weight_shape[0], *outputs, weight_shape[1] * groups, *size))
    taps = list(loops.taps(1, weight_shape, size, outputs, window, groups))
    for tap in taps:
        dense[tap.output[1:] + tap.input[1:]] += weight[tap.weight]
    matrix = matrices.conv2d_matrix(weight, size, groups=groups, **arguments)
    assert len(taps) == len(set(taps)) == matrix.nnz
    np.testing.assert_array_equal(matrix.toarray(), dense.reshape(matrix.shape))
