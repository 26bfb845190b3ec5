"""Generated scenes: five kinds of objects on a background, told apart by form and texture, never by colour.

| class      | form                     | texture                                       |
|------------|--------------------------|-----------------------------------------------|
| background | the whole image          | plain: one colour, shaded along a line        |
| disc       | disc                     | plain, as the background: only its form tells |
| square     | square                   | checkerboard                                  |
| triangle   | equilateral triangle     | dots                                          |
| ring       | ring, see-through inside | speckles                                      |
| cross      | cross of two equal bars  | stripes                                       |

All forms have the same area for the same size, and all regions draw their colours from the same distribution: neither
size nor colour says what is shown. Later objects cover earlier ones, and some reach outside the image.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npseg import checks
from npseg.data.dataset import IGNORE_INDEX, Sample, index_within
from npseg.randomness import generator

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SMALLEST_IMAGE = 16
"""The least height and width: below it objects are too few pixels to have a form."""

MOST_OBJECTS = 4
RADIUS = (0.2, 0.32)
"""The least and the largest radius of a disc, as fractions of the image's shorter side; other forms have its area."""
MARGIN, SINGLE_MARGIN = 0.1, 0.25
"""How close to a border the centre of an object may be, as a share of the image: in a scene, and where it is alone."""
REACH = 1.6
"""No form reaches farther from its centre than this many radii."""


# Forms: which points (u, v) belong to the object. Unit: the radius of the disc of the same area, so each area is pi.


def everywhere(u: Floats, v: Floats) -> Mask:
    """All points."""
    return np.ones(np.broadcast_shapes(u.shape, v.shape), np.bool_)


def disc(u: Floats, v: Floats) -> Mask:
    """Area pi * 1^2."""
    return u * u + v * v <= 1


def square(u: Floats, v: Floats) -> Mask:
    """Area (2 * 0.886)^2."""
    return np.maximum(np.abs(u), np.abs(v)) <= 0.886


def triangle(u: Floats, v: Floats) -> Mask:
    """Three half planes at distance 0.7776 from the centre: area 3 * sqrt(3) * 0.7776^2."""
    half, height = 0.5, math.sqrt(0.75)
    return np.maximum(-v, half * v + height * np.abs(u)) <= 0.7776


def ring(u: Floats, v: Floats) -> Mask:
    """Area pi * (1.1^2 - 0.458^2)."""
    distance = u * u + v * v
    return (distance <= 1.1**2) & (distance >= 0.458**2)


def cross(u: Floats, v: Floats) -> Mask:
    """Two bars of length 2 * 1.113 and width 2 * 0.44: area 2 * 2.226 * 0.88 - 0.88^2."""
    u, v = np.abs(u), np.abs(v)
    return (np.minimum(u, v) <= 0.44) & (np.maximum(u, v) <= 1.113)


# Textures: the share of the second colour at each point, in 0 ... 1. Unit of (u, v): pixels, so that a texture is as
# fine in a large image as in a small one.


def plain(u: Floats, v: Floats, rng: np.random.Generator) -> Floats:
    """Shaded along u, a quarter of the way from the first colour to the second."""
    ramp = u - u.min()
    share: Floats = ramp * np.float32(0.25 / max(ramp.max(), 1))
    return share


def stripes(u: Floats, v: Floats, rng: np.random.Generator) -> Mask:
    """Bars along v, as wide as the gaps between them."""
    period = rng.uniform(4, 5.5)
    return u % period < period / 2


