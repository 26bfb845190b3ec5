"""What a network was trained for: whatever its user needs beside the network itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npseg.data import Dataset, Normalise, open_dataset
from npseg.training.samples import fit_normalisation


@dataclass(frozen=True)
class Task:
    """The classes a network tells apart and the images it expects.

    Attributes:
        classes: names, in the order of the score channels.
        colors: how label maps are painted, uint8 (C, 3).
        ignore_index: the label of void pixels.
        normalise: turns a uint8 image into the network's input.
        data: the descriptions of the splits "train" and "val", for `npseg.data.open_dataset`.
    """

    classes: tuple[str, ...]
    colors: NDArray[np.uint8]
    ignore_index: int
    normalise: Normalise
    data: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, training: Dataset, validation: Dataset, normalise: Normalise | None = None) -> "Task":
        """The task that two splits pose; by default the images' normalisation is fitted to the training split.

        Raises:
            ValueError: the splits differ in their classes.
        """
        if tuple(training.classes) != tuple(validation.classes):
            raise ValueError(
                f"validation must have the classes of training, {training.classes}, got {validation.classes}"
            )
        return cls(
            tuple(training.classes),
            training.colors,
            training.ignore_index,
            normalise or fit_normalisation(training),
            {"train": training.describe(), "val": validation.describe()},
        )

    def open(self, split: str) -> Dataset:
        """A split of the data that the network was trained on; errors as in `npseg.data.open_dataset`."""
        return open_dataset(self.data.get(split, self.data["train"]), split)

    def describe(self) -> dict[str, Any]:
        """The task as JSON can hold it."""
        return {
            "classes": list(self.classes),
            "colors": self.colors.tolist(),
            "ignore_index": self.ignore_index,
            "normalise": self.normalise.describe(),
            "data": {split: dict(description) for split, description in self.data.items()},
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> "Task":
        """The task that `describe` described.

        Raises:
            KeyError, TypeError, ValueError: something is missing or malformed.
        """
        classes = tuple(str(name) for name in description["classes"])
        colors = np.array(description["colors"], np.uint8)
        if colors.shape != (len(classes), 3):
            raise ValueError(f"colors must have shape ({len(classes)}, 3), one row per class, got {colors.shape}")
        return cls(
            classes,
            colors,
            int(description["ignore_index"]),
            Normalise(**description["normalise"]),
            {split: dict(description["data"][split]) for split in ("train", "val")},
        )
