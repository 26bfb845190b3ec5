"""Linear operations as sparse matrices: one row per output, one entry per tap that sees a real pixel.

A 3x3 convolution of a 4x4 image has 2 * 2 outputs and 4 * 4 inputs, so it is a (4, 16) matrix with 9 entries a row; its
transposed convolution on a 2x2 image is a (16, 4) matrix of the transposed pattern. Compressed sparse rows keep three
arrays: row r owns `data[indptr[r]:indptr[r + 1]]`, which stand in the columns `indices[indptr[r]:indptr[r + 1]]`.

An image (C, H, W) is flattened in that order: pixel (c, h, w) is column (c * H + h) * W + w.
"""

from npseg.matrices.convolution import conv2d_matrix, conv_transpose2d_matrix
from npseg.matrices.pooling import avg_pool2d_matrix, max_pool2d_matrix
from npseg.matrices.resizing import bed_of_nails_unpool2d_matrix, nearest_unpool2d_matrix, resize_bilinear_matrix
from npseg.matrices.sparse_matrix import SparseMatrix

__all__ = [
    "SparseMatrix",
    "avg_pool2d_matrix",
    "bed_of_nails_unpool2d_matrix",
    "conv2d_matrix",
    "conv_transpose2d_matrix",
    "max_pool2d_matrix",
    "nearest_unpool2d_matrix",
    "resize_bilinear_matrix",
]
