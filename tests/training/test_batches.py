import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npseg.training.batches import Batches


def identity(image, labels, rng):
    return image, labels


def as_float(image):
    return image.astype(np.float32).transpose(2, 0, 1)


def draw_into(image, labels, rng):
    """An augmentation that shows what its generator gives."""
    return np.full_like(image, rng.integers(256)), labels


@given(st.integers(1, 9), st.integers(1, 7), st.integers(0, 3))
def test_each_sample_comes_once_per_epoch(number, batch_size, seed):
    batches = Batches(range(number), identity, as_float, batch_size=batch_size, seed=seed)
    epochs = 3
    steps = -(-epochs * number // batch_size)
    row = [index for step in range(steps) for index in batches.indices(step)]
    for epoch in range(epochs):
        assert sorted(row[epoch * number : (epoch + 1) * number]) == list(range(number))


def test_the_order_changes_with_epoch_and_seed_and_is_a_function_of_the_step():
    def order(seed, step):
        return Batches(range(50), identity, as_float, batch_size=50, seed=seed).indices(step)

    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)
    assert order(0, 1) == order(0, 1)


def test_augmentation_is_keyed_by_step_and_place(pictures):
    dataset = pictures(*np.zeros((4, 2, 3)))
    batches = Batches(dataset, draw_into, as_float, batch_size=4, seed=5)
    images, labels = batches.batch(3)
    assert images.dtype == np.float32
    assert images.shape == (4, 3, 2, 3)
    assert labels.shape == (4, 2, 3)
    drawn = images[:, 0, 0, 0]
    assert len(set(drawn.tolist())) > 1
    assert np.array_equal(batches.batch(3)[0], images)
    assert not np.array_equal(batches.batch(4)[0], images)
    # a smaller batch draws the same for the places it has: a draw does not depend on who computes the others
    smaller = Batches(dataset, draw_into, as_float, batch_size=2, seed=5).batch(3)[0]
    assert np.array_equal(smaller[:, 0, 0, 0], drawn[:2])


def test_dropout_generators_are_keyed_by_step_and_place():
    batches = Batches(range(4), identity, as_float, batch_size=3, seed=5)
    first = [rng.random() for rng in batches.dropout(7)]
    assert first == [rng.random() for rng in batches.dropout(7)]
    assert len({*first, *(rng.random() for rng in batches.dropout(8))}) == 6


def test_images_and_labels_stay_together(pictures):
    dataset = pictures(*(np.full((2, 3), index) for index in range(3)))
    batches = Batches(dataset, identity, as_float, batch_size=3, seed=0)
    images, labels = batches.batch(0)
    for image, label_map, index in zip(images, labels, batches.indices(0), strict=True):
        assert np.array_equal(image, as_float(dataset[index].image))
        assert (label_map == index).all()


def test_images_of_different_sizes_are_refused_with_a_way_out(pictures):
    dataset = pictures(np.zeros((2, 3)), np.zeros((4, 3)))
    batches = Batches(dataset, identity, as_float, batch_size=2, seed=0)
    with pytest.raises(ValueError, match=r"picture \d with \dx3 and picture \d with \dx3.*--crop.*--batch-size 1"):
        batches.batch(0)
    one_by_one = Batches(dataset, identity, as_float, batch_size=1, seed=0)
    assert {one_by_one.batch(step)[1].shape for step in range(2)} == {(1, 2, 3), (1, 4, 3)}
