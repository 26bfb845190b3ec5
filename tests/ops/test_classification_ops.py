"""Cross-entropy over label maps, and the segmentation map."""

import numpy as np
import pytest

from npseg import ops

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((2, 4, 3, 5))
LABELS = RNG.integers(0, 4, (2, 3, 5))
LABELS[0, 0, 1], LABELS[1, 2] = 255, 255
WEIGHT = np.array([0.5, 2.0, 0.0, 1.5])


def reference(logits, labels, ignore_index, weight, reduction):
    """Pixel by pixel, from the definition."""
    losses, weights = np.zeros(labels.shape), 0.0
    for place in np.ndindex(labels.shape):
        t = int(labels[place])
        if t != ignore_index:
            n, h, w = place
            scores = logits[n, :, h, w]
            losses[place] = -weight[t] * (scores[t] - np.log(np.sum(np.exp(scores))))
            weights += weight[t]
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / weights


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("ignore_index", [255, -100, 1, 0])
def test_equals_its_definition(reduction, weight, ignore_index):
    labels = np.where((LABELS == 255) & (ignore_index != 255), 3, LABELS)
    loss = ops.cross_entropy2d(LOGITS, labels, ignore_index=ignore_index, class_weight=weight, reduction=reduction)
    expected = reference(LOGITS, labels, ignore_index, np.ones(4) if weight is None else weight, reduction)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_backward_equals_central_differences(reduction, weight):
    arguments = {"class_weight": weight, "reduction": reduction}
    direction = RNG.standard_normal(LOGITS.shape)
    ahead, behind = (ops.cross_entropy2d(LOGITS + s * 1e-6 * direction, LABELS, **arguments) for s in (1, -1))
    measured = np.sum(ahead - behind) / 2e-6  # "none" has the backward of "sum"
    computed = np.sum(ops.cross_entropy2d_backward(LOGITS, LABELS, **arguments) * direction)
    assert computed == pytest.approx(measured, rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_loss_is_a_scalar_of_the_logits_dtype(dtype, reduction):
    logits, weight = LOGITS.astype(dtype), WEIGHT.astype(dtype)
    for labels in (LABELS, np.full_like(LABELS, 255)):
        for class_weight in (None, weight):
            loss = ops.cross_entropy2d(logits, labels, class_weight=class_weight, reduction=reduction)
            assert type(loss) is dtype
            grad = ops.cross_entropy2d_backward(logits, labels, class_weight=class_weight, reduction=reduction)
            assert grad.dtype == dtype
    losses = ops.cross_entropy2d(logits, LABELS, class_weight=weight, reduction="none")
    assert (losses.dtype, losses.shape) == (dtype, LABELS.shape)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4", ">u8"])
def test_labels_of_any_integer_dtype(dtype):
    labels = np.where(LABELS == 255, 3, LABELS)
    expected = ops.cross_entropy2d(LOGITS, labels)
    assert ops.cross_entropy2d(LOGITS, labels.astype(dtype)) == expected
    for ignore_index in (255, -1, 2**63, -(2**70)):
        assert ops.cross_entropy2d(LOGITS, labels.astype(dtype), ignore_index=ignore_index) == expected
    expected = ops.cross_entropy2d_backward(LOGITS, labels, ignore_index=2)
    np.testing.assert_array_equal(
        ops.cross_entropy2d_backward(LOGITS, labels.astype(dtype), ignore_index=np.int8(2)), expected
    )


@pytest.mark.parametrize(("value", "dtype"), [(4, "u1"), (-1, "i1"), (254, "u1"), (2**64 - 1, "u8"), (-(2**63), "i8")])
def test_an_unknown_label_is_named_with_its_place(value, dtype):
    labels = np.zeros((2, 3, 5), dtype)
    labels[1, 2, 3] = value
    for function in (ops.cross_entropy2d, ops.cross_entropy2d_backward):
        with pytest.raises(ValueError, match=rf"labels .*0 \.\.\. 3.*255, got {value} at .*\(1, 2, 3\)"):
            function(LOGITS, labels)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("logits", [LOGITS, np.full_like(LOGITS, np.nan), np.full_like(LOGITS, np.inf)])
def test_nothing_that_counts_is_no_loss_and_no_gradient(reduction, logits):
    nothing = {
        "all ignored": (np.full_like(LABELS, 255), None),
        "all of weight 0": (np.full_like(LABELS, 2), WEIGHT),
        "no image": (LABELS[:0], None),
    }
    for labels, weight in nothing.values():
        batch, arguments = logits[: len(labels)], {"class_weight": weight, "reduction": reduction}
        loss = ops.cross_entropy2d(batch, labels, **arguments)
        assert np.shape(loss) == (labels.shape if reduction == "none" else ())
        assert np.all(np.asarray(loss) == 0)
        grad = ops.cross_entropy2d_backward(batch, labels, **arguments)
        assert grad.shape == batch.shape
        assert np.all(grad == 0)


def test_an_ignored_pixel_hides_whatever_its_logits_are():
    logits = LOGITS.copy()
    logits.transpose(0, 2, 3, 1)[LABELS == 255] = np.nan
    assert ops.cross_entropy2d(logits, LABELS) == ops.cross_entropy2d(LOGITS, LABELS)
    np.testing.assert_array_equal(
        ops.cross_entropy2d_backward(logits, LABELS), ops.cross_entropy2d_backward(LOGITS, LABELS)
    )
    logits[0, 0, 0, 0] = np.nan
    assert np.isnan(ops.cross_entropy2d(logits, LABELS))


def test_large_logits_neither_overflow_nor_vanish():
    logits = np.array([1e4, -1e4, 0.0], np.float32).reshape(1, 3, 1, 1)
    for label, loss in ((0, 0), (1, 2e4), (2, 1e4)):
        labels = np.full((1, 1, 1), label)
        assert ops.cross_entropy2d(logits, labels) == loss
        grad = ops.cross_entropy2d_backward(logits, labels)
        np.testing.assert_array_equal(grad.ravel(), np.array([1, 0, 0]) - np.eye(3)[label])


def test_one_class_costs_nothing():
    logits, labels = LOGITS[:, :1], np.zeros_like(LABELS)
    assert ops.cross_entropy2d(logits, labels) == 0
    assert np.all(ops.cross_entropy2d_backward(logits, labels) == 0)


def test_more_than_255_classes():
    """255 is then a class that is ignored, unless another label is."""
    logits, labels = RNG.standard_normal((1, 300, 1, 2)), np.array([[[255, 299]]])
    losses = ops.cross_entropy2d(logits, labels, reduction="none").ravel()
    assert losses[0] == 0
    assert losses[1] > 0
    assert np.all(ops.cross_entropy2d(logits, labels, ignore_index=-1, reduction="none") > 0)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1e-9])
