"""What every data set offers, and the checks of the two arrays it deals in.

An image is a uint8 array (H, W, 3), red, green, blue. Its label map is an array (H, W) of class ids; the id 255 marks
void: pixels nobody labelled (or could), which neither training nor evaluation counts. In a data set for classification
an image has one label as a whole, an array without axes.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from npseg import checks

IGNORE_INDEX = 255
"""The id of void pixels."""

VOID_COLOR = (224, 224, 192)
"""How void pixels are painted where a data set names no colour of its own (PASCAL VOC's)."""


class Sample(NamedTuple):
    """One image with its label map.

    Attributes:
        image: uint8 (H, W, 3).
        labels: uint8 (H, W), class ids, 255 = ignore; or (), the class of the whole image.
        name: tells the sample from the others of its split.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    name: str


class Dataset(Protocol):
    """A numbered collection of samples that share their classes.

    Attributes:
        classes: the names of the C classes, by id.
        colors: uint8 (C, 3), the colours in which label maps are painted, by id.
        ignore_index: the id of void pixels, 255.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the C classes, by id."""

    @property
    def colors(self) -> NDArray[np.uint8]:
        """The colours in which label maps are painted, (C, 3), by id."""

    @property
    def ignore_index(self) -> int:
        """The id of void pixels."""

    def __len__(self) -> int:
        """The number of samples."""

    def __getitem__(self, index: int) -> Sample:
        """Sample `index`; IndexError outside 0 ... len - 1, so that `for sample in dataset` ends."""

    def describe(self) -> dict[str, Any]:
        """The kind and its arguments, without the split, as JSON can hold them; see `open_dataset`."""


def labels_whole_images(dataset: Dataset) -> bool:
    """Whether the data set is for classification: one label for each image, not one for each pixel."""
    if not hasattr(dataset, "classes") or not hasattr(dataset, "ignore_index"):
        raise TypeError(f"dataset must be a data set, got {checks.describe(dataset)}")
    return dataset[0].labels.ndim == 0


def index_within(index: int, length: int) -> int:
    """A sample's number as a Python integer, in 0 ... length - 1."""
    place = checks.integer(index, "index")
    if not 0 <= place < length:
        raise IndexError(f"index must be in 0 ... {length - 1}, got {place}")
    return place


def rgb_image(value: Any, name: str) -> NDArray[np.uint8]:
    """A uint8 array (H, W, 3), not empty."""
    image = checks.array(value, name)
    if image.dtype != np.uint8:
        raise TypeError(f"{name} must be uint8, got {checks.describe(value)}")
    checks.check_axes(image, name, "(H, W, 3)")
    if image.shape[2] != 3:
        raise ValueError(f"{name} must have shape (H, W, 3), got {image.shape}")
    return image


def label_map(value: Any, name: str, classes: int = IGNORE_INDEX) -> NDArray[np.uint8]:
    """An integer array (H, W) of ids 0 ... classes - 1 and 255, as uint8."""
    labels = checks.array(value, name)
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"{name} must be an integer array, got {checks.describe(value)}")
    checks.check_axes(labels, name, "(H, W)")
    checks.fits_memory(labels.shape, labels.itemsize, name, "its check")
    unknown = (labels != IGNORE_INDEX) & ((labels < 0) | (labels >= classes))
    if unknown.any():
        row, column = np.argwhere(unknown)[0]
        raise ValueError(
            f"{name} must be class ids 0 ... {classes - 1} or {IGNORE_INDEX} (void), "
            f"got {labels[row, column]} at row {row}, column {column}"
        )
    return labels.astype(np.uint8, copy=False)


def pair(image: Any, labels: Any) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image and the label map of the same pixels."""
    image, labels = rgb_image(image, "image"), label_map(labels, "labels")
    checks.shape(labels, "labels", image.shape[:2], "the image's height and width")
    return image, labels
