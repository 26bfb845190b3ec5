"""A working call of every operation, of every matrix, and of the geometry behind both."""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

from npseg import geometry, matrices

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
from calls import OPERATIONS, working_calls

WEIGHT = np.ones((2, 3, 3, 2))


def of_operations():
    return {f"ops.{name}": (OPERATIONS[name], arguments) for name, arguments in working_calls().items()}


def of_matrices():
    pool = {"channels": 2, "input_size": (4, 6), "dtype": np.float64}
    window = {"kernel_size": 2, "stride": 2, "padding": 0}
    calls = {
        "conv2d_matrix": {
            "weight": WEIGHT, "input_size": (4, 5), "stride": 1, "padding": 0, "dilation": 1, "groups": 1
        },
        "conv_transpose2d_matrix": {
            "weight": WEIGHT, "input_size": (4, 5), "stride": 1, "padding": 0, "output_padding": 0, "dilation": 1,
            "groups": 1,
        },
        "avg_pool2d_matrix": {**pool, **window, "ceil_mode": False, "count_include_pad": True},
        "max_pool2d_matrix": {"indices": np.array([[[0, 3]]]), "input_size": (1, 4), "dtype": np.float64},
        "nearest_unpool2d_matrix": {**pool, "scale": 2},
        "bed_of_nails_unpool2d_matrix": {**pool, "scale": 2},
        "resize_bilinear_matrix": {**pool, "output_size": (3, 7), "align_corners": False},
    }  # fmt: skip
    entries = {
        "data": np.ones(2), "indices": np.array([0, 2]), "indptr": np.array([0, 1, 2]), "shape": (2, 3)
    }  # fmt: skip

    def multiply(x):
        return matrices.SparseMatrix(**entries) @ x

    return {
        **{f"matrices.{name}": (getattr(matrices, name), arguments) for name, arguments in calls.items()},
        "matrices.SparseMatrix": (matrices.SparseMatrix, entries),
        "matrices.SparseMatrix.__matmul__": (multiply, {"x": np.ones(3)}),
    }


def of_geometry():
    window = {"kernel_size": 3, "input_size": (6, 7), "stride": 1, "padding": 0}
    return {
        "geometry.convolution_window": (geometry.convolution_window, {**window, "dilation": 1}),
        "geometry.pooling_window": (geometry.pooling_window, {**window, "dilation": 1, "ceil_mode": False}),
        "geometry.transposed_window": (
            geometry.transposed_window, {**window, "output_padding": 0, "dilation": 1}
        ),
        "geometry.check_real_pixels": (geometry.check_real_pixels, {
            "window": geometry.pooling_window(3, (6, 7))[0], "input_size": (6, 7)
        }),
        "geometry.AffineMap": (geometry.AffineMap, {"scale": Fraction(2), "offset": Fraction(1)}),
        "geometry.AffineMap.crop_to": (lambda other: geometry.AffineMap().crop_to(other), {
            "other": geometry.AffineMap()
        }),
        "geometry.parse_padding": (geometry.parse_padding, {"padding": 1}),
    }  # fmt: skip
