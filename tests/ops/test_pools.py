"""Pooling and unpooling: who wins, what counts, which windows exist."""

import numpy as np
import pytest

from npseg import engines, matrices, ops

per_engine = pytest.mark.parametrize("engine", engines())
NAN, INF = np.nan, np.inf


def line(*values):
    """An image of one row."""
    return np.array(values, np.float64).reshape(1, 1, 1, -1)


def column(*values):
    return line(*values).transpose(0, 1, 3, 2)


@per_engine
@pytest.mark.parametrize(
    ("pixels", "maximum", "winner"),
    [
        ([1, 3, 3, 2], 3, 1),
        ([0.0, -0.0, 0.0], 0, 0),
        ([-0.0, 0.0], 0, 0),
        ([1, NAN, 5, NAN], NAN, 1),
        ([NAN, INF], NAN, 0),
        ([INF, NAN, INF], NAN, 1),
        ([-INF, -INF], -INF, 0),
        ([-INF, -5, -INF], -5, 1),
        ([1, INF, INF], INF, 1),
        ([-INF, NAN], NAN, 1),
    ],
)
def test_the_first_maximum_wins_and_nan_above_all(engine, pixels, maximum, winner):
    for image in (line(*pixels), column(*pixels)):
        for padding in (0, ((0, 0), (2, 1)), ((1, 0), (0, 3))):
            kernel = (
                [n + sum(side) for n, side in zip(image.shape[2:], padding, strict=True)]
                if padding
                else image.shape[2:]
            )
            y, indices = ops.max_pool2d(image, tuple(kernel), padding=padding, engine=engine)
            assert y.shape == (1, 1, 1, 1)
            np.testing.assert_array_equal(y.item(), maximum)
            assert indices.item() == winner
            assert indices.dtype == np.int64


@per_engine
def test_row_major_order_decides_between_equals(engine):
    x = np.array([[0.0, 7, 1], [7, 7, 0], [7, 0, 7]])[None, None]
    assert ops.max_pool2d(x, 3, engine=engine)[1].item() == 1
    assert ops.max_pool2d(x, 2, stride=1, engine=engine)[1].ravel().tolist() == [1, 1, 3, 4]


@per_engine
def test_padding_never_wins(engine):
    x = np.full((1, 1, 3, 4), -5.0)
    y, indices = ops.max_pool2d(x, 3, stride=1, padding=1, engine=engine)
    assert np.all(y == -5)
    assert indices.min() == 0


@per_engine
def test_any_padding_is_allowed_as_long_as_every_window_sees_a_pixel(engine):
    """Beyond PyTorch's half a kernel."""
    y, indices = ops.max_pool2d(line(1, 2), (1, 3), stride=(1, 2), padding=((0, 0), (2, 1)), engine=engine)
    assert y.ravel().tolist() == [1, 2]
    assert indices.ravel().tolist() == [0, 1]


@per_engine
@pytest.mark.parametrize("padding", [((3, 0), (0, 0)), ((0, 3), (0, 0)), ((0, 0), (0, 3)), (3, 0), 4])
def test_a_window_without_a_real_pixel_is_refused(engine, padding):
    x = np.ones((1, 1, 4, 4))
    with pytest.raises(ValueError, match="padding must leave every window a real pixel"):
        ops.max_pool2d(x, 3, stride=1, padding=padding, engine=engine)
    with pytest.raises(ValueError, match="padding must leave every window a real pixel"):
        ops.avg_pool2d(x, 3, stride=1, padding=padding, count_include_pad=False, engine=engine)
    with pytest.raises(ValueError, match="padding must leave every window a real pixel"):
        matrices.avg_pool2d_matrix(1, (4, 4), 3, stride=1, padding=padding, count_include_pad=False)
    mean = ops.avg_pool2d(x, 3, stride=1, padding=padding, engine=engine)
    assert mean.min() == 0  # with the padding counted, its mean is 0


