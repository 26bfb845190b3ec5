"""Batch normalisation with its running statistics, local response normalisation, dropout."""

import numpy as np
import pytest

from npseg import ops

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4, 2, 5)) * [[[[2.0]], [[0.1]], [[5.0]], [[1.0]]]] + 3
GAMMA, BETA = RNG.standard_normal((2, 4))


def statistics(dtype=np.float64):
    return np.array([1.0, -1.0, 0.5, 0.0], dtype), np.array([1.0, 2.0, 0.5, 3.0], dtype)


def normalise(x, gamma=GAMMA, beta=BETA, *, training, running=None, **arguments):
    mean, var = statistics(x.dtype) if running is None else running
    return ops.batch_norm2d(x, gamma, beta, mean, var, training=training, **arguments)


def test_training_normalises_every_channel_of_the_batch():
    y, _ = normalise(X, np.ones(4), np.zeros(4), training=True, eps=0.0)
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=(0, 2, 3)), 1, rtol=1e-12)  # the biased variance
    y, _ = normalise(X, training=True, eps=0.5)
    expected = (X - X.mean(axis=(0, 2, 3), keepdims=True)) / np.sqrt(X.var(axis=(0, 2, 3), keepdims=True) + 0.5)
    np.testing.assert_allclose(y, GAMMA[:, None, None] * expected + BETA[:, None, None], rtol=1e-10)


