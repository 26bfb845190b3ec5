"""Transforms keep a label with the pixel it labels, draw from `rng` alone and leave their arguments as they were."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from npseg.data import IGNORE_INDEX, Compose, Normalise, RandomCrop, RandomHorizontalFlip, RandomScale
from npseg.data.transforms import MEAN_GREY

seeds = st.integers(0, 2**32)
binary_maps = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.integers(0, 1))
crop_sizes = st.tuples(st.integers(1, 24), st.integers(1, 24))
transforms = st.one_of(
    st.builds(RandomHorizontalFlip, st.floats(0, 1)),
    st.builds(lambda low, more: RandomScale(low, low + more), st.floats(0.2, 2), st.floats(0, 2)),
    st.builds(RandomCrop, crop_sizes),
)


def picture_of(labels):
    """An image that says what its labels are: black where 0, white where 1."""
    return (255 * labels[..., np.newaxis]).repeat(3, axis=2).astype(np.uint8)


def read_only(array):
    array.flags.writeable = False
    return array


@given(labels=binary_maps, steps=st.lists(transforms, max_size=4), seed=seeds)
def test_image_and_labels_stay_together(labels, steps, seed):
    """Wherever the image still shows one label purely, the label map holds it; where it was padded, void."""
    image = read_only(picture_of(labels))
    before = labels.copy()
    moved, moved_labels = Compose(steps)(image, read_only(labels), np.random.default_rng(seed))
    assert moved.dtype == moved_labels.dtype == np.uint8
    assert moved.shape == (*moved_labels.shape, 3)
    assert moved.flags.c_contiguous
    assert moved_labels.flags.c_contiguous
    assert set(np.unique(moved_labels)) <= {*np.unique(labels), IGNORE_INDEX}
    kept = moved_labels != IGNORE_INDEX
    black, white = (moved == 0).all(axis=2), (moved == 255).all(axis=2)
    if not any(isinstance(step, RandomScale) for step in steps):  # scaling mixes the padding with its neighbours
        assert (moved[~kept] == MEAN_GREY).all()
    assert (moved_labels[kept & black] == 0).all()
    assert (moved_labels[kept & white] == 1).all()
    np.testing.assert_array_equal(labels, before)


@given(labels=binary_maps, steps=st.lists(transforms, max_size=4), seed=seeds)
def test_equal_generators_give_equal_results(labels, steps, seed):
    transform = Compose(steps)
    first, second = (transform(picture_of(labels), labels, np.random.default_rng(seed)) for _ in range(2))
    for mine, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(mine, other)


@given(labels=binary_maps, seed=seeds)
def test_a_flip_is_an_involution_that_mirrors_columns(labels, seed):
    rng, flip = np.random.default_rng(seed), RandomHorizontalFlip(1)
    image = picture_of(labels)
    once = flip(image, labels, rng)
    np.testing.assert_array_equal(once[0], image[:, ::-1])
    np.testing.assert_array_equal(once[1], labels[:, ::-1])
    twice = flip(*once, rng)
    np.testing.assert_array_equal(twice[0], image)
    np.testing.assert_array_equal(twice[1], labels)


@pytest.mark.parametrize("p", [0, 0.25, 1])
def test_flips_come_as_often_as_asked(p, rng):
    labels = np.array([[0, 1]], np.uint8)
    flips = sum(int(RandomHorizontalFlip(p)(picture_of(labels), labels, rng)[1][0, 0]) for _ in range(1000))
    assert flips == pytest.approx(1000 * p, abs=60 if 0 < p < 1 else 0)


@given(labels=binary_maps, size=crop_sizes, seed=seeds)
def test_a_crop_holds_a_part_of_the_image_in_its_place(labels, size, seed):
    """The part without void is found in the image, as large as both allow."""
    image = picture_of(labels)
    part, part_labels = RandomCrop(size)(image, labels, np.random.default_rng(seed))
    assert part_labels.shape == size
    height, width = np.minimum(size, labels.shape)
    rows, columns = np.nonzero(part_labels != IGNORE_INDEX)
    assert len(rows) == height * width
    block = part_labels[rows.min() :, columns.min() :][:height, :width]
    np.testing.assert_array_equal(part[rows.min() :, columns.min() :][:height, :width], picture_of(block))
    windows = np.lib.stride_tricks.sliding_window_view(labels, (height, width))
    assert (windows == block).all(axis=(2, 3)).any()


def test_crops_reach_every_place(rng):
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = np.zeros((3, 4, 3), np.uint8)
    corners = {int(RandomCrop((2, 2))(image, labels, rng)[1][0, 0]) for _ in range(200)}
    assert corners == {0, 1, 2, 4, 5, 6}
    places = {np.argmin(RandomCrop((4, 6))(image, labels, rng)[1]) for _ in range(200)}
    assert places == {6 * row + column for row in range(2) for column in range(3)}


def test_scales_cover_their_range(rng):
    labels = np.zeros((100, 50), np.uint8)
    shapes = [RandomScale(0.5, 2)(picture_of(labels), labels, rng)[1].shape for _ in range(300)]
    heights = np.array([height for height, _ in shapes])
    assert heights.min() >= 50
    assert heights.max() <= 200
    assert np.ptp(heights) > 140
    assert all(width == pytest.approx(height / 2, abs=0.51) for height, width in shapes)


def test_the_smallest_image_keeps_a_pixel(rng):
    image, labels = RandomScale(0.01, 0.01)(np.zeros((1, 3, 3), np.uint8), np.zeros((1, 3), np.uint8), rng)
    assert labels.shape == (1, 1)
    assert image.shape == (1, 1, 3)


def test_magnified_images_are_smooth_and_labels_are_not(rng):
    labels = np.array([[0, 200]], np.uint8)
    image, magnified = RandomScale(8, 8)(labels[..., np.newaxis].repeat(3, axis=2), labels, rng)
    assert set(np.unique(magnified)) == {0, 200}
    assert len(np.unique(image)) > 4


@given(image=hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3))))
def test_normalise_is_the_formula_in_float32(image):
    values = Normalise((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))(image)
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    expected = (image.astype(np.float64) / 255 - [0.4, 0.5, 0.6]) / [0.2, 0.25, 0.3]
    np.testing.assert_allclose(values, expected.transpose(2, 0, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("normalise", [Normalise(), Normalise(0.1, 2), Normalise((0.1, 0.2, 0.3), 0.5)])
def test_normalise_survives_json(normalise):
    assert Normalise(**json.loads(json.dumps(normalise.describe()))) == normalise


def test_mean_grey_becomes_nearly_zero():
    assert np.abs(Normalise()(np.full((1, 1, 3), MEAN_GREY, np.uint8))).max() < 0.01


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RandomHorizontalFlip(1.5), ValueError, "p must be at most 1"),
        (lambda: RandomHorizontalFlip(-0.1), ValueError, "p must be at least 0"),
        (lambda: RandomScale(0, 1), ValueError, "low must be above 0"),
        (lambda: RandomScale(2, 1), ValueError, "high must be at least 2"),
        (lambda: RandomCrop((0, 4)), ValueError, r"size\[0\] must be at least 1"),
        (lambda: RandomCrop(4), TypeError, "size must be a tuple or list of two"),
        (lambda: Normalise(0.5, 0), ValueError, "std must be above 0"),
        (lambda: Normalise((0.5, 0.5)), ValueError, "mean must be a number or three"),
        (lambda: Normalise("grey"), TypeError, "mean must be a number"),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("transform", [RandomHorizontalFlip(), RandomScale(1, 2), RandomCrop((2, 2)), Compose([])])
def test_pairs_that_do_not_belong_together_are_refused(transform, rng):
    with pytest.raises(ValueError, match=r"labels must have shape \(4, 5\)"):
        transform(np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), np.uint8), rng)
    with pytest.raises(TypeError, match="image must be uint8"):
        transform(np.zeros((4, 5, 3), np.float32), np.zeros((4, 5), np.uint8), rng)
