"""Picture files and painted label maps.

A label map is stored as a palette PNG: its bytes are the class ids, so every program reads the same ids, and its
palette paints them, so every viewer shows the classes' colours.
"""

import os
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from npseg import checks
from npseg.data.dataset import IGNORE_INDEX, VOID_COLOR, label_map, rgb_image
from npseg.files import write_whole

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
"""What is read, whatever a file is called. Pillow knows more, some of which it hands to other programs (PostScript)."""

TOO_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
"""Pillow's modes of more than 8 bits a channel: nobody says which of their values is white."""


_one_at_a_time = threading.RLock()
"""Which warnings are ignored is one choice for all threads of a process."""


class PictureError(ValueError):
    """A file that does not hold the picture it should; the message names the file and what it needs to be."""


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The picture at `path`, closed at the end; whatever Pillow raises on broken bytes becomes a PictureError.

    Its decoders raise nearly anything (SyntaxError, struct.error, EOFError, ...), mostly without the file's name. The
    operating system's own errors (missing, not permitted) name the file already and pass. A file that claims more than
    `PIL.Image.MAX_IMAGE_PIXELS` is refused before it is decoded; up to twice as many, Pillow would only warn.
    """
    try:
        with _one_at_a_time, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what can be read all the same, such as damaged EXIF data
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                yield picture
    except PictureError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise PictureError(
            f"{path}: needs to be a whole picture in one of the formats {', '.join(FORMATS)}: {error}"
        ) from error


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read a picture as red, green and blue.

    Grey, palette, CMYK and other pictures are converted, transparent parts shown on white, photographs turned upright
    as their EXIF orientation says; of an animation or a file of several pages the first picture is taken.

    Args:
        path: a file in one of the formats `FORMATS`.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: not a picture, broken, of more pixels than `PIL.Image.MAX_IMAGE_PIXELS`, or of more than 8 bits a
            channel in one channel (which value is white?).
        OSError: the file is missing or may not be read.
    """
    path = checks.path(path, "path")
    with _opened(path) as picture:
        if picture.mode in TOO_DEEP:
            raise PictureError(
                f"{path}: needs 8 bits a channel, got Pillow's mode {picture.mode!r}: "
                "scale it to 0 ... 255 first, so that it is clear which value is white"
            )
        upright = ImageOps.exif_transpose(picture)
        if upright.has_transparency_data:
            page = Image.new("RGBA", upright.size, "white")
            upright = Image.alpha_composite(page, upright.convert("RGBA"))
        return np.array(upright.convert("RGB"))


def classifier_view(image: NDArray[np.uint8], size: tuple[int, int], share: float = 0.875) -> NDArray[np.uint8]:
    """The middle of a photograph at the size that a classifier was made for, as classifiers are tested on ImageNet.

    Args:
        image: uint8 (H, W, 3).
        size: (height, width) of the result.
        share: how much of the photograph the middle is, along the axis that limits it; 224 of 256 is usual.

    Returns:
        uint8 (*size, 3), interpolated bicubically.

    Raises:
        TypeError, ValueError: an argument is not of this form.
    """
    image = rgb_image(image, "image")
    height, width = checks.size(size, "size")
    checks.fits_memory((height, width, 3), 1, "size", "the result")
    share = checks.number(share, "share", at_least=0.0)
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    pixels = share * min(image.shape[0] / height, image.shape[1] / width)  # of the photograph for one of the result
    top, left = (image.shape[0] - pixels * height) / 2, (image.shape[1] - pixels * width) / 2
    box = (left, top, left + pixels * width, top + pixels * height)
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC, box=box))


def read_label_map(path: str | os.PathLike[str], classes: int) -> NDArray[np.uint8]:
    """Read a label map: a palette or grey PNG whose bytes are the class ids, 255 = void.

    Args:
        path: the PNG file.
        classes: the number of classes C.

    Returns:
        uint8 (H, W), values 0 ... C - 1 and 255.

    Raises:
        ValueError: not a PNG, broken, of another kind (colours instead of ids, 16 bits), or with another value.
        OSError: the file is missing or may not be read.
    """
    path, classes = checks.path(path, "path"), checks.integer(classes, "classes", at_least=1)
    with _opened(path) as picture:
        needs = f"{path}: label maps need to be palette or 8-bit grey PNGs whose bytes are class ids"
        if picture.format != "PNG":
            raise PictureError(f"{needs}, got a picture in the format {picture.format}")
        if picture.mode not in ("P", "L"):
            raise PictureError(f"{needs}, got colours or another depth (Pillow's mode {picture.mode!r})")
        if picture.mode == "L" and _png_bit_depth(path) != 8:
            raise PictureError(f"{needs}, got {_png_bit_depth(path)}-bit grey, which readers stretch to 0 ... 255")
        labels = np.array(picture)
    try:
        return label_map(labels, "labels", classes)
    except ValueError as error:
        raise PictureError(f"{path}: {error}") from error