def test_running_statistics_move_in_place():
    (mean, var), (old_mean, old_var) = statistics(), statistics()
    normalise(X, training=True, running=(mean, var), momentum=0.3)
    np.testing.assert_allclose(mean, 0.7 * old_mean + 0.3 * X.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(var, 0.7 * old_var + 0.3 * X.var(axis=(0, 2, 3), ddof=1), rtol=1e-12)  # the unbiased one


@pytest.mark.parametrize("swap", [False, True])
def test_running_statistics_of_any_layout_are_updated(swap):
    """Also a strided, byte-swapped view: it is the caller's array that must change."""
    buffer = np.zeros((2, 8), np.dtype(np.float64).newbyteorder() if swap else np.float64)
    mean, var = buffer[:, ::2]
    y, saved = normalise(X, training=True, running=(mean, var), momentum=1.0)
    np.testing.assert_allclose(buffer[0, ::2], X.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(buffer[1, ::2], X.var(axis=(0, 2, 3), ddof=1), rtol=1e-12)
    empty, _ = normalise(X[:0], training=True, running=(mean, var))
    assert all(array.dtype.isnative for array in (y, saved.mean, saved.inverse_std, empty))


def test_prediction_uses_the_running_statistics_and_leaves_them_alone():
    mean, var = statistics()
    mean.flags.writeable = var.flags.writeable = False
    y, saved = normalise(X, training=False, running=(mean, var), eps=0.25)
    expected = (X - mean[:, None, None]) / np.sqrt(var + 0.25)[:, None, None] * GAMMA[:, None, None]
    np.testing.assert_allclose(y, expected + BETA[:, None, None], rtol=1e-12)
    assert not any(np.shares_memory(array, kept) for array in saved[:2] for kept in (mean, var))


def test_later_training_does_not_change_what_was_saved():
    mean, var = statistics()
    y, saved = normalise(X, training=False, running=(mean, var))
    before = ops.batch_norm2d_backward(y, X, GAMMA, saved)
    mean += 1
    var *= 2
    for ours, theirs in zip(ops.batch_norm2d_backward(y, X, GAMMA, saved), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["x", "gamma", "beta"])
def test_backward_equals_central_differences(training, name):
    arrays = {"x": X, "gamma": GAMMA, "beta": BETA}
    cotangent, direction = RNG.standard_normal(X.shape), RNG.standard_normal(arrays[name].shape)
    _, saved = normalise(**arrays, training=training, eps=0.01)
    gradients = dict(zip(arrays, ops.batch_norm2d_backward(cotangent, X, GAMMA, saved), strict=True))
    ahead, behind = (
        normalise(**{**arrays, name: arrays[name] + s * 1e-6 * direction}, training=training, eps=0.01)[0]
        for s in (1, -1)
    )
    measured = np.sum((ahead - behind) * cotangent) / 2e-6
    assert np.sum(gradients[name] * direction) == pytest.approx(measured, rel=1e-6)


def test_one_value_per_channel_cannot_be_trained_on():
    x = X[:1, :, :1, :1]
    with pytest.raises(ValueError, match=r"x must have more than one value per channel .*\(1, 4, 1, 1\)"):
        normalise(x, training=True)
    normalise(x, training=False)
    normalise(X[:2, :, :1, :1], training=True)


@pytest.mark.parametrize("name", ["running_mean", "running_var"])
def test_read_only_statistics_cannot_be_trained(name):
    running = dict(zip(("running_mean", "running_var"), statistics(), strict=True))
    running[name].flags.writeable = False
    with pytest.raises(ValueError, match=f"{name} must be writeable"):
        normalise(X, training=True, running=tuple(running.values()))
    for array, unchanged in zip(running.values(), statistics(), strict=True):
        np.testing.assert_array_equal(array, unchanged)


def test_an_empty_batch_leaves_the_statistics_alone():
    mean, var = statistics()
    y, saved = normalise(X[:0], training=True, running=(mean, var))
    assert y.shape == (0, 4, 2, 5)
    for array, unchanged in zip((mean, var), statistics(), strict=True):
        np.testing.assert_array_equal(array, unchanged)
    grad_x, grad_gamma, grad_beta = ops.batch_norm2d_backward(y, X[:0], GAMMA, saved)
    assert grad_x.shape == (0, 4, 2, 5)
    assert np.all(grad_gamma == 0)
    assert np.all(grad_beta == 0)


def test_a_refused_call_leaves_the_statistics_alone():
    mean, var = statistics()
    for wrong in ({"eps": -1.0}, {"momentum": np.nan}, {"gamma": GAMMA[:3]}, {"beta": BETA.astype(np.float32)}):
        with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
            normalise(**{"x": X, "training": True, "running": (mean, var), **wrong})
    for array, unchanged in zip((mean, var), statistics(), strict=True):
        np.testing.assert_array_equal(array, unchanged)


def test_float32_stays_float32():
    x, gamma, beta = (array.astype(np.float32) for array in (X, GAMMA, BETA))
    mean, var = statistics(np.float32)
    for training in (True, False):
        y, saved = ops.batch_norm2d(x, gamma, beta, mean, var, training=training, momentum=np.float64(0.1))
        gradients = ops.batch_norm2d_backward(y, x, gamma, saved)
        assert {array.dtype for array in (y, saved.mean, saved.inverse_std, *gradients)} == {np.dtype(np.float32)}


def test_saved_comes_from_the_forward_pass():
    y, saved = normalise(X, training=True)
    for wrong in (None, tuple(saved), (saved.mean, saved.inverse_std)):
        with pytest.raises(TypeError, match="saved must come from batch_norm2d"):
            ops.batch_norm2d_backward(y, X, GAMMA, wrong)
    with pytest.raises(ValueError, match="saved"):
        ops.batch_norm2d_backward(y[:, :3], X[:, :3], GAMMA[:3], saved)


# -------------------------------------------------------------------------------------------------------- dropout


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [0, 0.0, 0.3, 0.5, np.float32(0.25), 1 - 2**-20])
def test_dropout_keeps_entries_scaled_or_drops_them(p, dtype):
    x = RNG.standard_normal((50, 40)).astype(dtype)
    y, mask = ops.dropout(x, p, np.random.default_rng(0))
    assert (y.dtype, mask.dtype, mask.shape) == (dtype, dtype, x.shape)
    assert set(np.unique(mask)) <= {dtype(0), dtype(1 / (1 - float(p)))}
    assert np.count_nonzero(mask) / mask.size == pytest.approx(1 - p, abs=0.05)
    np.testing.assert_array_equal(y, x * mask)
    np.testing.assert_array_equal(ops.dropout_backward(x, mask), x * mask)


def test_dropout_draws_from_the_generator_it_is_given():
    x = np.ones((100, 3))
    one, other = (ops.dropout(x, 0.5, np.random.default_rng(seed))[1] for seed in (7, 7))
    np.testing.assert_array_equal(one, other)
    rng = np.random.default_rng(7)
    assert np.any(ops.dropout(x, 0.5, rng)[1] != ops.dropout(x, 0.5, rng)[1])
    for wrong in (None, 0, np.random.RandomState(0), np.random):
        with pytest.raises(TypeError, match=r"rng must be a numpy\.random\.Generator"):
            ops.dropout(x, 0.5, wrong)


@pytest.mark.parametrize("p", [1, 1.0, -0.1, 2, np.nan])
def test_dropout_probabilities(p):
    with pytest.raises(ValueError, match=r"\bp\b"):
        ops.dropout(X, p, np.random.default_rng(0))


# -------------------------------------------------------------------------------------------- local response norm


def test_response_norm_is_the_identity_without_alpha():
    np.testing.assert_array_equal(ops.local_response_norm(X, 3, alpha=0.0), X)
    np.testing.assert_array_equal(ops.local_response_norm_backward(X, X, 3, alpha=0.0), X)


def test_response_norm_spans_one_channel_more_before_than_after():
    """An even span of 2 covers channels c - 1 and c."""
    x = np.zeros((1, 3, 1, 1))
    x[0, 1] = 2.0
    np.testing.assert_allclose(
        ops.local_response_norm(x + 1e-9, 2, alpha=2.0, beta=1.0, k=0.0).ravel()[1:], [2 / 4, 1e-9 / 4], rtol=1e-6
    )


@pytest.mark.parametrize("size", [0, -1, 1.5, True, (1, 2)])
def test_response_norm_size_is_a_positive_integer(size):
    with pytest.raises((ValueError, TypeError), match="size"):
        ops.local_response_norm(X, size)
