"""The compiled engine's own forms of what `npseg.ops` writes in NumPy: the same results, special values included."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npseg import engines, ops, use_engine
from npseg.engines import own_form
from npseg.nn import cross_entropy
from npseg.training.optimisers import SGD, Adam

pytestmark = pytest.mark.skipif("numba" not in engines(), reason="Numba is not installed")

DTYPES = [np.float32, np.float64]
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 3e38, -3e38]


def draw(*shape, dtype=np.float64, seed=0, special=False):
    x = np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)
    if special:
        x.reshape(-1)[:: max(x.size // 37, 1)][: len(SPECIAL)] = np.array(SPECIAL, dtype)[: len(x.reshape(-1))]
    return x


def on_both(function):
    """The results of the compiled engine, and of one that has no forms of its own."""
    results = []
    for engine in ("numba", "im2col"):
        with use_engine(engine):
            results.append(function())
    return results


def assert_close(ours, expected, dtype, scale=1.0):
    """Also in where there is NaN or infinity."""
    for one, other in zip(ours, expected, strict=True):
        assert np.asarray(one).dtype == np.asarray(other).dtype == dtype
        np.testing.assert_allclose(one, other, rtol=30 * np.finfo(dtype).eps, atol=scale * 30 * np.finfo(dtype).eps)


LAYOUTS = {
    "plain": lambda x: x,
    "fortran": np.asfortranarray,
    "reversed": lambda x: x[..., ::-1],
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "read-only": lambda x: np.broadcast_to(x, x.shape),
}

SHAPES = [(2, 3, 5, 7), (1, 1, 1, 2), (0, 3, 4, 5), (3, 2, 70, 130)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [*SHAPES, (40_000,), (3, 5)])
@pytest.mark.parametrize("name", ["relu", "relu6"])
def test_relu(name, shape, layout, dtype):
    grad, x = (LAYOUTS[layout](draw(*shape, dtype=dtype, seed=seed, special=True)) for seed in (0, 1))
    relu, backward = getattr(ops, name), getattr(ops, f"{name}_backward")
    ours, expected = on_both(lambda: (relu(x), backward(grad, relu(x))))
    for one, other in zip(ours, expected, strict=True):
        assert one.dtype == dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradients_of_relu_and_bias(shape, layout, dtype):
    grad, y = (LAYOUTS[layout](draw(*shape, dtype=dtype, seed=seed)) for seed in (0, 1))
    together = ops.convolution.relu_and_bias_gradient
    ours, expected = on_both(lambda: (*together(grad, y), ops.convolution.bias_gradient(grad)))
    assert_close(ours, expected, dtype, scale=np.sqrt(grad.size))
    np.testing.assert_array_equal(ours[0], expected[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_of_whole_numbers_are_exact(dtype):
    grad = np.random.default_rng(0).integers(-9, 10, (3, 2, 101, 97)).astype(dtype)
    with use_engine("numba"):
        np.testing.assert_array_equal(ops.convolution.bias_gradient(grad), grad.sum(axis=(0, 2, 3), dtype=np.int64))
        masked, sums = ops.convolution.relu_and_bias_gradient(grad, grad)
    np.testing.assert_array_equal(sums, np.maximum(grad, 0).sum(axis=(0, 2, 3), dtype=np.int64))
    np.testing.assert_array_equal(masked, np.maximum(grad, 0))


def test_a_long_sum_is_as_exact_as_numpys():
    grad = np.full((4, 1, 1000, 1000), 0.1, np.float32)
    with use_engine("numba"):
        assert ops.convolution.bias_gradient(grad)[0] == pytest.approx(grad.sum(dtype=np.float64), rel=1e-6)


def normalise(x, grad, training, eps=1e-5):
    """All results, running statistics included."""
    channels, dtype = x.shape[1], x.dtype
    gamma, beta, mean, var = (draw(channels, dtype=np.float32, seed=seed).astype(dtype) for seed in (2, 3, 4, 5))
    running = mean, np.abs(var)
    y, saved = ops.batch_norm2d(x, gamma, beta, *running, training=training, eps=eps)
    return y, *saved[:2], *running, *ops.batch_norm2d_backward(grad, x, gamma, saved)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm(shape, layout, dtype, training):
    x, grad = (LAYOUTS[layout](3 * draw(*shape, dtype=dtype, seed=seed) + 2) for seed in (0, 1))
    with use_engine("numba"):
        ours = normalise(x, grad, training)
    with use_engine("im2col"):  # in float64 and in order, since NumPy's own sums are less exact otherwise
        x, grad = (np.ascontiguousarray(array, np.float64) for array in (x, grad))
        expected = [array.astype(dtype) for array in normalise(x, grad, training)]
    assert_close(ours[:-2], expected[:-2], dtype, scale=10)
    # The gradients of gamma and beta are sums, in which the mean's last bit counts as often as there are terms.
    assert_close(ours[-2:], expected[-2:], dtype, scale=10 + x.size / 10)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_batch_norm_of_special_values(value, training):
    x, grad = draw(2, 4, 3, 5), draw(2, 4, 3, 5, seed=1)
    x[1, 2, 1, 1] = grad[0, 1, 2, 2] = value
    x[:, 3] = 7  # without eps, a division of 0 by 0
    ours, expected = on_both(lambda: normalise(x, grad, training, eps=0.0))
    assert_close(ours, expected, np.float64, scale=100)


def test_batch_norm_far_from_zero():
    """A mean of a thousand deviations costs no more digits than it must."""
    x = (draw(2, 3, 40, 50) + 1000).astype(np.float32)
    with use_engine("numba"):
        y = normalise(x, x, training=True)[0]
    expected = normalise(x.astype(np.float64), x.astype(np.float64), training=True)[0]
    np.testing.assert_allclose(y, expected, atol=1e-3)


LABELS = np.random.default_rng(0).integers(0, 5, (3, 23, 41))
LABELS[0, 3:5], LABELS[2, :, 7] = 255, 255


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, np.array([0.5, 2.0, 0.0, 1.5, 1.0])])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_cross_entropy(layout, dtype, weight, reduction):
    logits = LAYOUTS[layout](4 * draw(3, 5, 23, 41, dtype=dtype))
    options = {"class_weight": None if weight is None else weight.astype(dtype), "reduction": reduction}

    def results():
        return (
            *cross_entropy(logits, LABELS, **options),
            ops.cross_entropy2d(logits, LABELS, **options),
            ops.cross_entropy2d_backward(logits, LABELS, **options),
        )

    ours, expected = on_both(results)
    assert_close(ours, expected, dtype)
    for together, alone in zip(ours[:2], ours[2:], strict=True):
        np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weight", [None, np.array([0.0, 1.0, 2.0])])
def test_cross_entropy_of_special_values(weight, dtype):
    """Every pair and triple of special scores, each with every label, ignored ones too."""
    scores = np.array(np.meshgrid(*3 * [[0.0, 1.0, -1e30, np.inf, -np.inf, np.nan]])).reshape(1, 3, -1, 1)
    logits = np.repeat(scores, 4, axis=3).astype(dtype)
    labels = np.broadcast_to(np.array([0, 1, 2, 255], np.uint8), (1, *logits.shape[2:]))
    options = {"class_weight": None if weight is None else weight.astype(dtype), "reduction": "none"}
    ours, expected = on_both(lambda: cross_entropy(logits, labels, **options))
    assert_close(ours, expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_segmentation_map(shape, layout, dtype):
    """Few distinct scores, so that many are equal, and NaN among them."""
    scores = np.array([0, 1, 2, -np.inf, np.inf, np.nan], dtype)
    logits = LAYOUTS[layout](scores[np.random.default_rng(0).integers(0, len(scores), shape)])
    ours, expected = on_both(lambda: ops.segmentation_map(logits))
    assert ours.dtype == np.int64
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("labels", [np.full((2, 3, 4), 255), np.zeros((2, 3, 4), np.int32)])
def test_where_no_pixel_counts_the_loss_is_zero(labels):
    logits = np.full((2, 2, 3, 4), np.nan, np.float32)
    with use_engine("numba"):
        loss, grad = cross_entropy(logits, labels, class_weight=np.array([0, 1], np.float32))
    assert loss == 0
    assert not grad.any()
    with use_engine("numba"):
        loss, grad = cross_entropy(logits[:0], labels[:0])
    assert loss == 0
    assert grad.shape == (0, 2, 3, 4)


BLOCK = 1 << 20
"""Numbers that one task of `elementary` takes."""


@pytest.fixture(scope="module")
def elementary():
    """exp and log, run as kernels run them."""
    pytest.importorskip("numba")
    from npseg.engines.numba.compiling import on_all_cores
    from npseg.engines.numba.elementary import exponential, logarithm

    @on_all_cores()
    def run(task, x, exponentials, logarithms):
        for i in range(task * BLOCK, min((task + 1) * BLOCK, len(x))):
            exponentials[i], logarithms[i] = exponential(x[i]), logarithm(x[i])

    def both(x):
        results = np.empty((2, len(x)), x.dtype)
        run(-(-len(x) // BLOCK), x, *results)
        return results

    return both


def every_magnitude():
    """Each 2,000th float32 there is, of both signs, subnormal ones included, and those around the bounds of exp."""
    everything = np.arange(0, 2**32, 1999, dtype=np.uint32).view(np.float32)
    return np.concatenate([everything, np.linspace(-110, 92, 300_001, dtype=np.float32), np.array(SPECIAL, np.float32)])


def test_exp_and_log_of_all_float32(elementary):
    x = every_magnitude()
    with np.errstate(all="ignore"):
        exact = np.exp(x.astype(np.float64)), np.log(x.astype(np.float64))
        for ours, true in zip(elementary(x), exact, strict=True):
            rounded = true.astype(np.float32)
            finite = np.isfinite(rounded)
            np.testing.assert_array_equal(ours[~finite], rounded[~finite])
            units = np.abs(ours[finite] - true[finite]) / np.spacing(np.abs(rounded[finite]))
            assert units.max() < 2


def test_exp_and_log_in_float64(elementary):
    with np.errstate(all="ignore"):
        x = every_magnitude().astype(np.float64)
        for ours, true in zip(elementary(x), (np.exp(x), np.log(x)), strict=True):
            np.testing.assert_allclose(ours, true, rtol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [SGD, lambda: SGD(0.0, 0.0), Adam, lambda: Adam(0.5, 0.9, weight_decay=0.1)])
def test_updates(make, dtype):
    shapes = {"conv.weight": (7, 5, 3, 3), "conv.bias": (7,), "fc.weight": (170, 230)}

    def trained():
        optimiser = make()
        parameters = {name: draw(*shape, dtype=dtype) for name, shape in shapes.items()}
        parameters["fc.weight"] = np.asfortranarray(parameters["fc.weight"])  # in place in any layout
        for step in range(5):
            gradients = {name: draw(*shape, dtype=dtype, seed=step) for name, shape in shapes.items()}
            assert optimiser.update(parameters, gradients, 0.1) == []
        return *parameters.values(), *(array for name, array in optimiser.state.items() if name != "updates")

    assert_close(*on_both(trained), dtype, scale=10)


@pytest.mark.parametrize("make", [SGD, Adam])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 20_000, 39_999])
@pytest.mark.parametrize("engine", ["numba", "im2col"])
def test_updates_tell_what_is_no_longer_finite(engine, place, value, make):
    parameters = {name: np.ones(40_000, np.float32) for name in ("a.weight", "b.weight", "c.bias")}
    gradients = {name: np.ones(40_000, np.float32) for name in parameters}
    parameters["b.weight"][place] = value
    gradients["c.bias"][place] = value
    with use_engine(engine):
        named = make().update(parameters, gradients, 0.1)
    # To Adam an infinite gradient is a step of infinity / infinity.
    assert named == ["b.weight", "c.bias"]


@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1))
def test_sizes_of_all_kinds(batch, channels, height, width, seed):
    """Blocks and tasks that end anywhere."""
    rng = np.random.default_rng(seed)
    logits, grad = rng.standard_normal((2, batch, channels, height, width), np.float32)
    labels = rng.integers(0, channels, (batch, height, width))

    def results():
        return *cross_entropy(logits, labels), *ops.convolution.relu_and_bias_gradient(grad, logits), ops.relu(grad)

    assert_close(*on_both(results), np.float32, scale=np.sqrt(logits.size))


def test_results_do_not_depend_on_the_number_of_threads():
    import numba

    x, grad = draw(2, 5, 60, 90, dtype=np.float32), draw(2, 5, 60, 90, dtype=np.float32, seed=1)
    labels = np.random.default_rng(0).integers(0, 5, (2, 60, 90))

    def results(threads):
        numba.set_num_threads(threads)
        parameters = {"a.weight": x.copy()}
        Adam().update(parameters, {"a.weight": grad}, 0.1)
        backward = ops.convolution.relu_and_bias_gradient(grad, x)
        return *normalise(x, grad, True), *cross_entropy(x, labels), *backward, parameters["a.weight"]

    before = numba.get_num_threads()
    try:
        with use_engine("numba"):
            for one, other in zip(results(1), results(before), strict=True):
                np.testing.assert_array_equal(one, other)
    finally:
        numba.set_num_threads(before)


def test_the_other_engines_have_no_forms_of_their_own():
    names = "relu", "bias_gradient", "cross_entropy", "batch_norm", "adam_update"
    for engine in engines():
        with use_engine(engine):
            assert all((own_form(name) is not None) == (engine == "numba") for name in names)


def test_several_threads_at_once():
    x = draw(2, 5, 60, 90, dtype=np.float32)
    labels = np.random.default_rng(0).integers(0, 5, (2, 60, 90))
    wrong = []

    def results():
        with use_engine("numba"):
            return *normalise(x, x, True), *cross_entropy(x, labels)

    expected = results()

    def repeat():
        for _ in range(20):
            if not all(np.array_equal(a, b) for a, b in zip(results(), expected, strict=True)):
                wrong.append(threading.current_thread().name)

    threads = [threading.Thread(target=repeat) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
