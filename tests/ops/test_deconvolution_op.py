"""Deconvolution really inverts, and is neither the adjoint nor the transposed convolution."""

import numpy as np
import pytest

from npseg import matrices, ops

RNG = np.random.default_rng(0)

CASES = [
    ((4, 5), (2, 3), {}),
    ((5, 4), (3, 2), {"padding": (2, 1)}),
    ((5, 4), (3, 2), {"padding": ((2, 1), (0, 1))}),
    ((3, 4), (3, 2), {"stride": (2, 1)}),
    ((3, 4), (4, 3), {"stride": (1, 2), "dilation": (2, 1), "padding": 1}),
    ((3, 4), (3, 2), {"padding": "same"}),
    ((3, 4), (3, 4), {"padding": "same", "stride": (2, 3)}),
    ((3, 4), (1, 2), {"padding": "same", "stride": (2, 3)}),
    ((2, 3), (1, 1), {"padding": "valid", "stride": 2}),
]


def expected_size(shape, kernel, stride=1, padding=0, dilation=1):
    def both(value):
        return value if isinstance(value, tuple) else (value, value)

    stride, dilation = both(stride), both(dilation)
    if padding == "same":
        return tuple(n * s for n, s in zip(shape, stride, strict=True))
    sides = [both(side) for side in both(0 if padding == "valid" else padding)]
    return tuple(
        (n - 1) * s + d * (k - 1) + 1 - sum(side)
        for n, s, d, k, side in zip(shape, stride, dilation, kernel, sides, strict=True)
    )


@pytest.mark.parametrize(("shape", "kernel", "arguments"), CASES)
def test_equals_least_squares_through_the_matrix(shape, kernel, arguments):
    y, kernel = RNG.standard_normal(shape), RNG.standard_normal(kernel)
    x = ops.deconvolve2d(y, kernel, **arguments)
    assert x.shape == expected_size(shape, kernel.shape, **arguments)
    matrix = matrices.conv2d_matrix(kernel[None, None], x.shape, **arguments).toarray()
    np.testing.assert_allclose(x.ravel(), np.linalg.lstsq(matrix, y.ravel())[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("shape", "kernel", "arguments"), CASES)
@pytest.mark.parametrize("regularization", [1e-6, 0.3, 5, np.float32(2)])
def test_regularized_equals_the_normal_equations(shape, kernel, arguments, regularization):
    y, kernel = RNG.standard_normal(shape), RNG.standard_normal(kernel)
    x = ops.deconvolve2d(y, kernel, regularization=regularization, **arguments)
    a = matrices.conv2d_matrix(kernel[None, None], x.shape, **arguments).toarray()
    expected = np.linalg.solve(a.T @ a + float(regularization) * np.eye(x.size), a.T @ y.ravel())
    np.testing.assert_allclose(x.ravel(), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_undoes_a_convolution_that_loses_nothing(dtype):
    """With full padding there are more outputs than pixels, and every pixel can be recovered."""
    x, kernel = RNG.standard_normal((6, 5)).astype(dtype), RNG.standard_normal((3, 2)).astype(dtype)
    y = ops.conv2d(x[None, None], kernel[None, None], padding=(2, 1))[0, 0]
    restored = ops.deconvolve2d(y, kernel, padding=(2, 1))
    assert restored.dtype == dtype
    np.testing.assert_allclose(restored, x, rtol=1e-2 if dtype == np.float32 else 1e-9, atol=1e-3)
    adjoint = ops.conv2d_grad_input(y[None, None], kernel[None, None], (6, 5), padding=(2, 1))[0, 0]
    assert not np.allclose(adjoint, x, atol=0.1)


def test_convolving_the_result_gives_y_again():
    y, kernel = RNG.standard_normal((4, 5)), RNG.standard_normal((3, 2))
    for arguments in ({}, {"stride": 2}, {"dilation": (1, 2)}, {"padding": "same", "stride": (3, 2)}):
        x = ops.deconvolve2d(y, kernel, **arguments)
        again = ops.conv2d(x[None, None], kernel[None, None], **arguments)[0, 0]
        np.testing.assert_allclose(again, y, rtol=1e-8, atol=1e-9)


def test_more_regularization_gives_a_smaller_image():
    y, kernel = RNG.standard_normal((4, 5)), RNG.standard_normal((3, 2))
    norms = [np.linalg.norm(ops.deconvolve2d(y, kernel, regularization=r)) for r in (0, 0.01, 1, 100, 1e12)]
    assert norms == sorted(norms, reverse=True)
    assert norms[-1] < 1e-10


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("regularization", [1e-300, 1e300])
def test_regularization_of_any_size(dtype, regularization):
    y, kernel = RNG.standard_normal((4, 5)).astype(dtype), RNG.standard_normal((3, 2)).astype(dtype)
    x = ops.deconvolve2d(y, kernel, regularization=regularization)
    assert x.dtype == dtype
    expected = ops.deconvolve2d(y, kernel) if regularization < 1 else np.zeros_like(x)
    np.testing.assert_allclose(x, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_spreads_everywhere(bad):
    y, kernel = RNG.standard_normal((4, 5)), RNG.standard_normal((3, 2))
    for regularization in (0.0, 0.5):
        spoiled = y.copy()
        spoiled[1, 2] = bad
        assert np.isnan(ops.deconvolve2d(spoiled, kernel, regularization=regularization)).all()
        assert np.isnan(ops.deconvolve2d(y, kernel * bad, regularization=regularization)).all()


def test_the_size_formula_is_in_the_error():
    with pytest.raises(ValueError, match=r"padding .* = \(1 - 1\) \* 1 \+ 1 \* \(2 - 1\) \+ 1 - 1 - 1 = 0"):
        ops.deconvolve2d(np.ones((1, 4)), np.ones((2, 2)), padding=1)