@per_engine
def test_a_dilated_window_can_step_over_every_pixel(engine):
    with pytest.raises(ValueError, match="padding"):
        ops.max_pool2d(line(1), (1, 2), padding=(0, 1), dilation=(1, 2), engine=engine)
    y, indices = ops.max_pool2d(line(1, 2, 3), (1, 2), stride=1, padding=(0, 1), dilation=(1, 2), engine=engine)
    assert (y.ravel().tolist(), indices.ravel().tolist()) == ([2, 3, 2], [1, 2, 1])


def sizes(n, kernel, stride, padding=0, ceil_mode=True):
    """The number of outputs of every pool on a line of n pixels."""
    arguments = {"stride": (1, stride), "padding": ((0, 0), (padding, padding)), "ceil_mode": ceil_mode}
    widths = set()
    for engine in engines():
        widths.add(ops.max_pool2d(line(*range(n)), (1, kernel), **arguments, engine=engine)[0].shape[3])
        widths.add(ops.avg_pool2d(line(*range(n)), (1, kernel), **arguments, engine=engine).shape[3])
    return widths


def test_ceil_mode():
    assert sizes(5, 2, 2, ceil_mode=False) == {2}
    assert sizes(5, 2, 2) == {3}
    assert sizes(2, 3, 2) == {1}  # a kernel that overhangs a smaller input
    assert sizes(1, 2, 2) == {1}
    assert sizes(4, 2, 3) == {2}
    assert sizes(4, 1, 3) == {2}
    assert sizes(4, 1, 4) == {1}  # the second would start at 4 = H
    assert sizes(3, 2, 4, padding=1) == {1}  # the second would start at 4 = H + pad_top: dropped
    assert sizes(4, 2, 4, padding=1) == {2}
    for function in (ops.max_pool2d, ops.avg_pool2d):
        with pytest.raises(ValueError, match=r"kernel_size .* ceil\(\(1 \+ 0 \+ 0 - .*\) / 2\) \+ 1 = 0"):
            function(line(1), (1, 3), stride=(1, 2), ceil_mode=True)


