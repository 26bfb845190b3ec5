"""The generated images of one object each: reproducible, with one label for the whole, of the scenes' classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npseg.data import Shapes, SingleShapes, labels_whole_images, open_dataset
from npseg.data.shapes import KINDS


@settings(max_examples=25)
@given(height=st.integers(16, 90), width=st.integers(16, 90), seed=st.integers(0, 2**40), index=st.integers(0, 10**6))
def test_any_size_gives_an_image_with_one_label(height, width, seed, index):
    image, label, _ = SingleShapes(index + 1, seed=seed, image_size=(height, width))[index]
    assert image.dtype == label.dtype == np.uint8
    assert image.shape == (height, width, 3)
    assert label.shape == ()
    assert label < len(KINDS)


def test_an_image_depends_on_seed_split_and_index_alone():
    first, again = SingleShapes(40, seed=3), SingleShapes(1000, seed=3)
    for index in (39, 0, 17):  # out of order: nothing drawn before may matter
        for mine, other in zip(first[index], again[index], strict=True):
            np.testing.assert_array_equal(mine, other)


def test_no_image_is_drawn_twice_nor_is_a_scene():
    sets = [
        kind(40, seed=seed, split=split)
        for kind in (Shapes, SingleShapes)
        for seed in (0, 1)
        for split in ("train", "val")
    ]
    assert len({dataset[index].image.tobytes() for dataset in sets for index in range(40)}) == 8 * 40


def test_every_class_is_as_common_as_the_others():
    counts = np.bincount([int(sample.labels) for sample in SingleShapes(600, image_size=(16, 16))])
    assert len(counts) == len(KINDS)
    assert counts.min() > 70
    assert counts.max() < 130


def test_an_image_without_an_object_is_smoother_than_one_with_texture():
    roughness = {}
    for image, label, _ in SingleShapes(200):
        steps = np.abs(np.diff(image.astype(float), axis=1)).mean()
        roughness.setdefault(SingleShapes.classes[label], []).append(steps)
    assert np.mean(roughness["background"]) < 0.9 * np.mean(roughness["square"])
    assert np.mean(roughness["background"]) < 0.9 * np.mean(roughness["cross"])


def test_its_classes_are_those_of_the_scenes_and_its_description_opens_it_again():
    images = SingleShapes(30, seed=2, split="val", image_size=(20, 24))
    assert images.classes == Shapes.classes
    assert np.array_equal(images.colors, Shapes.colors)
    again = open_dataset(images.describe(), "val")
    assert isinstance(again, SingleShapes)
    assert len(again) == 30
    np.testing.assert_array_equal(again[29].image, images[29].image)


def test_it_is_for_classification_and_scenes_are_not():
    assert labels_whole_images(SingleShapes(1))
    assert not labels_whole_images(Shapes(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count"),
        ({"count": 1, "seed": -1}, "seed"),
        ({"count": 1, "split": "test"}, "split"),
        ({"count": 1, "image_size": (15, 16)}, "image_size"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SingleShapes(**arguments)
