"""Random changes of an image and its label map together, and the numbers a network is given instead of bytes.

A transform is called as `transform(image, labels, rng) -> (image, labels)` with a uint8 image (H, W, 3) and a uint8
label map (H, W). Whatever moves pixels moves both alike, so a label stays with what it labels; all chance comes from
`rng`. The arguments are not changed.

A transform keeps every label's id, so its network learns the same classes: what changes is where and how large.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from npseg import checks
from npseg.data.dataset import IGNORE_INDEX, pair, rgb_image

Bytes = NDArray[np.uint8]
Transform = Callable[[Bytes, Bytes, np.random.Generator], tuple[Bytes, Bytes]]

MEAN_GREY = 128
"""What is shown beyond an image's border: `Normalise` makes it (nearly) 0, as a convolution's padding is."""


@dataclass(frozen=True)
class Compose:
    """Several transforms in turn, each given what the one before returned."""

    transforms: Sequence[Transform]

    def __post_init__(self) -> None:
        """Check the argument."""
        if not isinstance(self.transforms, Sequence) or not all(callable(transform) for transform in self.transforms):
            raise TypeError(f"transforms must be a sequence of functions, got {checks.describe(self.transforms)}")

    def __call__(self, image: Bytes, labels: Bytes, rng: np.random.Generator) -> tuple[Bytes, Bytes]:
        """Apply all."""
        image, labels = pair(image, labels)
        checks.generator(rng, "rng")
        for transform in self.transforms:
            image, labels = transform(image, labels, rng)
        return image, labels


@dataclass(frozen=True)
class ImageAlone:
    """A transform for images that have one label as a whole: it stays the same, wherever what it names has moved."""

    transform: Transform

    def __post_init__(self) -> None:
        """Check the argument."""
        if not callable(self.transform):
            raise TypeError(f"transform must be a function, got {checks.describe(self.transform)}")

    def __call__(self, image: Bytes, labels: Bytes, rng: np.random.Generator) -> tuple[Bytes, Bytes]:
        """Apply the transform to the image, whose pixels have no labels."""
        image = rgb_image(image, "image")
        image, _ = self.transform(image, np.full(image.shape[:2], IGNORE_INDEX, np.uint8), rng)
        return image, labels


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Mirror left and right.

    Args:
        p: how often, 0 ... 1.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        """Check the argument."""
        if checks.number(self.p, "p", at_least=0) > 1:
            raise ValueError(f"p must be at most 1, got {self.p}")

    def __call__(self, image: Bytes, labels: Bytes, rng: np.random.Generator) -> tuple[Bytes, Bytes]:
        """Mirror both or neither."""
        image, labels = pair(image, labels)
        if checks.generator(rng, "rng").random() >= self.p:
            return image, labels
        return np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(labels[:, ::-1])


@dataclass(frozen=True)
class RandomScale:
    """Shrink or magnify by a factor drawn uniformly from `low` ... `high`.

    The image is interpolated bilinearly; labels are ids, between which nothing lies, so each takes its nearest one.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Check the arguments."""
        if checks.number(self.low, "low") <= 0:
            raise ValueError(f"low must be above 0, got {self.low}")
        checks.number(self.high, "high", at_least=self.low)

    def __call__(self, image: Bytes, labels: Bytes, rng: np.random.Generator) -> tuple[Bytes, Bytes]:
        """Resize both by the same factor, to one pixel at least."""
        image, labels = pair(image, labels)
        factor = checks.generator(rng, "rng").uniform(self.low, self.high)
        height, width = (max(round(length * factor), 1) for length in labels.shape)
        checks.fits_memory((height, width, 3), 1, "high", "the magnified image")
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        nearest = Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST)
        return np.array(resized), np.array(nearest)


@dataclass(frozen=True)
class RandomCrop:
    """Cut out a part of the given size, at a place drawn uniformly.

    Along an axis where the image is too short it is put at a random place of a part filled with mean grey, labelled
    void (255), so that what was never seen is never learned.

    Args:
        size: (height, width).
    """

    size: tuple[int, int]

    def __post_init__(self) -> None:
        """Check the argument."""
        object.__setattr__(self, "size", checks.size(self.size, "size"))
        checks.fits_memory((*self.size, 3), 1, "size", "the part")

    def __call__(self, image: Bytes, labels: Bytes, rng: np.random.Generator) -> tuple[Bytes, Bytes]:
        """Cut both at the same place."""
        image, labels = pair(image, labels)
        checks.generator(rng, "rng")
        from_rows, to_rows = _place(labels.shape[0], self.size[0], rng)
        from_columns, to_columns = _place(labels.shape[1], self.size[1], rng)
        part = np.full((*self.size, 3), MEAN_GREY, np.uint8)
        part_labels = np.full(self.size, IGNORE_INDEX, np.uint8)
        part[to_rows, to_columns] = image[from_rows, from_columns]
        part_labels[to_rows, to_columns] = labels[from_rows, from_columns]
        return part, part_labels


def _place(length: int, wanted: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Along one axis: what to take from the image, and where to put it in the part."""
    common = min(length, wanted)
    start = int(rng.integers(abs(length - wanted) + 1))
    drawn, whole = slice(start, start + common), slice(0, common)
    return (drawn, whole) if length > wanted else (whole, drawn)


@dataclass(frozen=True)
class Normalise:
    """Turn an image's bytes into the numbers a network works with: (x / 255 - mean) / std, channels first, float32.

    The defaults map 0 ... 255 to -2 ... 2: centred and about as wide as He initialisation expects of its inputs. The
    numbers belong to a trained model, so they are stored with it.

    Args:
        mean: one number, or one for red, green and blue each, on the scale 0 ... 1.
        std: the same, above 0.

    >>> normalise = Normalise()
    >>> normalise(np.full((1, 1, 3), 255, np.uint8)).ravel()
    array([2., 2., 2.], dtype=float32)
    >>> Normalise(**normalise.describe()) == normalise
    True
    """

    mean: float | tuple[float, float, float] = 0.5
    std: float | tuple[float, float, float] = 0.25

    def __post_init__(self) -> None:
        """Check the arguments and bring them into one form: a number, or a tuple of three."""
        object.__setattr__(self, "mean", _per_channel(self.mean, "mean"))
        object.__setattr__(self, "std", _per_channel(self.std, "std"))
        if np.min(self.std) <= 0:
            raise ValueError(f"std must be above 0, got {self.std}")

    def __call__(self, image: Bytes) -> NDArray[np.float32]:
        """Image (H, W, 3) of uint8 -> (3, H, W) of float32."""
        image = rgb_image(image, "image")
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        values = (image / np.float32(255) - mean) / std
        return np.ascontiguousarray(values.transpose(2, 0, 1))

    def describe(self) -> dict[str, Any]:
        """The arguments, as JSON can hold them."""
        return {"mean": self.mean, "std": self.std}


def _per_channel(value: Any, name: str) -> float | tuple[float, float, float]:
    """A number, or three as a tuple."""
    if not isinstance(value, (tuple, list)):
        return checks.number(value, name)
    if len(value) != 3:
        raise ValueError(f"{name} must be a number or three (red, green, blue), got {len(value)}: {value}")
    red, green, blue = (checks.number(item, f"{name}[{channel}]") for channel, item in enumerate(value))
    return red, green, blue
