"""What would take more than 64 GiB is refused by name, at once, before anything large is allocated."""

import time
import tracemalloc

import numpy as np
import pytest

from npseg import checks, engines, matrices, ops, use_engine

HUGE = 10**6


def giant(*shape, dtype=np.float32):
    """An array of this shape that takes four bytes."""
    return np.broadcast_to(np.zeros((), dtype), shape)


IMAGE, MAP, KERNEL = np.zeros((1, 2, 5, 4)), np.zeros((1, 3, 5, 4)), np.zeros((3, 2, 3, 3))
IMAGES = giant(HUGE, 2, 200, 200)
PICTURE = giant(1, 1, 10**6, 10**6)
PLACES = giant(HUGE, 2, 200, 200, dtype=np.int64)
FILTERS, VECTOR = giant(3, 2, 3, 3), giant(2)
STATISTICS = {"gamma": VECTOR, "beta": VECTOR, "running_mean": np.zeros(2, np.float32)}
STATISTICS |= {"running_var": np.ones(2, np.float32), "training": True}
SAVED = ops.batch_norm2d(giant(1, 2, 1, 2), **STATISTICS)[1]
RNG = np.random.default_rng(0)

REFUSED = {
    "im2col padding": ("padding", lambda: ops.im2col(IMAGE, 3, padding=10**9)),
    "im2col kernel": ("kernel_size", lambda: ops.im2col(giant(1, 1, 3000, 3000), 1500)),
    "im2col x": ("x", lambda: ops.im2col(IMAGES, 1)),
    "col2im size": ("input_size", lambda: ops.col2im(giant(1, 1, 10**6), (10**9, 10**9), 1, stride=10**6)),
    "conv2d padding": ("padding", lambda: ops.conv2d(IMAGE, KERNEL, padding=HUGE)),
    "conv2d x": ("x", lambda: ops.conv2d(IMAGES, FILTERS)),
    "conv2d weight": ("weight", lambda: ops.conv2d(giant(1, 1, 300, 300), giant(HUGE, 1, 3, 3))),
    "conv2d weight alone": ("weight", lambda: ops.conv2d(giant(1, HUGE, 1, 1), giant(HUGE, HUGE, 1, 1))),
    "conv2d_backward x": (
        "x",
        lambda: ops.conv2d_backward(giant(1, 1, 1000, 1000), PICTURE, giant(1, 1, 1, 1), stride=1000),
    ),
    "conv2d_backward grad": (
        "grad",
        lambda: ops.conv2d_backward(giant(1, HUGE, 200, 200), giant(1, 1, 200, 200), giant(HUGE, 1, 1, 1)),
    ),
    "conv2d_grad_input": (
        "input_size",
        lambda: ops.conv2d_grad_input(giant(1, 1, 10, 10), giant(1, 1, 1, 1), (10**6, 10**6), stride=10**5),
    ),
    "conv2d_grad_weight": (
        "kernel_size",
        lambda: ops.conv2d_grad_weight(giant(1, 10**3, 1, 1), giant(1, 10**3, 500, 500), 500),
    ),
    "depthwise padding": ("padding", lambda: ops.depthwise_conv2d(IMAGE, np.zeros((2, 1, 3, 3)), padding=HUGE)),
    "separable padding": (
        "padding",
        lambda: ops.separable_conv2d(IMAGE, np.zeros((2, 1, 3, 3)), np.zeros((3, 2, 1, 1)), padding=HUGE),
    ),
    "transposed stride": ("stride", lambda: ops.conv_transpose2d(MAP, KERNEL, stride=HUGE)),
    "transposed same": ("stride", lambda: ops.conv_transpose2d(MAP, KERNEL, stride=HUGE, padding="same")),
    "transposed dilation": ("dilation", lambda: ops.conv_transpose2d(MAP, KERNEL, dilation=HUGE)),
    "transposed x": ("x", lambda: ops.conv_transpose2d(giant(HUGE, 3, 200, 200), FILTERS)),
    "transposed weight": ("weight", lambda: ops.conv_transpose2d(giant(1, 1, 1, 1), giant(1, HUGE, 300, 300))),
    "transposed backward": (
        "grad",
        lambda: ops.conv_transpose2d_backward(
            giant(1, 1, 999001, 999001), giant(1, 1, 1000, 1000), giant(1, 1, 1, 1), stride=1000
        ),
    ),
    "max_pool2d padding": ("padding", lambda: ops.max_pool2d(IMAGE, 3, stride=1, padding=HUGE)),
    "max_pool2d x": ("x", lambda: ops.max_pool2d(IMAGES, 1)),
    "max_pool2d_backward": (
        "input_size",
        lambda: ops.max_pool2d_backward(IMAGE, np.zeros((1, 2, 5, 4), np.int64), (HUGE, HUGE)),
    ),
    "max_pool2d_backward indices": ("indices", lambda: ops.max_pool2d_backward(IMAGES, PLACES, (200, 200))),
    "avg_pool2d padding": ("padding", lambda: ops.avg_pool2d(IMAGE, 3, stride=1, padding=HUGE)),
    "avg_pool2d x": ("x", lambda: ops.avg_pool2d(IMAGES, 1)),
    "avg_pool2d_backward": ("input_size", lambda: ops.avg_pool2d_backward(IMAGE, (5 * HUGE, 4 * HUGE), HUGE)),
    "global_avg_pool2d_backward": (
        "input_size",
        lambda: ops.global_avg_pool2d_backward(IMAGE[:, :, :1, :1], (HUGE, HUGE)),
    ),
    "max_unpool2d size": (
        "output_size",
        lambda: ops.max_unpool2d(IMAGE, np.arange(40).reshape(IMAGE.shape), (HUGE, HUGE)),
    ),
    "max_unpool2d x": ("x", lambda: ops.max_unpool2d(IMAGES, PLACES, (200, 200))),
    "max_unpool2d_backward": ("indices", lambda: ops.max_unpool2d_backward(giant(HUGE, 2, 1, 1), PLACES)),
    "nearest": ("scale", lambda: ops.nearest_unpool2d(IMAGE, HUGE)),
    "nearest x": ("x", lambda: ops.nearest_unpool2d(IMAGES, 1)),
    "nails": ("scale", lambda: ops.bed_of_nails_unpool2d(IMAGE, (HUGE, HUGE))),
    "resize": ("output_size", lambda: ops.resize_bilinear(IMAGE, (HUGE, HUGE))),
    "resize longest": ("output_size", lambda: ops.resize_bilinear(IMAGE, (10**9, 10**9))),
    "resize backward": ("input_size", lambda: ops.resize_bilinear_backward(IMAGE, (10**9, 10**9))),
    "deconvolve2d y": ("y", lambda: ops.deconvolve2d(giant(1000, 1000), giant(3, 3))),
    "deconvolve2d stride": ("stride", lambda: ops.deconvolve2d(giant(3, 3), giant(3, 3), stride=10**6)),
    "deconvolve2d kernel": ("kernel", lambda: ops.deconvolve2d(giant(1, 1), giant(10**6, 10**6))),
    "crop2d": ("x", lambda: ops.crop2d(IMAGES, (200, 200), 0)),
    "crop2d_backward": ("input_size", lambda: ops.crop2d_backward(IMAGE, (HUGE, HUGE), 0)),
    "linear x": ("x", lambda: ops.linear(giant(HUGE, HUGE), giant(1, HUGE))),
    "linear weight": ("weight", lambda: ops.linear(giant(1, HUGE), giant(HUGE, HUGE))),
    "linear both": ("weight", lambda: ops.linear(giant(HUGE, 1), giant(HUGE, 1))),
    "relu": ("x", lambda: ops.relu(IMAGES)),
    "relu6": ("x", lambda: ops.relu6(IMAGES)),
    "relu_backward": ("grad", lambda: ops.relu_backward(IMAGES, IMAGES)),
    "dropout": ("x", lambda: ops.dropout(IMAGES, 0.5, RNG)),
    "dropout_backward": ("grad", lambda: ops.dropout_backward(IMAGES, IMAGES)),
    "softmax": ("x", lambda: ops.softmax(IMAGES)),
    "log_softmax": ("x", lambda: ops.log_softmax(IMAGES)),
    "batch_norm2d": ("x", lambda: ops.batch_norm2d(IMAGES, **STATISTICS)),
    "batch_norm2d_backward": ("grad", lambda: ops.batch_norm2d_backward(IMAGES, IMAGES, VECTOR, SAVED)),
    "local_response_norm": ("x", lambda: ops.local_response_norm(IMAGES, 3)),
    "local_response_norm_backward": ("grad", lambda: ops.local_response_norm_backward(IMAGES, IMAGES, 3)),
    "cross_entropy2d": ("logits", lambda: ops.cross_entropy2d(IMAGES, PLACES[:, 0])),
    "cross_entropy2d_backward": ("logits", lambda: ops.cross_entropy2d_backward(IMAGES, PLACES[:, 0])),
    "segmentation_map": ("logits", lambda: ops.segmentation_map(IMAGES)),
    "conv2d_matrix padding": ("padding", lambda: matrices.conv2d_matrix(KERNEL, (5, 4), padding=HUGE)),
    "conv2d_matrix size": ("input_size", lambda: matrices.conv2d_matrix(KERNEL, (HUGE, HUGE))),
    "conv2d_matrix weight": ("weight", lambda: matrices.conv2d_matrix(giant(HUGE, HUGE, 1, 1), (1, 1))),
    "conv_transpose2d_matrix": ("stride", lambda: matrices.conv_transpose2d_matrix(KERNEL, (5, 4), stride=HUGE)),
    "conv_transpose2d_matrix size": ("input_size", lambda: matrices.conv_transpose2d_matrix(KERNEL, (HUGE, HUGE))),
    "avg_pool2d_matrix padding": ("padding", lambda: matrices.avg_pool2d_matrix(1, (5, 4), 3, stride=1, padding=HUGE)),
    "avg_pool2d_matrix size": ("input_size", lambda: matrices.avg_pool2d_matrix(1, (HUGE, HUGE), 1)),
    "avg_pool2d_matrix channels": ("channels", lambda: matrices.avg_pool2d_matrix(10**12, (5, 4), 2)),
    "max_pool2d_matrix": ("indices", lambda: matrices.max_pool2d_matrix(PLACES[:, 0], (200, 200))),
    "nearest matrix": ("scale", lambda: matrices.nearest_unpool2d_matrix(1, (5, 4), HUGE)),
    "nails matrix": ("scale", lambda: matrices.bed_of_nails_unpool2d_matrix(1, (1, 1), HUGE)),
    "nails matrix size": ("input_size", lambda: matrices.bed_of_nails_unpool2d_matrix(1, (HUGE, HUGE), 1)),
    "resize matrix": ("output_size", lambda: matrices.resize_bilinear_matrix(1, (5, 4), (HUGE, HUGE))),
    "resize matrix longest": ("output_size", lambda: matrices.resize_bilinear_matrix(1, (5, 4), (10**10, 10**10))),
    "toarray": ("matrix", lambda: matrices.nearest_unpool2d_matrix(1, (400, 400), 1).toarray()),
    "transpose": ("matrix", lambda: matrices.resize_bilinear_matrix(1, (10**6, 10**6), (1, 1)).T),
    "swapped bytes": ("x", lambda: ops.crop2d(giant(10**6, 1, 200, 200, dtype=">f4"), (1, 1), 0)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_too_much_is_refused_at_once(case):
    blamed, function = REFUSED[case]
    tracemalloc.start()
    started = time.perf_counter()
    try:
        with pytest.raises(ValueError, match=rf"^{blamed} asks for too much memory: .* would take .*\(64 GiB\)"):
            function()
        took, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6
    assert took < 10  # a compiled check may have to be compiled first


@pytest.mark.parametrize("engine", engines())
@pytest.mark.parametrize("case", ["conv2d x", "transposed stride", "max_pool2d padding", "resize", "nearest x"])
def test_no_engine_starts_what_is_too_much(case, engine):
    with use_engine(engine):
        test_too_much_is_refused_at_once(case)


def test_sparse_matrices_that_would_be_too_large_are_refused():
    """The result would fit; the matrix on the way to it would not."""
    image, weight = giant(1, 256, 512, 512), giant(256, 256, 3, 3)
    with pytest.raises(ValueError, match="weight asks for too much memory: the sparse matrix's entries"):
        ops.conv2d(image, weight, padding=1, engine="sparse")
    with pytest.raises(ValueError, match="weight asks for too much memory: the sparse matrix's entries"):
        ops.conv_transpose2d(image, weight, padding=1, engine="sparse")
    with pytest.raises(ValueError, match="x asks for too much memory: the sparse matrix's entries"):
        ops.conv2d_grad_weight(image, image, 3, padding=1, engine="sparse")


def test_64_gibibytes_are_just_enough():
    checks.fits_memory((2**30, 8), 8, "x")
    with pytest.raises(ValueError, match=r"^x asks"):
        checks.fits_memory((2**36 + 1,), 1, "x")
    with pytest.raises(ValueError, match=r"^x asks"):
        checks.fits_memory((0, 2**30, 9), 8, "x")  # an empty batch counts as one image


def test_small_views_of_giants_are_fine():
    """Only results and temporaries count, not how large an argument says it is."""
    assert ops.crop2d(IMAGES, (1, 2), 0).shape == (HUGE, 2, 1, 2)
    y = ops.conv2d(giant(1, 1, 10**6, 10**6), giant(1, 1, 2, 3), stride=10**5)
    assert y.shape == (1, 1, 10, 10)
    assert ops.max_pool2d(giant(1, 1, 10**6, 10**6), 2, stride=10**5)[0].shape == (1, 1, 10, 10)
