"""Deconvolution: the inverse of a convolution, in the sense of least squares."""

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.geometry import Padding, Pair, transposed_window
from npseg.matrices.convolution import convolution_matrix
from npseg.ops.examples import BadExample, Example


@np.errstate(all="ignore")
def deconvolve2d(
    y: Array,
    kernel: Array,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    regularization: float = 0.0,
) -> Array:
    """Find the image whose convolution with `kernel` is y.

        x = argmin |A x - y|^2 + regularization * |x|^2,    A = conv2d_matrix(kernel, x's size, ...)

    Three maps go from y's side to x's side, and they are different things. The *adjoint* A^T (`conv2d_grad_input`)
    sends each y back along its taps: it undoes nothing. The *transposed convolution* (`conv_transpose2d`) has A^T's
    connections, but weights that are learned. *Deconvolution*, this function, is the inverse: convolving its result
    gives y again, wherever y can be reached at all.

    Args:
        y: (H_out, W_out), the convolved image.
        kernel: (K_h, K_w), not flipped.
        stride, padding, dilation: of the convolution, as in `conv2d`.
        regularization: 0 gives the least-squares solution of smallest norm, as `numpy.linalg.lstsq(A, y)` does; above 0
            (Tikhonov) it trades fidelity for a smaller x, which keeps noise from being amplified.

    Returns:
        (H, W), H = (H_out - 1) * s_h + d_h * (K_h - 1) + 1 - top - bottom; with "same", H_out * s_h. NaN or infinity in
        y or the kernel makes all of it NaN, since the equations couple every pixel.

    Raises:
        TypeError, ValueError: arguments are not of this form, or A would exceed 64 GiB.

    Lesson: notebooks/08_transposed.ipynb

    >>> kernel = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> x = np.array([[0.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 0.0]])
    >>> from npseg.ops import conv2d
    >>> y = conv2d(x[None, None], kernel[None, None], padding=1)[0, 0]
    >>> np.allclose(deconvolve2d(y, kernel, padding=1), x)
    True
    """
    y = checks.floats(y, "y", "(H_out, W_out)")
    kernel = checks.floats(kernel, "kernel", "(K_h, K_w)")
    checks.same_dtype(y=y, kernel=kernel)
    regularization = checks.number(regularization, "regularization", at_least=0.0)
    output_size = y.shape[0], y.shape[1]
    window = transposed_window(kernel.shape, output_size, stride=stride, padding=padding, dilation=dilation)
    size = window.input_size(output_size)
    pixels = size[0] * size[1]
    blamed = window.enlarged_by(output_size, image="y", kernel="kernel")
    rows = y.size + pixels if regularization else y.size
    checks.fits_memory((rows, pixels), np.dtype(np.float64).itemsize, blamed, "the dense matrix")
    if not (np.isfinite(y).all() and np.isfinite(kernel).all()):
        return np.full(size, np.nan, y.dtype)
    a = convolution_matrix(window, size, output_size, kernel[None, None], 1, blamed).toarray()
    target = y.ravel()
    if regularization:
        # |A x - y|^2 + r |x|^2 is the plain least-squares problem of A stacked on sqrt(r) I; forming A^T A would square
        # the condition number. In float64, as lstsq computes anyway, so that no sqrt(r) is too large or too small.
        a = np.concatenate([a, np.sqrt(regularization) * np.eye(pixels)])
        target = np.concatenate([target, np.zeros(pixels)])
    solution: Array = np.linalg.lstsq(a, target)[0].astype(y.dtype)
    return solution.reshape(size)


EXAMPLES = [
    Example("deconvolve2d", {"y": (4, 5), "kernel": (2, 3)}),
    Example("deconvolve2d", {"y": (6, 5), "kernel": (3, 2)}, {"padding": (2, 1)}),
    Example("deconvolve2d", {"y": (3, 4), "kernel": (3, 2)}, {"stride": (2, 1), "padding": "same"}),
    Example("deconvolve2d", {"y": (4, 3), "kernel": (2, 2)}, {"dilation": 2, "regularization": 0.5}),
]

BAD_EXAMPLES = [
    BadExample("deconvolve2d", {"y": (1, 4, 5), "kernel": (2, 3)}, {}, "y"),
    BadExample("deconvolve2d", {"y": (4, 5), "kernel": (1, 1, 2, 3)}, {}, "kernel"),
    BadExample("deconvolve2d", {"y": (4, 5), "kernel": (2, 3)}, {"regularization": -1.0}, "regularization"),
    BadExample("deconvolve2d", {"y": (4, 5), "kernel": (2, 3)}, {"regularization": "1"}, "regularization", TypeError),
    BadExample("deconvolve2d", {"y": (1, 1), "kernel": (2, 3)}, {"padding": 1}, "padding"),
]
