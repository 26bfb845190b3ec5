"""Labelled images: generated scenes, folders of one's own, transforms, and picture files."""

from collections.abc import Mapping
from typing import Any

from npseg import checks
from npseg.data.dataset import IGNORE_INDEX, VOID_COLOR, Dataset, Sample
from npseg.data.folder import ImageFolder
from npseg.data.pictures import overlay, paint, read_image, read_label_map, write_image, write_label_map
from npseg.data.shapes import Shapes
from npseg.data.transforms import Compose, Normalise, RandomCrop, RandomHorizontalFlip, RandomScale, Transform

__all__ = [
    "IGNORE_INDEX",
    "VOID_COLOR",
    "Compose",
    "Dataset",
    "ImageFolder",
    "Normalise",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomScale",
    "Sample",
    "Shapes",
    "Transform",
    "open_dataset",
    "overlay",
    "paint",
    "read_image",
    "read_label_map",
    "write_image",
    "write_label_map",
]

KINDS: dict[str, type[Shapes] | type[ImageFolder]] = {"shapes": Shapes, "folder": ImageFolder}


def open_dataset(description: Mapping[str, Any], split: str) -> Dataset:
    """The data set that `describe()` described.

    Args:
        description: "kind", which is "shapes" or "folder", and the arguments of `Shapes` or `ImageFolder`.
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
