"""No kernel computes with what was in its memory before.

It would not change a result, for what comes of it is cut off. But such numbers may be tiny, below the smallest normal
one, and then each operation with them takes a hundred times as long. Here the memory is full of signalling NaN, and the
processor says whether one of them met an operation.
"""

import ctypes
import ctypes.util

import numpy as np
import pytest

import npseg
from npseg import buffers, ops
from npseg.geometry import Axis, Window

numba = pytest.importorskip("numba")
compiling = pytest.importorskip("npseg.engines.numba.compiling")
Winograd = pytest.importorskip("npseg.engines.numba.winograd").Winograd
WinogradWeights = pytest.importorskip("npseg.engines.numba.winograd_weights").WinogradWeights

INVALID = 1
SIGNALLING = {np.dtype(np.float32): np.uint32(0x7FA00000), np.dtype(np.float64): np.uint64(0x7FF4000000000000)}


def spoilt(array):
    if array.dtype in SIGNALLING:
        word = SIGNALLING[array.dtype]
        array.reshape(-1).view(word.dtype)[...] = word
    return array


@pytest.fixture
def met(monkeypatch):
    """A list of the tasks that computed with what they found, one thread working."""
    library = ctypes.util.find_library("m")
    if library is None:
        pytest.skip("the processor's flags cannot be read here")
    flags, found, current = ctypes.CDLL(library), [], []
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    launch, call = compiling.launcher(), compiling.Task.__call__
    empty, workspace = buffers.empty, buffers.workspace

    def watched(*arguments):
        flags.feclearexcept(INVALID)
        launch(*arguments)
        if flags.fetestexcept(INVALID):
            found.append(current[-1])

    def named(task, *arguments):
        current.append(task.__name__)
        call(task, *arguments)

    monkeypatch.setattr(compiling, "launcher", lambda: watched)
    monkeypatch.setattr(compiling.Task, "__call__", named)
    monkeypatch.setattr(buffers, "empty", lambda shape, dtype: spoilt(empty(shape, dtype)))
    monkeypatch.setattr(buffers, "workspace", lambda dtype, *shapes: [*map(spoilt, workspace(dtype, *shapes))])
    yield found
    numba.set_num_threads(threads)


def drawn(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def test_the_processor_tells(met):
    """A task that does compute with such memory is found, one that does not is not."""
    with npseg.use_engine("numba"):
        ops.avg_pool2d(drawn(1, 2, 4, 4), 2)
        assert not met
        ops.avg_pool2d(buffers.empty((1, 2, 4, 4), np.float32), 2)
        assert met


CONVOLUTIONS = [  # (batch, channels, output channels, size, kernel, stride, dilation)
    (1, 64, 64, 28, 3, 1, 1),
    (1, 64, 72, 30, 3, 1, 1),
    (1, 256, 256, 29, 3, 1, 1),
    (1, 136, 512, 14, 3, 1, 1),
    (2, 20, 21, 15, 3, 1, 1),
    (2, 20, 21, 45, 3, 1, 1),
    (1, 96, 64, 30, 3, 1, 2),
    (2, 20, 21, 7, 7, 1, 1),
    (2, 5, 12, 33, 5, 2, 1),
    (1, 3, 16, 64, 3, 1, 1),
    (1, 40, 21, 13, 1, 1, 1),
    (1, 21, 64, 31, 1, 1, 1),
]


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
@pytest.mark.parametrize("winograd", ["off", "f2", "f4"])
def test_convolutions(met, convolution, winograd):
    batch, channels, out_channels, size, kernel, stride, dilation = convolution
    window = {"stride": stride, "padding": dilation * (kernel - 1) // 2, "dilation": dilation}
    x, weight = drawn(batch, channels, size, size), drawn(out_channels, channels, kernel, kernel)
    with npseg.use_engine("numba", winograd=winograd):
        grad = drawn(*ops.conv2d(x, weight, **window).shape)
        ops.conv2d_backward(grad, x, weight, **window)
    assert not met


@pytest.mark.parametrize("convolution", [c for c in CONVOLUTIONS if c[4:6] == (3, 1)])
@pytest.mark.parametrize("m", [2, 4])
def test_winograd_where_the_plan_may_choose_otherwise(met, convolution, m):
    """The plan's choice is another one on another processor."""
    batch, channels, out_channels, size, _, _, dilation = convolution
    axis = Axis(3, 1, dilation, dilation, dilation)
    window = Window(axis, axis)
    x, grad = drawn(batch, channels, size, size), drawn(batch, out_channels, size, size)
    weight = drawn(out_channels, channels, 3, 3)
    Winograd(x.shape, grad.shape, window, m).run(x, weight, grad)
    if dilation == 1 and size % 2 == 0:
        Winograd(x.shape, grad.shape, window, m, pooled=True).run(x, weight, grad[:, :, ::2, ::2].copy())
    Winograd(grad.shape, x.shape, window, m, flip=True).run(grad, weight, x)
    if dilation == 1:
        WinogradWeights(x.shape, grad.shape, window, m).run(x, grad, weight)
    assert not met


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (16, 8), (64, 32), (3, 2)])
@pytest.mark.parametrize("channels", [11, 16])
def test_transposed_convolutions(met, kernel, stride, channels):
    x, weight = drawn(1, channels, 7, 9), drawn(channels, channels, kernel, kernel)
    with npseg.use_engine("numba"):
        y = ops.conv_transpose2d(x, weight, stride=stride)
        ops.conv_transpose2d_backward(drawn(*y.shape), x, weight, stride=stride)
    assert not met


@pytest.mark.parametrize("size", [7, 28, 33])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_convolutions(met, size, stride):
    x, weight = drawn(1, 21, size, size), drawn(21, 1, 3, 3)
    window = {"stride": stride, "padding": 1, "groups": 21}
    with npseg.use_engine("numba"):
        grad = drawn(*ops.conv2d(x, weight, **window).shape)
        ops.conv2d_backward(grad, x, weight, **window)
    assert not met


@pytest.mark.parametrize("size", [7, 28, 33])
def test_operations_on_planes(met, size):
    x = drawn(2, 5, size, size)
    with npseg.use_engine("numba"):
        for kernel, stride in [(2, 2), (3, 2), (3, 1)]:
            y, indices = ops.max_pool2d(x, kernel, stride=stride)
            ops.max_pool2d_backward(drawn(*y.shape), indices, x.shape[2:])
            ops.avg_pool2d_backward(ops.avg_pool2d(x, kernel, stride=stride), x.shape[2:], kernel, stride=stride)
        large = ops.resize_bilinear(x, (2 * size, 2 * size + 1))
        ops.resize_bilinear_backward(large, x.shape[2:])
        ops.nearest_unpool2d_backward(ops.nearest_unpool2d(x, 2), 2)
    assert not met