def test_class_weights_are_finite_and_not_negative(wrong):
    weight = np.array([1.0, 1.0, wrong, 1.0])
    for function in (ops.cross_entropy2d, ops.cross_entropy2d_backward):
        with pytest.raises(ValueError, match="class_weight must be finite and at least 0"):
            function(LOGITS, LABELS, class_weight=weight)
        with pytest.raises(ValueError, match="class_weight"):
            function(LOGITS, LABELS, class_weight=WEIGHT[:3])


@pytest.mark.parametrize("wrong", [None, True, 255.0, "255", np.array(255)])
def test_ignore_index_is_an_integer(wrong):
    with pytest.raises(TypeError, match="ignore_index"):
        ops.cross_entropy2d(LOGITS, LABELS, ignore_index=wrong)


@pytest.mark.parametrize(("wrong", "error"), [("avg", ValueError), ("MEAN", ValueError), (None, TypeError)])
def test_reduction_is_one_of_three(wrong, error):
    for function in (ops.cross_entropy2d, ops.cross_entropy2d_backward):
        with pytest.raises(error, match=r"reduction .*'mean', 'sum', 'none'"):
            function(LOGITS, LABELS, reduction=wrong)


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        (LABELS.tolist(), TypeError),
        (LABELS.astype(float), TypeError),
        (LABELS.astype(bool), TypeError),
        (np.ma.masked_array(LABELS), TypeError),
        (LABELS[:, None], ValueError),
        (LABELS[:1], ValueError),
        (LABELS.transpose(0, 2, 1), ValueError),
    ],
)
def test_labels_are_integers_of_the_logits_size(labels, error):
    for function in (ops.cross_entropy2d, ops.cross_entropy2d_backward):
        with pytest.raises(error, match="labels"):
            function(LOGITS, labels)


def test_arguments_are_left_alone():
    for array in (LOGITS, LABELS, WEIGHT):
        array.flags.writeable = False
    ops.cross_entropy2d(LOGITS, LABELS, class_weight=WEIGHT)
    ops.cross_entropy2d_backward(np.asfortranarray(LOGITS), LABELS[:, ::-1], class_weight=WEIGHT)


def test_segmentation_map_takes_the_lowest_of_equal_classes():
    logits = np.array([[1.0, 2.0, 0.0], [3.0, 2.0, 0.0], [3.0, 1.0, 0.0]], np.float32).reshape(1, 3, 1, 3)
    labels = ops.segmentation_map(logits)
    assert labels.tolist() == [[[1, 0, 0]]]
    assert labels.dtype == np.int64
    assert ops.segmentation_map(logits[:0]).shape == (0, 1, 3)
