"""People's own pictures: a folder of images and label maps."""

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npseg import checks
from npseg.data.dataset import IGNORE_INDEX, VOID_COLOR, Sample, index_within
from npseg.data.pictures import read_image, read_label_map

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".tif", ".tiff", ".webp")
CLASS_COLUMNS = ["id", "name", "r", "g", "b"]


class ImageFolder:
    """A data set in a folder of this layout:

        images/STEM.jpg     photographs (png, jpg, ...; see IMAGE_SUFFIXES), in any sizes
        labels/STEM.png     a label map for each: a palette or 8-bit grey PNG whose bytes are class ids, 255 = void
        classes.csv         id,name,r,g,b: a line for each class, ids 0 ... C - 1; one for 255 may name and colour void
        train.txt, val.txt  the stems of each split, one a line

    What can be told without opening the pictures is checked at once: the files that list, and that every listed pair is
    there. Each picture is read and checked when its sample is asked for.

    Args:
        root: the folder.
        split: the name of the split: "train" reads train.txt.

    Attributes:
        void_name, void_color: of the pixels with id 255.

    Raises:
        FileNotFoundError: a file of this layout is missing; the message names it and what it is needed for.
        ValueError: a file's content is not as described above; the message names the file. `folder[i]` raises it too,
            for pictures that are broken, differ in size, or hold other ids.
    """

    ignore_index = IGNORE_INDEX

    def __init__(self, root: str | os.PathLike[str], split: str = "train") -> None:
        self.root = checks.path(root, "root")
        if not self.root.is_dir():
            raise FileNotFoundError(f"{self.root}: needs to be a folder with images, labels, classes.csv and splits")
        _check_plain_name(split, "split")
        self.split = split
        rows = _read_classes(self.root / "classes.csv")
        self.void_name, self.void_color = rows.pop(IGNORE_INDEX, ("void", VOID_COLOR))
        self.classes = tuple(rows[i][0] for i in range(len(rows)))
        self.colors: NDArray[np.uint8] = np.array([rows[i][1] for i in range(len(rows))], np.uint8)
        self._pairs = _find_pairs(self.root, self.root / f"{split}.txt")

    def __len__(self) -> int:
        """The number of images in the split."""
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read image and label map number `index` of the split."""
        image_path, label_path = self._pairs[index_within(index, len(self))]
        image = read_image(image_path)
        labels = read_label_map(label_path, len(self.classes))
        if labels.shape != image.shape[:2]:
            raise ValueError(
                f"{label_path}: needs the size of its image {image_path}, "
                f"{image.shape[0]}x{image.shape[1]} (height x width), got {labels.shape[0]}x{labels.shape[1]}"
            )
        return Sample(image, labels, label_path.stem)

    def describe(self) -> dict[str, Any]:
        """The arguments but the split; the folder's full path, so that it is found from anywhere."""
        return {"kind": "folder", "root": str(self.root.resolve())}


def _check_plain_name(name: str, what: str) -> None:
    """A name that stays within its folder: no separator of any system, not empty, not "." or ".."."""
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a name, got {checks.describe(name)}")
    if name in ("", ".", "..") or any(character in name for character in "/\\\0"):
        raise ValueError(f"{what} must be a plain name without path separators, got {name!r}")


def _read_text(path: Path, content: str) -> str:
    """A text file of the layout; errors say what it should hold."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: missing; needs {content}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: needs to be UTF-8 text with {content}: {error}") from error


def _read_classes(path: Path) -> dict[int, tuple[str, tuple[int, int, int]]]:
    """Name and colour of each id: 0 ... C - 1, and 255 where it is listed."""
    try:
        lines = list(csv.reader(_read_text(path, "the classes, id,name,r,g,b").splitlines()))
    except csv.Error as error:
        raise ValueError(f"{path}: needs to be a table of comma-separated values: {error}") from error
    header = [column.strip() for column in lines[0]] if lines else []
    if header != CLASS_COLUMNS:
        raise ValueError(f"{path}: the first line needs to be {','.join(CLASS_COLUMNS)}, got {','.join(header)!r}")
    rows: dict[int, tuple[str, tuple[int, int, int]]] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        class_id, name, color = _parse_class(line, f"{path}, line {number}")
        if class_id in rows:
            raise ValueError(f"{path}, line {number}: the id {class_id} is there twice")
        if name in (other for other, _ in rows.values()):
            raise ValueError(f"{path}, line {number}: the name {name!r} is there twice")
        rows[class_id] = name, color
    ids = sorted(rows.keys() - {IGNORE_INDEX})
    if len(ids) < 2 or ids != list(range(len(ids))):
        raise ValueError(f"{path}: needs the ids 0 ... C - 1 of at least 2 classes, each once, got {ids}")
    return rows


def _parse_class(line: Sequence[str], place: str) -> tuple[int, str, tuple[int, int, int]]:
    """One line of the classes' file."""
    if len(line) != len(CLASS_COLUMNS):
        raise ValueError(f"{place}: needs {len(CLASS_COLUMNS)} fields {','.join(CLASS_COLUMNS)}, got {len(line)}")
    name = line[1].strip()
    if not name:
        raise ValueError(f"{place}: needs a name")
    class_id, red, green, blue = (_parse_byte(line[column], place) for column in (0, 2, 3, 4))
    return class_id, name, (red, green, blue)


def _parse_byte(text: str, place: str) -> int:
    """An id or a part of a colour."""
    if not re.fullmatch(r"\s*[0-9]{1,3}\s*", text) or int(text) > 255:
        raise ValueError(f"{place}: ids and colours need to be whole numbers 0 ... 255, got {text!r}")
    return int(text)


def _find_pairs(root: Path, split_path: Path) -> list[tuple[Path, Path]]:
    """The paths of image and label map of each stem that the split lists, in its order."""
    images = _images_by_stem(root / "images")
    pairs = []
    for stem in _read_stems(split_path):
        if stem not in images:
            wanted = root / "images" / f"{stem}.*"
            raise FileNotFoundError(f"{wanted}: missing, but {split_path} lists it; needs one of {IMAGE_SUFFIXES}")
        if len(images[stem]) > 1:
            found = ", ".join(str(path) for path in images[stem])
            raise ValueError(
                f"{found}: {split_path} lists {stem!r}, which needs to be one image, not {len(images[stem])}"
            )
        label_path = root / "labels" / f"{stem}.png"
        if not label_path.is_file():
            raise FileNotFoundError(f"{label_path}: missing; needs the label map of {images[stem][0]}")
        pairs.append((images[stem][0], label_path))
    return pairs


def _images_by_stem(folder: Path) -> dict[str, list[Path]]:
    """All images of a folder; more than one for a stem only where suffixes differ."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: missing; needs the images")
    images: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images.setdefault(path.stem, []).append(path)
    return images


def _read_stems(path: Path) -> list[str]:
    """The stems of a split."""
    stems: list[str] = []
    for number, line in enumerate(_read_text(path, "the stems of this split, one a line").splitlines(), start=1):
        stem = line.strip()
        if not stem:
            continue
        _check_plain_name(stem, f"{path}, line {number}: a stem")
        stems.append(stem)
    if not stems:
        raise ValueError(f"{path}: needs at least one stem")
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise ValueError(f"{path}: the stem {twice!r} is there twice")
    return stems
