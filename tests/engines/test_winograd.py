"""Winograd's convolutions: how far they are off, what they leave alone, and that they teach as well."""

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npseg
from npseg import ops
from npseg.data import Shapes
from npseg.geometry import convolution_window
from npseg.models import fcn, vgg
from npseg.nn.loss import cross_entropy
from npseg.training.optimisers import Adam

if "numba" not in npseg.engines():
    pytest.skip("Numba is not installed", allow_module_level=True)

winograd = importlib.import_module("npseg.engines.numba.winograd")

BOUNDS = {"off": 5e-6, "f2": 5e-6, "f4": 5e-5}
"""Of the largest error, relative to the largest number: single precision adds up its own roundings in any case."""
TILE = 4 + 3 - 1  # pixels that one tile of the largest kind reads, along each axis


def passes(x, weight, grad, **arguments):
    """The convolution, and its gradients with respect to the input and the weight."""
    return {
        "forward": ops.conv2d(x, weight, **arguments),
        "input gradient": ops.conv2d_grad_input(grad, weight, x.shape[2:], **arguments),
        "weight gradient": ops.conv2d_grad_weight(grad, x, 3, **arguments),
    }


def draw(shape, out_channels, seed=0, dtype=np.float32, padding=1, dilation=1):
    """An image, a weight and a cotangent for it."""
    rng = np.random.default_rng(seed)
    images, channels, height, width = shape
    shrinks = 2 * padding - 2 * dilation
    sizes = shape, (out_channels, channels, 3, 3), (images, out_channels, height + shrinks, width + shrinks)
    return [rng.standard_normal(size).astype(dtype) for size in sizes]


def errors(arrays, winograd, **arguments):
    """The largest error of each pass, relative to its largest number."""
    exact = passes(*(array.astype(np.float64) for array in arrays), **arguments, engine="im2col")
    with npseg.use_engine("numba", winograd=winograd):
        found = passes(*arrays, **arguments)
    return {name: np.abs(found[name] - exact[name]).max() / np.abs(exact[name]).max() for name in exact}


@pytest.mark.parametrize("winograd", BOUNDS)
@given(
    images=st.integers(1, 3),
    channels=st.sampled_from([1, 3, 16, 37, 64]),
    out_channels=st.sampled_from([1, 5, 16, 48, 64]),
    height=st.integers(3, 40),
    width=st.integers(3, 40),
    padding=st.integers(0, 2),
    seed=st.integers(0, 999),
)
@settings(max_examples=15)
def test_errors_stay_in_their_bounds(winograd, images, channels, out_channels, height, width, padding, seed):
    arrays = draw((images, channels, height, width), out_channels, seed, padding=padding)
    for name, error in errors(arrays, winograd, padding=padding).items():
        assert error <= BOUNDS[winograd], name


@pytest.mark.parametrize("winograd", BOUNDS)
@pytest.mark.parametrize("shape", [(1, 512, 28, 28), (1, 64, 112, 96)])
def test_errors_stay_in_their_bounds_in_deep_and_wide_layers(winograd, shape):
    arrays = draw(shape, 64)
    for name, error in errors(arrays, winograd, padding=1).items():
        assert error <= BOUNDS[winograd], name


@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("winograd", BOUNDS)
def test_errors_stay_in_their_bounds_with_dilation(winograd, dilation):
    arrays = draw((2, 48, 31, 26), 40, padding=dilation, dilation=dilation)
    for name, error in errors(arrays, winograd, padding=dilation, dilation=dilation).items():
        assert error <= BOUNDS[winograd], name


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("shape", [(3, 20, 30, 41), (1, 33, 61, 130), (5, 40, 8, 7), (1, 300, 9, 5)])
def test_strips_change_no_bit(monkeypatch, m, dilation, shape):
    """However the tiles are cut, every sum has the same order: step by step for all, strip by strip, in tiny strips."""
    x, weight, _ = draw(shape, 24, padding=dilation, dilation=dilation)
    bias = np.arange(24, dtype=np.float32)
    window = convolution_window(3, shape[2:], stride=1, padding=dilation, dilation=dilation)
    results = []
    for weight_bytes, strip_bytes in ((0, 0), (2**30, winograd.STRIP_BYTES), (2**30, 1)):
        monkeypatch.setattr(winograd, "STRIP_WEIGHT_BYTES", weight_bytes)
        monkeypatch.setattr(winograd, "STRIP_BYTES", strip_bytes)
        y = np.full((shape[0], 24, *shape[2:]), np.nan, np.float32)
        convolution = winograd.Winograd(shape, y.shape, window, m)
        assert bool(convolution.numbers.strip) == bool(weight_bytes)
        convolution.run(x, weight, y, bias, relu=True)
        results.append(y)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("shape", [(3, 20, 30, 42), (1, 33, 62, 130), (5, 40, 8, 6), (1, 300, 10, 2), (1, 3, 2, 4)])
