"""A classifier, convolutionalised, gives the same scores, and more of them on larger images."""

import numpy as np
import pytest

from npseg.models import convolutionalise, fcn, vgg, vgg_classifier
from npseg.nn import Graph
from npseg.nn.layers.layer import pair

WIDTHS, DEPTHS = (3, 4, 5, 6, 7), (1, 1, 1, 1, 1)


def classifier(size: tuple[int, int] = (64, 96), classes: int = 5) -> Graph:
    model = vgg_classifier(WIDTHS, DEPTHS, 9, classes, size, seed=3, dtype=np.float64)
    rng = np.random.default_rng(0)
    for name, value in model.parameters.items():
        if name.endswith("bias"):
            value += rng.standard_normal(value.shape)
    return model


def images(*size: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((2, 3, *size))


@pytest.mark.parametrize("size", [(64, 96), (70, 33), (224, 200)])
def test_on_its_own_size_the_map_is_one_score_and_equals_the_classifiers(size: tuple[int, int]) -> None:
    model = classifier(size)
    scores = convolutionalise(model)(images(*size))
    assert scores.shape == (2, 5, 1, 1)
    np.testing.assert_allclose(scores[:, :, 0, 0], model(images(*size)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [(64, 96), (70, 33), (224, 200)])
def test_with_same_padding_the_middle_entry_equals_the_classifiers(size: tuple[int, int]) -> None:
    model = classifier(size)
    network = convolutionalise(model, padding="same")
    height, width = pair(network.node("fc6").layer.kernel_size)  # type: ignore[attr-defined]
    scores = network(images(*size))
    assert scores.shape == (2, 5, height, width)
    middle = scores[:, :, (height - 1) // 2, (width - 1) // 2]
    np.testing.assert_allclose(middle, model(images(*size)), rtol=1e-10, atol=1e-10)


def test_a_larger_image_gets_a_score_for_every_place() -> None:
    model = classifier((64, 64))
    network = convolutionalise(model)
    large = images(128, 160)
    scores = network(large)
    assert scores.shape == (2, 5, 3, 4)


def test_flattening_order_is_channels_rows_columns() -> None:
    model = classifier((64, 96))
    weight = model.parameters["fc6.weight"].copy()
    network = convolutionalise(model)
    np.testing.assert_array_equal(network.parameters["fc6.weight"].ravel(), weight.ravel())
    assert network.parameters["fc6.weight"].shape == (9, 7, 2, 3)


def test_the_classifier_is_left_alone_and_shares_nothing() -> None:
    model = classifier()
    before = {name: value.copy() for name, value in model.parameters.items()}
    network = convolutionalise(model)
    for value in network.parameters.values():
        value[...] = 7
    np.testing.assert_equal(model.parameters, before)


def test_fcn_starts_from_it_and_keeps_its_scores_where_the_classes_fit() -> None:
    model = classifier((64, 64), classes=5)
    start = convolutionalise(model)
    same, other = fcn(start, 5, 8), fcn(start, 3, 8)
    for name, value in start.parameters.items():
        np.testing.assert_array_equal(same.parameters[name], value)
        if not name.startswith("score_fr"):
            np.testing.assert_array_equal(other.parameters[name], value)
    assert other.parameters["score_fr.weight"].shape == (3, 9, 1, 1)
    assert not other.parameters["score_fr.weight"].any()
    assert same(images(70, 45)).shape == (2, 5, 70, 45)
    assert other(images(70, 45)).shape == (2, 3, 70, 45)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="classifier must flatten its map"):
        convolutionalise(vgg(WIDTHS, DEPTHS, 9))
    with pytest.raises(TypeError, match="classifier must be a Graph"):
        convolutionalise(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="convolutionalise converts a classifier"):
        fcn(classifier(), 3)
    with pytest.raises(ValueError, match="only one that the fully connected layer fits"):
        classifier((64, 64))(images(128, 64))
