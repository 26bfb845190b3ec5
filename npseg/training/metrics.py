"""The four metrics of the FCN paper, from one confusion matrix over a whole split.

With n_ij the number of pixels of class i predicted as class j, and t_i = sum_j n_ij the pixels of class i:

    pixel accuracy          sum_i n_ii / sum_i t_i
    mean accuracy           the mean over classes of n_ii / t_i
    IU of class i           n_ii / (t_i + sum_j n_ji - n_ii)            (intersection over union)
    mean IU                 the mean over classes of their IU
    frequency weighted IU   sum_i t_i * IU_i / sum_i t_i

Source: Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation" (2015), section 5.
"""

from collections.abc import Iterable, Sequence
from typing import TypedDict

import numpy as np

from npseg import checks
from npseg.checks import Array


class Metrics(TypedDict):
    """The metrics of one split, fractions from 0 to 1; None where nothing defines one."""

    pixel_accuracy: float | None
    mean_accuracy: float | None
    mean_iu: float | None
    frequency_weighted_iu: float | None
    class_iu: dict[str, float | None]


class ConfusionMatrix:
    """Counts of pixels by true and predicted class, added up over a split.

    The metrics are not means of per-image metrics: every pixel of the split counts once, at its label map's own size.

    Args:
        classes: the names, in the order of the label values.
        ignore_index: the label of void pixels, which count nowhere.

    Raises:
        ValueError: two classes share a name.

    >>> confusion = ConfusionMatrix(["sky", "road", "car"])
    >>> confusion.update(np.array([[0, 0, 1, 255]]), np.array([[0, 1, 1, 2]]))
    >>> confusion.counts
    array([[1, 1, 0],
           [0, 1, 0],
           [0, 0, 0]])
    >>> confusion.metrics()["class_iu"]
    {'sky': 0.5, 'road': 0.5, 'car': None}
    """

    def __init__(self, classes: Sequence[str], ignore_index: int = 255) -> None:
        """See the class."""
        if not isinstance(classes, Sequence) or not all(isinstance(name, str) for name in classes):
            raise TypeError(f"classes must be names, got {checks.describe(classes)}")
        self.classes = tuple(classes)
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes must have different names, got {self.classes}")
        self.ignore_index = checks.integer(ignore_index, "ignore_index")
        self.counts = np.zeros((len(self.classes), len(self.classes)), np.int64)  # (truth, prediction)

    def update(self, labels: Array, predictions: Array) -> None:
        """Count the pixels of one or more label maps.

        Args:
            labels: the truth, any shape, any integer dtype.
            predictions: a class for each pixel, of the same shape.

        Raises:
            ValueError, TypeError: shapes that differ, or a value that is no class (void may stand in `labels` only).
        """
        labels = self._integers(labels, "labels")
        predictions = self._integers(predictions, "predictions")
        checks.shape(predictions, "predictions", labels.shape, "the shape of labels")
        kept = labels != self.ignore_index
        truth, predicted = labels[kept], predictions[kept]
        self._check_classes(truth, "labels")
        self._check_classes(predicted, "predictions")
        number = len(self.classes)
        pairs = np.bincount(truth * number + predicted, minlength=number * number)
        self.counts += pairs.reshape(number, number)

    def metrics(self) -> Metrics:
        """The four metrics and the IU of each class, by name.

        A class in neither truth nor prediction has no IU (None) and is left out of mean IU; one that is only predicted
        has IU 0 and counts. Mean accuracy is over the classes present in the truth.
        """
        correct = np.diag(self.counts).tolist()
        truth = self.counts.sum(axis=1).tolist()
        predicted = self.counts.sum(axis=0).tolist()
        union = [t + p - c for t, p, c in zip(truth, predicted, correct, strict=True)]
        class_iu = [_ratio(c, u) for c, u in zip(correct, union, strict=True)]
        weighted = sum(t * iu for t, iu in zip(truth, class_iu, strict=True) if iu is not None)
        return {
            "pixel_accuracy": _ratio(sum(correct), sum(truth)),
            "mean_accuracy": _mean(_ratio(c, t) for c, t in zip(correct, truth, strict=True)),
            "mean_iu": _mean(class_iu),
            "frequency_weighted_iu": _ratio(weighted, sum(truth)),
            "class_iu": dict(zip(self.classes, class_iu, strict=True)),
        }

    @staticmethod
    def _integers(values: Array, name: str) -> Array:
        """Label values as int64: the product with the number of classes would overflow uint8."""
        values = checks.array(values, name)
        if values.dtype.kind not in "iu":
            raise TypeError(f"{name} must be integers, got {values.dtype}")
        checks.fits_memory(values.shape, 8, name, "their copy")
        return values.astype(np.int64)

    def _check_classes(self, values: Array, name: str) -> None:
        """Void pixels are gone by now; what is left must be a class."""
        wrong = values[(values < 0) | (values >= len(self.classes))]
        if wrong.size:
            raise ValueError(f"{name} must be classes 0 ... {len(self.classes) - 1}, got {wrong[0]}")


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _mean(values: Iterable[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