def test_what_is_pooled_while_it_is_stored_is_the_pool_of_the_same_numbers(monkeypatch, m, shape, relu):
    """Bit for bit, NaN and infinity included, strip by strip and step by step."""
    x, weight, _ = draw(shape, 24)
    if shape[0] > 1:
        x[0, 0, 3, 4], x[1, 2, 5, 1], x[1, 2, 0, 0] = np.nan, np.inf, -np.inf
    bias = np.arange(24, dtype=np.float32) - 12
    window = convolution_window(3, shape[2:], stride=1, padding=1)
    y = np.empty((shape[0], 24, *shape[2:]), np.float32)
    winograd.Winograd(shape, y.shape, window, m).run(x, weight, y, bias, relu)
    expected, _ = ops.max_pool2d(y, 2, engine="loops")
    assert np.isnan(expected).any() == (shape[0] > 1)
    for weight_bytes in (0, 2**30):
        monkeypatch.setattr(winograd, "STRIP_WEIGHT_BYTES", weight_bytes)
        pooled = np.zeros_like(expected)
        winograd.Winograd(shape, y.shape, window, m, pooled=True).run(x, weight, pooled, bias, relu)
        np.testing.assert_array_equal(pooled, expected)


@pytest.mark.parametrize("shape", [(2, 64, 28, 30), (2, 64, 28, 31), (2, 64, 27, 30), (1, 256, 4, 4), (3, 1, 6, 6)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("arguments", [{"padding": 1}, {"padding": 2, "dilation": 2}, {"padding": 1, "stride": 2}])
def test_a_convolution_with_relu_and_pool_in_one_step(shape, dtype, arguments):
    """It is pooled while it is stored, or after: the same numbers, whatever the sizes."""
    x, weight, _ = draw(shape, 40, dtype=dtype)
    bias = np.linspace(-1, 1, 40, dtype=dtype)
    with npseg.use_engine("numba", winograd="f4"):
        for ceil_mode in (False, True):
            found = ops.convolution.conv2d_relu_max_pool2d(x, weight, bias, **arguments, ceil_mode=ceil_mode)
            y = ops.relu(ops.conv2d(x, weight, bias, **arguments))
            np.testing.assert_array_equal(found, ops.max_pool2d(y, 2, ceil_mode=ceil_mode)[0])


def test_it_is_really_pooled_while_it_is_stored(monkeypatch):
    x, weight, _ = draw((2, 64, 28, 30), 64)
    monkeypatch.delattr(ops.convolution, "max_pool2d")
    with npseg.use_engine("numba", winograd="f4"):
        y = ops.convolution.conv2d_relu_max_pool2d(x, weight, padding=1)
    assert y.shape == (2, 64, 14, 15)


@pytest.mark.parametrize("winograd", ["f2", "f4"])
def test_it_is_really_used(winograd):
    """Where it shall pay, single precision comes out with other last bits than without."""
    arrays = draw((1, 256, 28, 28), 256)
    with npseg.use_engine("numba", winograd="off"):
        without = passes(*arrays, padding=1)
    with npseg.use_engine("numba", winograd=winograd):
        within = passes(*arrays, padding=1)
    assert not np.array_equal(within["forward"], without["forward"])
    assert not np.array_equal(within["input gradient"], without["input gradient"])


@pytest.mark.parametrize("winograd", ["f2", "f4"])
def test_double_precision_never_uses_it(winograd):
    arrays = draw((2, 64, 30, 29), 64, dtype=np.float64)
    with npseg.use_engine("numba", winograd="off"):
        without = passes(*arrays, padding=1)
    with npseg.use_engine("numba", winograd=winograd):
        within = passes(*arrays, padding=1)
    for name, result in within.items():
        np.testing.assert_array_equal(result, without[name])


def test_single_operations_do_without_it():
    arrays = draw((2, 64, 56, 56), 64)
    with npseg.use_engine("numba"):
        plain = passes(*arrays, padding=1)
    with npseg.use_engine("numba", winograd="off"):
        without = passes(*arrays, padding=1)
    for name, result in plain.items():
        np.testing.assert_array_equal(result, without[name])


def test_networks_use_it_unless_they_are_told_not_to():
    image = np.random.default_rng(0).standard_normal((1, 3, 64, 80)).astype(np.float32)
    model = fcn(vgg((64, 64, 16, 16, 16), (2, 1, 1, 1, 1), fc6=16), classes=3, stride=8, seed=0)
    model.parameters["score_fr.weight"][...] = 1
    results = {}
    for winograd in (None, "off", "f4"):
        with npseg.use_engine("numba", **({} if winograd is None else {"winograd": winograd})):
            results[winograd] = model(image)
    np.testing.assert_array_equal(results[None], results["f4"])
    assert not np.array_equal(results["f4"], results["off"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("winograd", BOUNDS)
def test_a_number_that_is_none_stays_within_its_tile(winograd, dilation, value):
    """Pixels farther away than a tile, other images and other channels of the weight gradient keep every bit."""
    x, weight, grad = draw((2, 64, 58, 61), 64, padding=dilation, dilation=dilation)
    place = 1, 3, 30, 27
    reach = TILE * dilation if winograd != "off" else 2 * dilation
    far = np.ones((2, 1, 58, 61), bool)
    far[1, :, 30 - reach : 30 + reach + 1, 27 - reach : 27 + reach + 1] = False
    arguments = {"padding": dilation, "dilation": dilation}
    with npseg.use_engine("numba", winograd=winograd):
        before = passes(x, weight, grad, **arguments)
        for array, hit in ((x, "forward"), (grad, "input gradient")):
            former, array[place] = array[place], value
            after = passes(x, weight, grad, **arguments)
            array[place] = former
            np.testing.assert_array_equal(np.where(far, after[hit], 0), np.where(far, before[hit], 0))
            near = after[hit][1, :, 30 - dilation : 30 + dilation + 1 : dilation, 27]
            assert not np.isfinite(near).any()
            kept = np.ones(64, bool)
            kept[3] = False
            of_others = (slice(None), kept) if array is x else (kept,)
            np.testing.assert_array_equal(after["weight gradient"][of_others], before["weight gradient"][of_others])
            of_it = (slice(None), 3) if array is x else (3,)
            assert not np.isfinite(after["weight gradient"][of_it]).any()


def test_a_network_learns_as_well_with_it():
    """The same steps from the same start: the loss falls alike, and far."""
    scenes = Shapes(48, split="train", image_size=(32, 32))
    images = np.stack([scenes[n].image for n in range(48)]).transpose(0, 3, 1, 2).astype(np.float32) / 128 - 1
    labels = np.stack([scenes[n].labels for n in range(48)])
    ends = {}
    for winograd in ("off", "f2", "f4"):
        model = fcn(vgg((32, 32, 32, 32, 32), (1, 2, 1, 1, 1), fc6=32, dropout=0.0, seed=1), classes=6, stride=8)
        optimiser, losses = Adam(), []
        with npseg.use_engine("numba", winograd=winograd):
            for step in range(60):
                batch = [(8 * step + n) % 48 for n in range(8)]
                logits, saved = model.forward(images[batch], training=True, rng=np.random.default_rng(step))
                loss, grad = cross_entropy(logits, labels[batch])
                optimiser.update(model.parameters, model.backward(grad, saved), 2e-3)
                losses.append(float(loss))
        assert np.mean(losses[-6:]) < 0.7 * losses[0]
        ends[winograd] = np.mean(losses[-6:])
    assert ends["f2"] == pytest.approx(ends["off"], rel=0.1)
    assert ends["f4"] == pytest.approx(ends["off"], rel=0.1)
