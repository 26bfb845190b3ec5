"""The samples of a split: walked in order, kept in memory, and summed up."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npseg.checks import Array
from npseg.data import Dataset, Normalise, Sample

CACHE_BYTES = 512 * 2**20
"""How much memory the decoded samples of one split may take: 512 MiB."""


def each(dataset: Dataset, indices: Iterable[int] | None = None) -> Iterator[Sample]:
    """All samples in order, or those of these indices."""
    return (dataset[index] for index in (range(len(dataset)) if indices is None else indices))


class Cached:
    """A data set that decodes or draws each sample once and keeps it, as long as there is room.

    What no longer fits is made anew each time it is asked for. The samples kept are read-only.

    Args:
        dataset: the samples.
        limit: bytes of images and label maps to keep, 512 MiB by default.
    """

    def __init__(self, dataset: Dataset, limit: int = CACHE_BYTES) -> None:
        """See the class."""
        self._dataset = dataset
        self._room = limit
        self._kept: dict[int, Sample] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """The data set's."""
        return self._dataset.classes

    @property
    def colors(self) -> NDArray[np.uint8]:
        """The data set's."""
        return self._dataset.colors

    @property
    def ignore_index(self) -> int:
        """The data set's."""
        return self._dataset.ignore_index

    def __len__(self) -> int:
        """The number of samples."""
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        """Sample `index`, from memory where it is kept."""
        if index in self._kept:
            return self._kept[index]
        sample = self._dataset[index]
        needed = sample.image.nbytes + sample.labels.nbytes
        if needed <= self._room:
            sample.image.setflags(write=False)
            sample.labels.setflags(write=False)
            self._room -= needed
            self._kept[index] = sample
        return sample

    def describe(self) -> dict[str, Any]:
        """The data set's description."""
        return self._dataset.describe()


def cached(dataset: Dataset) -> Cached:
    """The data set with a memory; one that has a memory already is taken as it is."""
    return dataset if isinstance(dataset, Cached) else Cached(dataset)


def fit_normalisation(dataset: Dataset, at_most: int = 256) -> Normalise:
    """The normalisation that gives the images' red, green and blue mean 0 and deviation 1.

    Args:
        dataset: the training split.
        at_most: so many images, spread evenly over the split, are enough for an estimate.

    Returns:
        The normalisation; a channel that never varies is only centred.
    """
    count = 0
    total, squares = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for place in range(min(len(dataset), at_most)):
        image = dataset[place * len(dataset) // min(len(dataset), at_most)].image.astype(np.int64)
        count += image.shape[0] * image.shape[1]
        total += image.sum(axis=(0, 1))
        squares += (image * image).sum(axis=(0, 1))
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean * mean, 0))
    deviation[deviation == 0] = 255
    return Normalise(tuple((mean / 255).tolist()), tuple((deviation / 255).tolist()))


def median_frequency_weights(dataset: Dataset) -> list[float]:
    """Class weights that make rare classes count more: the median frequency over the class's own.

    A class's frequency is its pixels over all labelled pixels of the images it appears in. A class that never appears
    has weight 0.

    Source: Eigen and Fergus, "Predicting Depth, Surface Normals and Semantic Labels with a Common Multi-Scale
    Convolutional Architecture" (2015), section 6.3.2; used for SegNet on CamVid.
    """
    number = len(dataset.classes)
    pixels, pixels_of_its_images = np.zeros(number, np.int64), np.zeros(number, np.int64)
    for sample in each(dataset):
        counts = np.bincount(sample.labels[sample.labels != dataset.ignore_index], minlength=number)
        pixels += counts
        pixels_of_its_images += np.where(counts > 0, counts.sum(), 0)
    present = pixels > 0
    frequency: Array = pixels[present] / pixels_of_its_images[present]
    weights = np.zeros(number)
    if present.any():
        weights[present] = np.median(frequency) / frequency
    weighted: list[float] = weights.tolist()
    return weighted