@pytest.mark.parametrize("after", range(6))
def test_ceil_mode_drops_a_window_that_would_start_in_the_last_padding(after):
    """A last window at or beyond H + pad_top is dropped even where plain rounding would keep it."""
    x = np.ones((1, 1, 4, 1))
    for engine in engines():
        y = ops.avg_pool2d(x, (2, 1), padding=((0, after), (0, 0)), ceil_mode=True, engine=engine)
        outputs = -(-(4 + after - 2) // 2) + 1
        assert y.shape[2] == outputs - (2 * (outputs - 1) >= 4)
    matrix = matrices.avg_pool2d_matrix(1, (4, 1), (2, 1), padding=((0, after), (0, 0)), ceil_mode=True)
    np.testing.assert_allclose(matrix @ np.ones(4), y.ravel())


@per_engine
def test_ceil_mode_changes_nothing_with_same_padding(engine):
    x = np.random.default_rng(0).standard_normal((1, 2, 7, 5))
    for stride in (1, 2, 3):
        arguments = {"stride": stride, "padding": "same", "engine": engine}
        plain, ceiled = (ops.max_pool2d(x, (3, 2), ceil_mode=mode, **arguments) for mode in (False, True))
        np.testing.assert_array_equal(plain[1], ceiled[1])
        assert plain[0].shape[2:] == (-(-7 // stride), -(-5 // stride))
        plain, ceiled = (ops.avg_pool2d(x, (3, 2), ceil_mode=mode, **arguments) for mode in (False, True))
        np.testing.assert_array_equal(plain, ceiled)


@per_engine
@pytest.mark.parametrize(
    ("count_include_pad", "expected"), [(True, [1 / 3, 6 / 3, 9 / 2]), (False, [1 / 1, 6 / 3, 9 / 2])]
)
def test_padding_is_counted_as_asked_and_the_overhang_never(engine, count_include_pad, expected):
    """Windows 0 0 1 | 1 2 3 | 4 5 and one beyond: 2 pixels of padding before, none after."""
    arguments = {"padding": ((0, 0), (2, 0)), "ceil_mode": True, "count_include_pad": count_include_pad}
    y = ops.avg_pool2d(line(1, 1, 2, 3, 4, 5), (1, 3), **arguments, engine=engine)
    np.testing.assert_allclose(y.ravel(), expected, rtol=1e-12)


@per_engine
def test_kernel_size_is_the_stride_unless_said_otherwise(engine):
    x = np.random.default_rng(0).standard_normal((1, 1, 6, 9))
    for kernel in (2, (3, 2)):
        same = ops.max_pool2d(x, kernel, stride=kernel, engine=engine)
        np.testing.assert_array_equal(ops.max_pool2d(x, kernel, engine=engine)[0], same[0])
        np.testing.assert_array_equal(ops.max_pool2d(x, kernel, stride=None, engine=engine)[1], same[1])


@per_engine
def test_overlapping_windows_add_up_going_back(engine):
    y, indices = ops.max_pool2d(line(1, 9, 2), (1, 2), stride=1, engine=engine)
    grad_x = ops.max_pool2d_backward(np.full_like(y, 3.0), indices, (1, 3), engine=engine)
    assert grad_x.ravel().tolist() == [0, 6, 0]


@per_engine
def test_a_giant_kernel_on_padding_is_no_burden(engine):
    """The few taps on real pixels are all that is computed or counted."""
    x = np.arange(6.0).reshape(1, 1, 2, 3)
    side = 10**6
    arguments = {"padding": side, "engine": engine}
    y, indices = ops.max_pool2d(x, 2 * side, **arguments)
    assert (y.item(), indices.item()) == (5, 5)
    np.testing.assert_allclose(ops.avg_pool2d(x, 2 * side, **arguments), 15 / (2.0 * side) ** 2, rtol=1e-12)


# ------------------------------------------------------------------------------------------------------ unpooling


@per_engine
def test_max_unpooling_puts_values_back(engine):
    x, indices = line(5, 2), np.array([4, 0]).reshape(1, 1, 1, 2)
    y = ops.max_unpool2d(x, indices, (2, 3), engine=engine)
    assert y.tolist() == [[[[2, 0, 0], [0, 5, 0]]]]
    grad = np.arange(6.0).reshape(1, 1, 2, 3)
    assert ops.max_unpool2d_backward(grad, indices, engine=engine).ravel().tolist() == [4, 0]


@pytest.mark.parametrize("outside", [-1, 6, 2**62])
def test_unpooling_indices_lie_in_the_plane(outside):
    indices = np.array([0, outside]).reshape(1, 1, 1, 2)
    for function in (
        lambda: ops.max_unpool2d(line(5, 2), indices, (2, 3)),
        lambda: ops.max_unpool2d_backward(np.zeros((1, 1, 2, 3)), indices),
        lambda: ops.max_pool2d_backward(line(5, 2), indices, (2, 3)),
        lambda: matrices.max_pool2d_matrix(indices[0], (2, 3)),
    ):
        with pytest.raises(ValueError, match=rf"indices .* 0 \.\.\. 5 .*{outside}"):
            function()


def test_unpooling_indices_are_named_once_in_a_plane():
    twice = np.array([3, 1, 3]).reshape(1, 1, 1, 3)
    with pytest.raises(ValueError, match=r"indices .* got 3 twice in plane \(0, 0\)"):
        ops.max_unpool2d(line(1, 2, 3), twice, (2, 3))
    with pytest.raises(ValueError, match=r"indices .* got 3 twice in plane \(0, 0\)"):
        ops.max_unpool2d_backward(np.zeros((1, 1, 2, 3)), twice)
    # Another plane, or another image, may name it again; and max pooling's backward pass adds.
    apart = np.array([3, 1, 3, 1]).reshape(2, 1, 1, 2)
    ops.max_unpool2d(np.zeros((2, 1, 1, 2)), apart, (2, 3))
    ops.max_unpool2d(np.zeros((1, 2, 1, 2)), apart.reshape(1, 2, 1, 2), (2, 3))
    assert ops.max_pool2d_backward(line(1, 2, 3), twice, (2, 3)).ravel().tolist() == [0, 2, 0, 4, 0, 0]


def test_overlapping_pools_cannot_always_be_undone():
    y, indices = ops.max_pool2d(line(1, 9, 2), (1, 2), stride=1)
    with pytest.raises(ValueError, match="indices"):
        ops.max_unpool2d(y, indices, (1, 3))


@per_engine
def test_max_unpooling_equals_central_differences(engine):
    rng = np.random.default_rng(0)
    x, grad = rng.standard_normal((2, 3, 2, 4)), rng.standard_normal((2, 3, 5, 7))
    indices = np.stack([rng.permutation(35)[:8] for _ in range(6)]).reshape(x.shape)
    direction = rng.standard_normal(x.shape)
    ahead, behind = (ops.max_unpool2d(x + s * 1e-6 * direction, indices, (5, 7), engine=engine) for s in (1, -1))
    measured = np.sum((ahead - behind) * grad) / 2e-6
    computed = np.sum(ops.max_unpool2d_backward(grad, indices, engine=engine) * direction)
    assert computed == pytest.approx(measured, rel=1e-6)


@per_engine
def test_max_unpooling_of_an_empty_batch(engine):
    y, indices = ops.max_pool2d(np.zeros((0, 3, 4, 6)), 2, engine=engine)
    unpooled = ops.max_unpool2d(y, indices, (4, 6), engine=engine)
    assert unpooled.shape == (0, 3, 4, 6)
    assert ops.max_unpool2d_backward(unpooled, indices, engine=engine).shape == (0, 3, 2, 3)
    assert ops.max_pool2d_backward(y, indices, (4, 6), engine=engine).shape == (0, 3, 4, 6)


@per_engine
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_max_unpooling_of_any_layout_and_dtype(engine, dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 6, 8)).astype(dtype)
    y, indices = ops.max_pool2d(x, (3, 2))
    expected = ops.max_unpool2d(y, indices, (6, 8), engine=engine)
    assert expected.dtype == dtype
    for relaid in (
        np.asfortranarray,
        lambda array: np.flip(np.flip(array).copy()),
        lambda a: a.astype(a.dtype.newbyteorder()),
    ):
        values, places = relaid(y), relaid(indices)
        values.flags.writeable = places.flags.writeable = False
        unpooled = ops.max_unpool2d(values, places, (6, 8), engine=engine)
        np.testing.assert_array_equal(unpooled, expected)
        back = ops.max_unpool2d_backward(relaid(expected), places, engine=engine)
        np.testing.assert_array_equal(back, y)
        assert unpooled.dtype == back.dtype == dtype
        assert not np.shares_memory(back, values)


@pytest.mark.parametrize("unpool", ["nearest_unpool2d", "bed_of_nails_unpool2d"])
def test_going_back_needs_a_divisible_size(unpool):
    backward = getattr(ops, f"{unpool}_backward")
    for scale in (2, (1, 2), (2, 1)):
        grad = np.zeros((1, 1, 4 + (scale != (1, 2)), 4 + (scale != (2, 1))))
        with pytest.raises(ValueError, match=r"grad must have a size divisible by scale \(\d, \d\), got"):
            backward(grad, scale)


@per_engine
def test_nails_ignore_what_lies_between_them(engine):
    """A NaN off the nails never reaches the gradient."""
    grad = np.full((1, 1, 4, 6), NAN)
    grad[:, :, ::2, ::3] = 1
    assert ops.bed_of_nails_unpool2d_backward(grad, (2, 3), engine=engine).tolist() == [[[[1, 1], [1, 1]]]]


def test_global_average():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    assert ops.global_avg_pool2d(x).shape == (2, 3, 1, 1)
    grad = np.random.default_rng(1).standard_normal((2, 3, 1, 1))
    grad_x = ops.global_avg_pool2d_backward(grad, (4, 5))
    assert np.sum(grad_x * x) == pytest.approx(np.sum(grad * ops.global_avg_pool2d(x)))
