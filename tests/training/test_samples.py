import numpy as np
import pytest

from npseg.training import samples


def test_cached_reads_each_sample_once(pictures):
    original = pictures([[0, 1]], [[1, 2]])
    kept = samples.Cached(original)
    for _ in range(3):
        for index in range(2):
            assert np.array_equal(kept[index].labels, original.label_maps[index])
    assert original.reads == 2
    assert (len(kept), kept.classes, kept.ignore_index) == (2, original.classes, 255)
    assert kept.describe() == original.describe()
    assert kept.colors is original.colors
    with pytest.raises(ValueError, match="read-only"):
        kept[0].image[0, 0] = 0


def test_cached_keeps_no_more_than_its_limit(pictures):
    original = pictures([[0, 1]], [[1, 2]], [[1, 0]])
    kept = samples.Cached(original, limit=2 * (2 * 3 + 2))
    for _ in range(4):
        for index in range(3):
            assert np.array_equal(kept[index].labels, original.label_maps[index])
    assert original.reads == 2 + 4  # the third has no room


def test_cached_twice_is_cached_once(pictures):
    kept = samples.cached(pictures([[0]]))
    assert samples.cached(kept) is kept


def test_normalised_images_have_mean_0_and_deviation_1(pictures):
    dataset = pictures(np.zeros((3, 4)), np.zeros((2, 5)))
    normalise = samples.fit_normalisation(dataset)
    pixels = np.concatenate([normalise(dataset[index].image).reshape(3, -1) for index in range(2)], axis=1)
    np.testing.assert_allclose(pixels.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(pixels.std(axis=1), 1, rtol=1e-6)


def test_normalisation_is_fitted_to_images_spread_over_the_split(pictures):
    dataset = pictures(*np.zeros((9, 1, 1)))
    normalise = samples.fit_normalisation(dataset, at_most=3)
    assert dataset.reads == 3
    assert normalise.mean == pytest.approx(np.mean([dataset[index].image[0, 0] / 255 for index in (0, 3, 6)], axis=0))


def test_images_of_one_colour_are_centred(pictures):
    dataset = pictures([[0]])
    assert np.allclose(samples.fit_normalisation(dataset)(dataset[0].image), 0, atol=1e-6)


def test_median_frequency_weights_by_hand(pictures):
    # sky: 3 of 3 + 4 pixels of its images; road: 4 of 4 + 3; car never
    weights = samples.median_frequency_weights(pictures([[0, 0, 1, 255]], [[0, 1, 1, 1]]))
    sky, road = 3 / 7, 4 / 7
    assert weights == pytest.approx([(sky + road) / 2 / sky, (sky + road) / 2 / road, 0])


def test_median_frequency_counts_only_the_images_of_a_class(pictures):
    weights = samples.median_frequency_weights(pictures([[0, 0, 0, 0]], [[1, 1, 1, 2]]))
    assert weights == pytest.approx([0.75 / 1, 0.75 / 0.75, 0.75 / 0.25])
    assert samples.median_frequency_weights(pictures([[255]])) == [0, 0, 0]
