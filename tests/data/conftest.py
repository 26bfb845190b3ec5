"""Folders of tiny pictures, made for one test each, and the real photographs where they are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"

CLASSES = "id,name,r,g,b\n0,ground,0,0,0\n1,tree,0,128,0\n2,house,128,0,0\n255,nothing,1,2,3\n"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path, rng):
    """Two training images and one validation image of different sizes and formats, with labels 0, 1, 2 and 255."""
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    (tmp_path / "classes.csv").write_text(CLASSES)
    (tmp_path / "train.txt").write_text("one\ntwo.b\n")
    (tmp_path / "val.txt").write_text("three\n")
    for file_name, size in {"one.png": (5, 7), "two.b.JPG": (6, 4), "three.bmp": (3, 3)}.items():
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        labels = rng.choice(np.array([0, 1, 2, 255], np.uint8), size)
        Image.fromarray(image).save(tmp_path / "images" / file_name)
        Image.fromarray(labels).save(tmp_path / "labels" / f"{Path(file_name).stem}.png")
    return tmp_path


@pytest.fixture(params=["camvid", "nuclei"])
def real_folder(request):
    """A folder of real labelled photographs, which people who install the package do not have."""
    path = REAL_DATA / request.param
    if not path.is_dir():
        pytest.skip(f"the photographs are not here: no folder {path}")
    return path
