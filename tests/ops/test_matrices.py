"""The operations written out as sparse matrices."""

import sys

import numpy as np
import pytest

from npseg import matrices, ops
from npseg.matrices import SparseMatrix

RNG = np.random.default_rng(0)
POSITIONS = ops.max_pool2d(RNG.standard_normal((1, 2, 5, 6)), 2)[1][0]
WEIGHT = RNG.standard_normal((4, 2, 3, 2))
WINDOW = {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": (1, 2)}
MATRICES = {
    "conv2d": lambda: matrices.conv2d_matrix(WEIGHT, (5, 6), **WINDOW),
    "conv2d in groups": lambda: matrices.conv2d_matrix(WEIGHT, (5, 6), groups=2, padding="same", stride=2),
    "conv_transpose2d": lambda: matrices.conv_transpose2d_matrix(WEIGHT, (3, 4), **WINDOW, output_padding=(1, 0)),
    "conv_transpose2d in groups": lambda: matrices.conv_transpose2d_matrix(WEIGHT, (3, 4), groups=2, stride=4),
    "avg_pool2d": lambda: matrices.avg_pool2d_matrix(2, (5, 6), (3, 2), stride=(2, 3), padding=1, ceil_mode=True),
    "max_pool2d": lambda: matrices.max_pool2d_matrix(POSITIONS, (5, 6)),
    "nearest_unpool2d": lambda: matrices.nearest_unpool2d_matrix(2, (3, 4), (2, 3)),
    "bed_of_nails_unpool2d": lambda: matrices.bed_of_nails_unpool2d_matrix(2, (3, 4), (2, 3)),
    "resize_bilinear": lambda: matrices.resize_bilinear_matrix(2, (3, 4), (7, 2)),
    "resize_bilinear aligned": lambda: matrices.resize_bilinear_matrix(1, (3, 4), (5, 1), align_corners=True),
}
per_matrix = pytest.mark.parametrize("make", MATRICES.values(), ids=list(MATRICES))
WITH_DTYPE = {
    "avg_pool2d": lambda **dtype: matrices.avg_pool2d_matrix(2, (5, 6), 2, **dtype),
    "max_pool2d": lambda **dtype: matrices.max_pool2d_matrix(POSITIONS, (5, 6), **dtype),
    "nearest_unpool2d": lambda **dtype: matrices.nearest_unpool2d_matrix(2, (3, 4), 2, **dtype),
    "bed_of_nails_unpool2d": lambda **dtype: matrices.bed_of_nails_unpool2d_matrix(2, (3, 4), 2, **dtype),
    "resize_bilinear": lambda **dtype: matrices.resize_bilinear_matrix(2, (3, 4), (7, 2), **dtype),
}


def test_the_seed_example():
    """A 3x3 kernel on a 4x4 image, and its transposed convolution on a 2x2 one, with values of its own."""
    kernel, learned = np.arange(1.0, 10.0).reshape(1, 1, 3, 3), np.arange(10.0, 19.0).reshape(1, 1, 3, 3)
    convolution = matrices.conv2d_matrix(kernel, (4, 4))
    transposed = matrices.conv_transpose2d_matrix(learned, (2, 2))
    assert (convolution.shape, transposed.shape) == ((4, 16), (16, 4))
    assert (convolution.nnz, transposed.nnz) == (36, 36)
    np.testing.assert_array_equal(transposed.toarray() != 0, convolution.toarray().T != 0)
    np.testing.assert_array_equal(transposed.T.toarray() - convolution.toarray(), 9 * (convolution.toarray() != 0))
    first, second = convolution.toarray()[:2].reshape(2, 4, 4)
    assert first.tolist() == [[1, 2, 3, 0], [4, 5, 6, 0], [7, 8, 9, 0], [0, 0, 0, 0]]
    assert second.tolist() == [[0, 1, 2, 3], [0, 4, 5, 6], [0, 7, 8, 9], [0, 0, 0, 0]]
    image, small = RNG.standard_normal((1, 1, 4, 4)), RNG.standard_normal((1, 1, 2, 2))
    np.testing.assert_allclose(convolution @ image.ravel(), ops.conv2d(image, kernel).ravel())
    np.testing.assert_allclose(transposed @ small.ravel(), ops.conv_transpose2d(small, learned).ravel())


@per_matrix
def test_compressed_rows(make):
    matrix = make()
    assert isinstance(matrix, SparseMatrix)
    assert all(isinstance(length, int) for length in (*matrix.shape, matrix.nnz))
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int64
    assert matrix.data.dtype == np.float64
    assert matrix.data.shape == matrix.indices.shape == (matrix.nnz,)
    assert matrix.indptr.shape == (matrix.shape[0] + 1,)
    assert (matrix.indptr[0], matrix.indptr[-1]) == (0, matrix.nnz)
    for start, stop in zip(matrix.indptr, matrix.indptr[1:], strict=False):
        columns = matrix.indices[start:stop]
        assert np.all(np.diff(columns) > 0), "sorted, none twice"


@per_matrix
def test_dense_transposed_and_products_agree(make):
    matrix = make()
    dense = matrix.toarray()
    assert dense.shape == matrix.shape
    transposed = matrix.T
    np.testing.assert_array_equal(transposed.toarray(), dense.T)
    np.testing.assert_array_equal(transposed.T.toarray(), dense)
    for start, stop in zip(transposed.indptr, transposed.indptr[1:], strict=False):
        assert np.all(np.diff(transposed.indices[start:stop]) > 0)
    vector, vectors = RNG.standard_normal(matrix.shape[1]), RNG.standard_normal((matrix.shape[1], 3))
    for x in (vector, vectors, np.asfortranarray(vectors), vectors[:, ::-1], vectors[:, :0], vectors[:, :1]):
        np.testing.assert_allclose(matrix @ x, dense @ x, rtol=1e-12, atol=1e-12)
    swapped = vector.astype(vector.dtype.newbyteorder())
    np.testing.assert_array_equal(matrix @ swapped, matrix @ vector)
    assert (matrix @ swapped).dtype.isnative


@per_matrix
def test_scipy_sees_the_same(make):
    matrix = make()
    theirs = matrix.to_scipy()
    np.testing.assert_array_equal(theirs.toarray(), matrix.toarray())
    assert theirs.has_sorted_indices
    assert theirs.nnz == matrix.nnz
    vector = RNG.standard_normal(matrix.shape[1])
    np.testing.assert_allclose(theirs @ vector, matrix @ vector, rtol=1e-12, atol=1e-12)


def test_without_scipy_the_error_says_so(monkeypatch):
    matrix = matrices.conv2d_matrix(WEIGHT, (5, 6))
    for name in [name for name in sys.modules if name.split(".")[0] == "scipy"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ImportError, match="SciPy"):
        matrix.to_scipy()


def test_products_check_their_shapes_and_dtype():
    matrix = matrices.conv2d_matrix(WEIGHT, (5, 6))
    for wrong in (np.zeros(59), np.zeros((59, 2)), np.zeros((1, 60)), np.zeros((60, 1, 1)), np.zeros(())):
        with pytest.raises(ValueError, match=r"x must have shape \(60,\) or \(60, k\), got"):
            matrix @ wrong
    for wrong in (np.zeros(60, np.float32), np.zeros(60, int), [0.0] * 60):
        with pytest.raises(TypeError, match="x"):
            matrix @ wrong


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_convolution_matrices_keep_the_weights_dtype(dtype):
    weight = WEIGHT.astype(dtype)
    for matrix in (matrices.conv2d_matrix(weight, (5, 6)), matrices.conv_transpose2d_matrix(weight, (3, 4))):
        assert matrix.data.dtype == dtype
        assert (matrix @ np.ones(matrix.shape[1], dtype)).dtype == dtype
        assert matrix.T.data.dtype == matrix.toarray().dtype == dtype
    swapped = WEIGHT.astype(WEIGHT.dtype.newbyteorder())
    assert matrices.conv2d_matrix(swapped, (5, 6)).data.dtype.isnative


@pytest.mark.parametrize("make", WITH_DTYPE.values(), ids=list(WITH_DTYPE))
def test_the_others_take_a_dtype(make):
    assert make().data.dtype == np.float64
    for dtype in (np.float32, "float32", np.dtype(np.float32), np.dtype(">f4")):
        assert make(dtype=dtype).data.dtype == np.dtype("=f4")
    for wrong in (np.float16, int, bool, "nonsense", np.complex64, object):
        with pytest.raises(TypeError, match="dtype must be float32 or float64"):
            make(dtype=wrong)


def test_padding_has_no_entry_and_zero_weights_do():
    matrix = matrices.conv2d_matrix(np.zeros((1, 1, 3, 3)), (2, 2), padding=1)
    assert matrix.nnz == 16  # every output sees all four pixels, through nine taps of which four are real
    assert np.all(matrix.data == 0)
    assert matrices.conv2d_matrix(np.ones((1, 1, 1, 1)), (2, 3), padding=2).nnz == 6
    assert matrices.avg_pool2d_matrix(1, (2, 2), 2, padding=1).nnz == 4


@pytest.mark.parametrize("groups", [1, 2])
def test_entries_are_multiplications(groups):
    """Without padding, parameters times output positions."""
    weight = RNG.standard_normal((4, 6 // groups, 3, 2))
    matrix = matrices.conv2d_matrix(weight, (5, 6), groups=groups, stride=(2, 1))
    assert matrix.nnz == weight.size * 2 * 5
    assert matrix.shape == (4 * 2 * 5, 6 * 5 * 6)


def test_bilinear_entries():
    """Taps of weight 0 are left out and taps beyond the border merged into it."""
    assert matrices.resize_bilinear_matrix(1, (1, 4), (1, 8)).nnz == 14
    assert matrices.resize_bilinear_matrix(1, (4, 1), (8, 1)).nnz == 14
    assert matrices.resize_bilinear_matrix(3, (4, 4), (8, 8)).nnz == 3 * 14 * 14
    assert matrices.resize_bilinear_matrix(1, (5, 7), (5, 7)).nnz == 35
    assert matrices.resize_bilinear_matrix(1, (1, 5), (1, 9), align_corners=True).nnz == 5 + 2 * 4
    assert matrices.resize_bilinear_matrix(1, (6, 6), (3, 2)).nnz == 6 * 2  # thirds hit a pixel's centre
    for align_corners in (True, False):
        matrix = matrices.resize_bilinear_matrix(2, (5, 3), (7, 10), align_corners=align_corners)
        np.testing.assert_allclose(matrix @ np.ones(30), 1, rtol=1e-14)
        assert np.all(matrix.data > 0)


def test_max_pooling_selects_and_its_transpose_unpools():
    x = RNG.standard_normal((1, 2, 5, 6))
    y, indices = ops.max_pool2d(x, 2)
    matrix = matrices.max_pool2d_matrix(indices[0], (5, 6))
    assert np.all(matrix.data == 1)
    np.testing.assert_array_equal(np.diff(matrix.indptr), 1)
    np.testing.assert_array_equal(matrix @ x.ravel(), y.ravel())
    np.testing.assert_array_equal(matrix.T @ y.ravel(), ops.max_unpool2d(y, indices, (5, 6)).ravel())
    for wrong, error in (
        (indices, ValueError),
        (indices[0, 0], ValueError),
        (indices[0].astype(np.int32), TypeError),
        (indices[0] + 30, ValueError),
        (indices[0, :0], ValueError),
        (indices[0].tolist(), TypeError),
    ):
        with pytest.raises(error, match="indices"):
            matrices.max_pool2d_matrix(wrong, (5, 6))


def test_unpooling_matrices():
    nails = matrices.bed_of_nails_unpool2d_matrix(1, (1, 2), (2, 2)).toarray()
    assert nails.tolist() == [[1, 0], [0, 0], [0, 1], [0, 0], [0, 0], [0, 0], [0, 0], [0, 0]]
    nearest = matrices.nearest_unpool2d_matrix(1, (1, 2), (2, 2)).toarray()
    assert nearest.tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]] * 2


@pytest.mark.parametrize("wrong", [0, -1, 1.0, True, None])
def test_channels_are_a_positive_integer(wrong):
    for make in (
        lambda: matrices.avg_pool2d_matrix(wrong, (4, 4), 2),
        lambda: matrices.nearest_unpool2d_matrix(wrong, (4, 4), 2),
        lambda: matrices.bed_of_nails_unpool2d_matrix(wrong, (4, 4), 2),
        lambda: matrices.resize_bilinear_matrix(wrong, (4, 4), (2, 2)),
    ):
        with pytest.raises((TypeError, ValueError), match="channels"):
            make()


def test_arguments_are_named_in_errors():
    for function, blamed in (
        (lambda: matrices.conv2d_matrix(WEIGHT, 5), "input_size"),
        (lambda: matrices.conv2d_matrix(WEIGHT, (0, 5)), "input_size"),
        (lambda: matrices.conv2d_matrix(WEIGHT, (2, 2)), "weight"),
        (lambda: matrices.conv2d_matrix(WEIGHT[0], (5, 6)), "weight"),
        (lambda: matrices.conv2d_matrix(WEIGHT, (5, 6), groups=3), "groups"),
        (lambda: matrices.conv2d_matrix(WEIGHT, (5, 6), stride=0), "stride"),
        (lambda: matrices.conv_transpose2d_matrix(WEIGHT, (5, 6), output_padding=1), "output_padding"),
        (lambda: matrices.conv_transpose2d_matrix(WEIGHT, (1, 1), padding=2), "padding"),
        (lambda: matrices.avg_pool2d_matrix(1, (2, 2), 3), "kernel_size"),
        (lambda: matrices.nearest_unpool2d_matrix(1, (2, 2), 0), "scale"),
        (lambda: matrices.resize_bilinear_matrix(1, (2, 2), (0, 1)), "output_size"),
    ):
        with pytest.raises((TypeError, ValueError), match=rf"\b{blamed}\b"):
            function()


def test_products_never_warn():
    matrix = matrices.resize_bilinear_matrix(1, (2, 3), (5, 4))
    extremes = np.array([np.inf, -np.inf, np.nan, 1e308, -1e308, 5e-324])
    with np.errstate(all="raise"):
        assert not np.isfinite(matrix @ extremes).all()


def test_a_matrix_of_ones_own():
    matrix = SparseMatrix(np.array([1.0, 2.0, 3.0]), np.array([0, 2, 1]), np.array([0, 2, 2, 3]), (3, 4))
    assert matrix.toarray().tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [0, 3, 0, 0]]
    assert (matrix @ np.array([1.0, 10, 100, 1000])).tolist() == [201, 0, 30]
    empty = SparseMatrix(np.zeros(0), np.zeros(0, np.int64), np.zeros(3, np.int64), (2, 5))
    assert (empty @ np.ones(5)).tolist() == [0, 0]
    assert empty.T.shape == (5, 2)
    data, indices, indptr = matrix.data, matrix.indices, matrix.indptr
    for wrong, blamed in (
        ((data[:2], indices, indptr, (3, 4)), "data"),
        ((data, indices.astype(np.int32), indptr, (3, 4)), "indices"),
        ((data, indices + 2, indptr, (3, 4)), "indices"),
        ((data, indices - 1, indptr, (3, 4)), "indices"),
        ((data, indices, indptr[:-1], (3, 4)), "indptr"),
        ((data, indices, np.array([0, 3, 2, 3]), (3, 4)), "indptr"),
        ((data, indices, np.array([1, 2, 2, 3]), (3, 4)), "indptr"),
    ):
        with pytest.raises((TypeError, ValueError), match=blamed):
            SparseMatrix(*wrong)
