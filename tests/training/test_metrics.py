import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from npseg.training.metrics import ConfusionMatrix

CLASSES = ("sky", "road", "car", "tree")


def by_definition(truth, prediction, number):
    """The paper's metrics from sets of pixels, one class at a time."""
    kept = truth != 255
    truth, prediction = truth[kept], prediction[kept]
    iu, accuracy = {}, []
    weighted = 0.0
    for index in range(number):
        actual = set(np.flatnonzero(truth == index).tolist())
        predicted = set(np.flatnonzero(prediction == index).tolist())
        union = actual | predicted
        iu[index] = len(actual & predicted) / len(union) if union else None
        if actual:
            accuracy.append(len(actual & predicted) / len(actual))
            weighted += len(actual) * iu[index]
    defined = [value for value in iu.values() if value is not None]
    return {
        "pixel_accuracy": float(np.mean(truth == prediction)) if truth.size else None,
        "mean_accuracy": float(np.mean(accuracy)) if accuracy else None,
        "mean_iu": float(np.mean(defined)) if defined else None,
        "frequency_weighted_iu": weighted / truth.size if truth.size else None,
        "class_iu": iu,
    }


@given(
    arrays.arrays(np.uint8, (3, 5), elements=st.sampled_from([0, 1, 2, 3, 255])),
    arrays.arrays(np.int64, (3, 5), elements=st.integers(0, 3)),
)
def test_metrics_equal_their_definition(truth, prediction):
    confusion = ConfusionMatrix(CLASSES)
    confusion.update(truth, prediction)
    expected = by_definition(truth, prediction, len(CLASSES))
    metrics = confusion.metrics()
    assert metrics["class_iu"] == {CLASSES[index]: iu for index, iu in expected["class_iu"].items()}
    for name in ("pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu"):
        assert metrics[name] == (None if expected[name] is None else pytest.approx(expected[name], rel=1e-12))


def test_absent_only_predicted_and_missed_classes():
    confusion = ConfusionMatrix(CLASSES)
    confusion.update(np.array([0, 0, 1, 255]), np.array([0, 2, 0, 3]))
    metrics = confusion.metrics()
    assert metrics["class_iu"] == {"sky": 1 / 3, "road": 0.0, "car": 0.0, "tree": None}
    assert metrics["mean_iu"] == pytest.approx((1 / 3 + 0 + 0) / 3)  # car, only predicted, counts; tree does not
    assert metrics["mean_accuracy"] == pytest.approx((1 / 2 + 0) / 2)  # over sky and road, the classes in the truth
    assert metrics["pixel_accuracy"] == pytest.approx(1 / 3)
    assert metrics["frequency_weighted_iu"] == pytest.approx((2 * (1 / 3) + 1 * 0) / 3)


def test_nothing_labelled_defines_nothing():
    confusion = ConfusionMatrix(CLASSES)
    confusion.update(np.full((2, 3), 255), np.zeros((2, 3), np.int64))
    assert confusion.metrics() == {
        "pixel_accuracy": None,
        "mean_accuracy": None,
        "mean_iu": None,
        "frequency_weighted_iu": None,
        "class_iu": dict.fromkeys(CLASSES),
    }


def test_counts_add_up_over_maps_of_any_size():
    rng = np.random.default_rng(0)
    maps = [(rng.integers(0, 4, size), rng.integers(0, 4, size)) for size in [(2, 3), (5, 1), (1, 1)]]
    together, apart = ConfusionMatrix(CLASSES), ConfusionMatrix(CLASSES)
    for truth, prediction in maps:
        apart.update(truth.astype(np.uint8), prediction)
    together.update(*(np.concatenate([part.ravel() for part in parts]) for parts in zip(*maps, strict=True)))
    assert np.array_equal(apart.counts, together.counts)
    assert apart.counts.dtype == np.int64
    assert apart.counts.sum() == 12
    assert apart.metrics() != ConfusionMatrix(CLASSES).metrics()


def test_many_classes_do_not_overflow_small_label_types():
    confusion = ConfusionMatrix([f"class {index}" for index in range(200)])
    confusion.update(np.array([199, 150], np.uint8), np.array([198, 150], np.uint8))
    assert confusion.counts[199, 198] == 1
    assert confusion.counts[150, 150] == 1
    assert confusion.counts.sum() == 2


@pytest.mark.parametrize(
    ("truth", "prediction", "error", "message"),
    [
        (np.array([4]), np.array([0]), ValueError, "labels must be classes 0 ... 3, got 4"),
        (np.array([-1]), np.array([0]), ValueError, "labels must be classes 0 ... 3, got -1"),
        (np.array([0]), np.array([255]), ValueError, "predictions must be classes 0 ... 3, got 255"),
        (np.array([0, 1]), np.array([0]), ValueError, "predictions must have shape"),
        (np.array([0.0]), np.array([0]), TypeError, "labels must be integers"),
        (np.array([0]), np.array([True]), TypeError, "predictions must be integers"),
    ],
)
def test_bad_maps_are_refused(truth, prediction, error, message):
    confusion = ConfusionMatrix(CLASSES)
    with pytest.raises(error, match=message):
        confusion.update(truth, prediction)
    assert confusion.counts.sum() == 0


def test_classes_need_different_names():
    with pytest.raises(ValueError, match="different names"):
        ConfusionMatrix(["car", "car"])
