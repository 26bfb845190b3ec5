"""The generated scenes: reproducible, varied, exactly labelled, and not to be told by colour."""

import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npseg.data import Shapes
from npseg.data.shapes import KINDS, REACH


def labels_of(dataset):
    return np.stack([dataset[index].labels for index in range(len(dataset))])


@settings(max_examples=25)
@given(height=st.integers(16, 90), width=st.integers(16, 90), seed=st.integers(0, 2**40), index=st.integers(0, 10**6))
def test_any_size_gives_an_image_with_its_label_map(height, width, seed, index):
    image, labels, _ = Shapes(index + 1, seed=seed, image_size=(height, width))[index]
    assert image.dtype == labels.dtype == np.uint8
    assert image.shape == (height, width, 3)
    assert labels.shape == (height, width)
    assert labels.max() < len(KINDS)


def test_a_scene_depends_on_seed_split_and_index_alone():
    first, again = Shapes(40, seed=3), Shapes(1000, seed=3)
    last = first[39]  # out of order: nothing drawn before may matter
    for index in (39, 0, 17):
        for mine, other in zip(first[index], again[index], strict=True):
            np.testing.assert_array_equal(mine, other)
    np.testing.assert_array_equal(last.image, first[39].image)


def test_scenes_are_the_same_in_another_process():
    program = (
        "import zlib; from npseg.data import Shapes; s = Shapes(9, seed=5, split='val')[8]; print(zlib.crc32(s.image))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert int(printed) == zlib.crc32(Shapes(9, seed=5, split="val")[8].image)


def test_no_scene_is_drawn_twice_whatever_its_split_seed_and_index():
    sets = [Shapes(60, seed=seed, split=split) for seed in (0, 1) for split in ("train", "val")]
    images = {dataset[index].image.tobytes() for dataset in sets for index in range(60)}
    assert len(images) == 4 * 60


def test_names_tell_scenes_apart():
    names = [sample.name for split in ("train", "val") for sample in Shapes(12, split=split)]
    assert len(set(names)) == 24


def test_iteration_ends_and_indices_outside_are_refused():
    scenes = Shapes(3)
    assert len(list(scenes)) == len(scenes) == 3
    for index in (3, -1):
        with pytest.raises(IndexError, match=rf"0 \.\.\. 2, got {index}"):
            scenes[index]
    with pytest.raises(TypeError):
        scenes[1.0]


def test_every_class_is_common_and_background_is_about_half():
    labels = labels_of(Shapes(300))
    shares = np.bincount(labels.ravel(), minlength=len(KINDS)) / labels.size
    assert 0.5 < shares[0] < 0.65
    assert shares[1:].min() > 0.06
    assert shares[1:].max() < 0.10


def test_scenes_hold_from_one_to_several_classes():
    classes_seen = [len(np.unique(scene)) - 1 for scene in labels_of(Shapes(200))]
    assert set(classes_seen) >= {1, 2, 3}


@pytest.mark.parametrize("kind", KINDS[1:], ids=lambda kind: kind.name)
def test_forms_have_the_area_of_the_unit_disc_and_stay_within_reach(kind):
    side = np.linspace(-2, 2, 1601, dtype=np.float32)
    u, v = np.meshgrid(side, side)
    inside = kind.form(u, v)
    assert inside.mean() * 16 == pytest.approx(np.pi, rel=0.01)
    assert np.hypot(u, v)[inside].max() < REACH


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_textures_mix_two_colours_in_legal_shares(kind, rng):
    v, u = np.mgrid[-30:30, -30:30].astype(np.float32)
    share = kind.texture(u, v, rng).astype(np.float32)
    assert share.shape == (60, 60)
    assert share.min() == 0
    assert share.max() == pytest.approx(0.25 if kind.name in ("background", "disc") else 1)


def test_labels_are_exact_where_noise_allows_to_see_it():
    """A plain disc on a plain background: the image's largest step runs along the label map's border."""
    steps_at_border, steps_elsewhere = [], []
    for image, labels, _ in Shapes(200):
        grey = image.astype(np.float32)
        step = np.abs(np.diff(grey, axis=1)).sum(axis=2)
        pair = np.minimum(labels[:, :-1], labels[:, 1:]), np.maximum(labels[:, :-1], labels[:, 1:])
        border = (pair[0] == 0) & (pair[1] == 1)
        steps_at_border.extend(step[border])
        steps_elsewhere.extend(step[(pair[0] == pair[1]) & (pair[0] <= 1)])
    assert np.mean(steps_at_border) > 5 * np.mean(steps_elsewhere)


def color_bins(dataset):
    """The cell of each pixel in a 16x16x16 histogram of colours, and its label."""
    images = np.stack([sample.image for sample in dataset])
    bins = (images >> 4).astype(np.int64) @ np.array([256, 16, 1])
    return bins.ravel(), labels_of(dataset).ravel().astype(np.int64)


def test_colour_does_not_tell_the_class():
    """A classifier that knows each colour's most frequent class is hardly better than always saying "background"."""
    classes = len(KINDS)
    bins, labels = color_bins(Shapes(1000))
    best_class = np.bincount(bins * classes + labels, minlength=4096 * classes).reshape(4096, classes).argmax(axis=1)
    bins, labels = color_bins(Shapes(200, split="val"))
    confusion = np.bincount(labels * classes + best_class[bins], minlength=classes**2).reshape(classes, classes)
    intersection = confusion.diagonal()
    mean_iu = np.mean(intersection / (confusion.sum(axis=0) + confusion.sum(axis=1) - intersection))
    assert mean_iu < 0.15


def test_colors_are_distinct_and_cannot_be_changed():
    assert len(np.unique(Shapes.colors, axis=0)) == len(Shapes.classes) == len(KINDS) >= 5
    assert Shapes.colors.dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        Shapes.colors[0] = 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"count": 0}, ValueError, "count must be at least 1, got 0"),
        ({"count": 1.5}, TypeError, "count must be an integer"),
        ({"count": 1, "seed": -1}, ValueError, "seed must be at least 0"),
        ({"count": 1, "split": "test"}, ValueError, "split must be one of"),
        ({"count": 1, "image_size": (15, 64)}, ValueError, r"image_size\[0\] must be at least 16, got 15"),
        ({"count": 1, "image_size": 64}, TypeError, "image_size must be a tuple or list of two"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        Shapes(**arguments)
