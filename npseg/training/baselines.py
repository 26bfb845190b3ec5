"""Two predictors that need no network; what a network has to beat.

Most pixels of most data sets belong to few classes in habitual places (the sky is above, the road below), so pixel
accuracy alone flatters. `majority` predicts the most frequent class everywhere, `position` the most frequent class of
each pixel position. Both learn from the training split alone.
"""

from typing import NamedTuple

import numpy as np

from npseg.checks import Array
from npseg.data import Dataset
from npseg.training import samples
from npseg.training.metrics import ConfusionMatrix, Metrics


class Baselines(NamedTuple):
    """What the baselines learned.

    Attributes:
        majority: the most frequent class.
        position: the most frequent class of each position, (H, W), or None where the training images differ in
            size or have one label as a whole.
    """

    majority: int
    position: Array | None


class BaselineMetrics(NamedTuple):
    """The metrics of both baselines on one split; `position` is None where there is none to learn."""

    majority: Metrics
    position: Metrics | None


def learn(training: Dataset) -> Baselines:
    """Count the classes of a training split, as a whole and at each position; the lowest class wins a tie."""
    number = len(training.classes)
    sizes = set()
    total = np.zeros(number, np.int64)
    counts: Array | None = None
    for sample in samples.each(training):
        labels = sample.labels
        sizes.add(labels.shape)
        if len(sizes) > 1 or labels.ndim == 0:
            counts = None
        elif counts is None:
            counts = np.zeros((number, *labels.shape), np.int64)
        known = labels != training.ignore_index
        total += np.bincount(labels[known], minlength=number)
        if counts is not None:
            rows, columns = np.nonzero(known)
            counts[labels[known], rows, columns] += 1
    majority = int(total.argmax())
    if counts is None:
        return Baselines(majority, None)
    never_labelled = counts.sum(axis=0) == 0
    return Baselines(majority, np.where(never_labelled, majority, counts.argmax(axis=0)))


def evaluate(baselines: Baselines, dataset: Dataset) -> BaselineMetrics:
    """Both baselines' metrics on a split, by the same rules as a network's."""
    majority = ConfusionMatrix(dataset.classes, dataset.ignore_index)
    position = ConfusionMatrix(dataset.classes, dataset.ignore_index)
    habit = baselines.position
    for sample in samples.each(dataset):
        majority.update(sample.labels, np.full(sample.labels.shape, baselines.majority))
        if habit is not None and habit.shape == sample.labels.shape:
            position.update(sample.labels, habit)
        else:
            habit = None
    return BaselineMetrics(majority.metrics(), None if habit is None else position.metrics())