def _png_bit_depth(path: Path) -> int:
    """The bits of one sample in the PNG file (Pillow does not tell): byte 24, after signature, width and height."""
    with open(path, "rb") as file:
        return int(struct.unpack("24xB", file.read(25))[0])


def write_image(path: str | os.PathLike[str], image: NDArray[np.uint8]) -> None:
    """Write an image (H, W, 3) of uint8 as a PNG, whole or not at all."""
    _write_png(checks.path(path, "path"), Image.fromarray(rgb_image(image, "image")))


def write_label_map(
    path: str | os.PathLike[str],
    labels: NDArray[Any],
    colors: NDArray[np.uint8],
    void_color: tuple[int, int, int] = VOID_COLOR,
) -> None:
    """Write a label map as a palette PNG whose bytes are the class ids, whole or not at all.

    Args:
        path: the PNG file; its folder must exist.
        labels: integers (H, W), ids 0 ... C - 1 and 255 (void).
        colors: uint8 (C, 3), the colour of each class.
        void_color: the colour of 255.

    Raises:
        TypeError, ValueError: arrays of another kind, or a label without a colour.
        OSError: the file cannot be written; an older one is untouched.
    """
    picture = Image.fromarray(label_map(labels, "labels", len(class_colors(colors))))
    picture.putpalette(_palette(colors, void_color).tobytes())
    _write_png(checks.path(path, "path"), picture)


def _write_png(path: Path, picture: Image.Image) -> None:
    write_whole(path, lambda file: picture.save(file, format="PNG"))


def class_colors(colors: Any) -> NDArray[np.uint8]:
    """A uint8 array (C, 3) of at most 255 classes."""
    checked = checks.array(colors, "colors")
    if checked.dtype != np.uint8:
        raise TypeError(f"colors must be uint8, got {checks.describe(colors)}")
    checks.check_axes(checked, "colors", "(C, 3)")
    if checked.shape[1] != 3 or len(checked) > IGNORE_INDEX:
        raise ValueError(f"colors must have shape (C, 3) with at most {IGNORE_INDEX} classes, got {checked.shape}")
    return checked


def _palette(colors: NDArray[np.uint8], void_color: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The colours of all 256 ids, (256, 3)."""
    void = checks.array(np.array(void_color) if isinstance(void_color, (tuple, list)) else void_color, "void_color")
    if void.shape != (3,) or void.dtype.kind not in "iu" or void.min() < 0 or void.max() > 255:
        raise ValueError(f"void_color must be three whole numbers 0 ... 255, got {checks.describe(void_color)}")
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colors)] = colors
    palette[IGNORE_INDEX] = void
    return palette


def paint(
    labels: NDArray[Any], colors: NDArray[np.uint8], void_color: tuple[int, int, int] = VOID_COLOR
) -> NDArray[np.uint8]:
    """A label map in its classes' colours.

    Args:
        labels: integers (H, W), ids 0 ... C - 1 and 255 (void).
        colors: uint8 (C, 3), the colour of each class.
        void_color: the colour of 255.

    Returns:
        uint8 (H, W, 3).

    >>> paint(np.array([[0, 1, 255]]), np.array([[0, 0, 0], [0, 192, 64]], np.uint8)).tolist()
    [[[0, 0, 0], [0, 192, 64], [224, 224, 192]]]
    """
    colors = class_colors(colors)
    painted: NDArray[np.uint8] = _palette(colors, void_color)[label_map(labels, "labels", len(colors))]
    return painted


def overlay(
    image: NDArray[np.uint8], labels: NDArray[Any], colors: NDArray[np.uint8], opacity: float = 0.5
) -> NDArray[np.uint8]:
    """An image with its label map painted over it.

    Args:
        image: uint8 (H, W, 3).
        labels: integers (H, W); void pixels (255) show the image alone.
        colors: uint8 (C, 3), the colour of each class.
        opacity: 0 shows the image alone, 1 the label map alone.

    Returns:
        uint8 (H, W, 3).
    """
    image = rgb_image(image, "image")
    if not 0 <= checks.number(opacity, "opacity") <= 1:
        raise ValueError(f"opacity must be in 0 ... 1, got {opacity}")
    painted = paint(labels, colors)
    checks.shape(painted, "labels in colours", image.shape, "the image's height and width")
    share = np.float32(opacity) * (labels != IGNORE_INDEX)[..., np.newaxis]
    mixed = image + share * (painted.astype(np.float32) - image)
    rounded: NDArray[np.uint8] = np.rint(mixed).astype(np.uint8)
    return rounded