def checkerboard(u: Floats, v: Floats, rng: np.random.Generator) -> Mask:
    """Squares of both colours in turn."""
    cell = rng.uniform(4.5, 6)
    even: Mask = (u // cell + v // cell) % 2 == 0
    return even


def dots(u: Floats, v: Floats, rng: np.random.Generator) -> Mask:
    """Round dots on a square lattice; they cover one quarter."""
    period = rng.uniform(8, 10)
    u, v = u % period - period / 2, v % period - period / 2
    return u * u + v * v < period * period / (4 * math.pi)


def speckles(u: Floats, v: Floats, rng: np.random.Generator) -> Mask:
    """Each block of 2x2 pixels has one of the colours by chance."""
    height, width = u.shape
    blocks = rng.random(((height + 1) // 2, (width + 1) // 2)) < 0.5
    return blocks.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]


class Kind(NamedTuple):
    """One class: what it is called, how it looks, and the colour its label is painted in."""

    name: str
    form: Callable[[Floats, Floats], Mask]
    texture: Callable[[Floats, Floats, np.random.Generator], Floats | Mask]
    color: tuple[int, int, int]


KINDS = (
    Kind("background", everywhere, plain, (0, 0, 0)),
    Kind("disc", disc, plain, (230, 159, 0)),
    Kind("square", square, checkerboard, (86, 180, 233)),
    Kind("triangle", triangle, dots, (0, 158, 115)),
    Kind("ring", ring, speckles, (240, 228, 66)),
    Kind("cross", cross, stripes, (204, 121, 167)),
)
"""The classes by id. The colours are Okabe and Ito's, which colour-blind readers can tell apart."""


def draw_scene(image_size: tuple[int, int], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A background and one to four objects, the later over the earlier ones: image (H, W, 3) and label map (H, W)."""
    colors, labels = _background(image_size, rng)
    for _ in range(rng.integers(1, MOST_OBJECTS + 1)):
        _draw_anywhere(colors, labels, int(rng.integers(1, len(KINDS))), MARGIN, rng)
    return _photograph(colors, rng), labels


def draw_single(image_size: tuple[int, int], rng: np.random.Generator) -> tuple[NDArray[np.uint8], int]:
    """A background and one object in its middle half, or none: image (H, W, 3) and the object's class, 0 for none."""
    colors, labels = _background(image_size, rng)
    class_id = int(rng.integers(len(KINDS)))
    if class_id > 0:
        _draw_anywhere(colors, labels, class_id, SINGLE_MARGIN, rng)
    return _photograph(colors, rng), class_id


def _background(image_size: tuple[int, int], rng: np.random.Generator) -> tuple[Floats, NDArray[np.uint8]]:
    """Colours (H, W, 3) and label map (H, W) of an image in which nothing is to be seen yet."""
    height, width = image_size
    colors = np.empty((height, width, 3), np.float32)
    labels = np.empty((height, width), np.uint8)
    _draw(colors, labels, 0, center=(height / 2, width / 2), radius=max(image_size), rng=rng)
    return colors, labels


def _draw_anywhere(
    colors: Floats, labels: NDArray[np.uint8], class_id: int, margin: float, rng: np.random.Generator
) -> None:
    """Draw one object of random size, its centre at least this share of the image away from every border."""
    height, width = labels.shape
    _draw(
        colors,
        labels,
        class_id,
        center=(rng.uniform(margin, 1 - margin) * height, rng.uniform(margin, 1 - margin) * width),
        radius=rng.uniform(*RADIUS) * min(height, width),
        rng=rng,
    )


def _draw(
    colors: Floats,
    labels: NDArray[np.uint8],
    class_id: int,
    center: tuple[float, float],
    radius: float,
    rng: np.random.Generator,
) -> None:
    """Draw one object over what is there, into `colors` and `labels`."""
    rows, columns = (
        slice(max(int(middle - REACH * radius), 0), min(int(middle + REACH * radius) + 2, length))
        for middle, length in zip(center, labels.shape, strict=True)
    )
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, np.newaxis] + np.float32(0.5 - center[0])
    x = np.arange(columns.start, columns.stop, dtype=np.float32) + np.float32(0.5 - center[1])
    angle = rng.uniform(0, 2 * math.pi)
    cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    u, v = cosine * x + sine * y, cosine * y - sine * x

    shrink = np.float32(1 / radius)
    inside = KINDS[class_id].form(shrink * u, shrink * v)
    first, second = _two_colors(rng)
    share = KINDS[class_id].texture(u, v, rng)[..., np.newaxis]
    np.copyto(colors[rows, columns], first + share * (second - first), where=inside[..., np.newaxis])
    np.copyto(labels[rows, columns], np.uint8(class_id), where=inside)


def _two_colors(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Two colours in 0 ... 1, each uniform, so that none is a sign of anything, and never alike.

    In every channel the second lies between 1/4 and 3/4 of the range further on, around the end to the beginning.
    """
    first = rng.random(3, dtype=np.float32)
    second = (first + rng.uniform(0.25, 0.75, 3).astype(np.float32)) % 1
    return first, second


def _photograph(colors: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What a camera would see of colours in 0 ... 1: brighter or darker as a whole, with noise in each pixel."""
    brightness, darkest = rng.uniform(170, 215), rng.uniform(10, 40)
    noise = rng.uniform(2, 8) * rng.standard_normal(colors.shape, dtype=np.float32)
    return np.clip(colors * brightness + darkest + noise, 0, 255).astype(np.uint8)


class _Generated(ABC):
    """What the generated data sets share: `count` images, of which number `index` is drawn when it is asked for."""

    classes = tuple(kind.name for kind in KINDS)
    colors = np.array([kind.color for kind in KINDS], np.uint8)
    colors.flags.writeable = False
    ignore_index = IGNORE_INDEX
    kind: ClassVar[str]

    def __init__(
        self, count: int, *, seed: int = 0, split: str = "train", image_size: tuple[int, int] = (64, 64)
    ) -> None:
        self.count = checks.integer(count, "count", at_least=1)
        self.seed = checks.integer(seed, "seed", at_least=0)
        self.split = checks.choice(split, "split", ("train", "val"))
        self.image_size = checks.size(image_size, "image_size", at_least=SMALLEST_IMAGE)
        checks.fits_memory((*self.image_size, 3), 4, "image_size", "an image's colours")

    def __len__(self) -> int:
        """The number of images."""
        return self.count

    def __getitem__(self, index: int) -> Sample:
        """Draw image `index`."""
        index = index_within(index, self.count)
        image, labels = self._drawn(generator(self.seed, f"{self.kind}-{self.split}", index))
        return Sample(image, labels, f"{self.split}-{index:05d}")

    @abstractmethod
    def _drawn(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """One image and its labels."""

    def describe(self) -> dict[str, Any]:
        """The arguments but the split."""
        return {"kind": self.kind, "count": self.count, "seed": self.seed, "image_size": list(self.image_size)}


class Shapes(_Generated):
    """A generated data set of `count` scenes; nothing is stored, scene `index` is drawn when it is asked for.

    A scene depends on (seed, split, index, image_size) alone, so the first 100 of 1,000 scenes are those of 100, and
    training and validation scenes never come from the same random numbers.

    Args:
        count: the number of scenes.
        seed: another seed gives other scenes.
        split: "train" or "val".
        image_size: (height, width), each at least 16; objects grow with the shorter side, textures do not.

    Raises:
        TypeError, ValueError: an argument of another kind, or out of these bounds.

    >>> scenes = Shapes(100, split="val")
    >>> image, labels, name = scenes[7]
    >>> image.shape, labels.shape, name
    ((64, 64, 3), (64, 64), 'val-00007')
    >>> scenes.classes
    ('background', 'disc', 'square', 'triangle', 'ring', 'cross')
    """

    kind = "shapes"

    def _drawn(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return draw_scene(self.image_size, rng)


class SingleShapes(_Generated):
    """A generated data set to train a classifier on: one object in each image, or none, and one label for the whole.

    The label is the class that `Shapes` gives the object's pixels, 0 (background) where there is none; which pixels
    those are it does not tell.

    Args:
        count, seed, split, image_size: as in `Shapes`; an image depends on the same four things, and is in no scene.

    Raises:
        TypeError, ValueError: as in `Shapes`.

    >>> image, label, name = SingleShapes(100)[3]
    >>> image.shape, SingleShapes.classes[label]
    ((64, 64, 3), 'square')
    """

    kind = "single shapes"

    def _drawn(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        image, class_id = draw_single(self.image_size, rng)
        return image, np.array(class_id, np.uint8)
