"""Labelled images: generated scenes, folders of one's own, transforms, and picture files."""

from collections.abc import Mapping
from typing import Any

from npseg import checks
from npseg.data.dataset import IGNORE_INDEX, VOID_COLOR, Dataset, Sample, labels_whole_images
from npseg.data.folder import ImageFolder
from npseg.data.pictures import (
    classifier_view,
    overlay,
    paint,
    read_image,
    read_label_map,
    write_image,
    write_label_map,
)
from npseg.data.shapes import Shapes, SingleShapes
from npseg.data.transforms import (
    Compose,
    ImageAlone,
    Normalise,
    RandomCrop,
    RandomHorizontalFlip,
    RandomScale,
    Transform,
)

__all__ = [
    "IGNORE_INDEX",
    "VOID_COLOR",
    "Compose",
    "Dataset",
    "ImageAlone",
    "ImageFolder",
    "Normalise",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomScale",
    "Sample",
    "Shapes",
    "SingleShapes",
    "Transform",
    "classifier_view",
    "labels_whole_images",
    "open_dataset",
    "overlay",
    "paint",
    "read_image",
    "read_label_map",
    "write_image",
    "write_label_map",
]

KINDS: dict[str, type[Shapes] | type[SingleShapes] | type[ImageFolder]] = {
    "shapes": Shapes,
    "single shapes": SingleShapes,
    "folder": ImageFolder,
}


def open_dataset(description: Mapping[str, Any], split: str) -> Dataset:
    """The data set that `describe()` described.

    Args:
        description: "kind", one of `KINDS`, and the arguments of its class.
        split: "train", "val", or whatever other split a folder has.

    Returns:
        The data set.

    Raises:
        TypeError, ValueError, FileNotFoundError: an unknown kind, or what the data set itself raises.

    >>> len(open_dataset({"kind": "shapes", "count": 20}, "val"))
    20
    """
    if not isinstance(description, Mapping):
        raise TypeError(f"description must be a mapping that describe() made, got {checks.describe(description)}")
    arguments = dict(description)
    kind = checks.choice(arguments.pop("kind", None), "the kind in description", tuple(KINDS))
    return KINDS[kind](**arguments, split=split)
