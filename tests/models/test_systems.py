"""SegNet, DeconvNet, DeepLab's pyramid, dilation 8: their sizes, their gradients, and what each is there for."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from npseg import ops, use_engine
from npseg.analysis import measured, receptive_fields, summary
from npseg.models import (
    SYSTEMS,
    Proportions,
    context_module,
    deconvnet,
    deeplab_largefov,
    deeplab_pyramid,
    dilation8,
    named,
    segnet,
    system,
)
from npseg.nn import Concat, Conv2d, GlobalAvgPool2d, Graph, MaxPool2d, MaxUnpool2d, Node, ResizeBilinear

WIDTHS, DEPTHS = (3, 4, 3, 5, 4), (1, 2, 1, 1, 2)

SMALL: dict[str, Callable[..., Graph]] = {
    "segnet": lambda **o: segnet(3, WIDTHS, DEPTHS, **o),
    "deconvnet": lambda **o: deconvnet(3, WIDTHS, DEPTHS, 6, **o),
    "deeplab-largefov": lambda **o: deeplab_largefov(3, WIDTHS, DEPTHS, 6, rate=2, dropout=0.0, **o),
    "deeplab-pyramid": lambda **o: deeplab_pyramid(3, WIDTHS, DEPTHS, 5, rates=(1, 2), low_level=2, dropout=0.0, **o),
    "dilation8": lambda **o: dilation8(3, WIDTHS, DEPTHS, 6, rate=1, dropout=0.0, **o),
}


# ---------------------------------------------------------------------------------------------------------- sizes


def test_segnet_has_the_published_size() -> None:
    """29.4 million: VGG16's convolutions twice, those of the decoder mirrored."""
    encoder = [3, *[64] * 2, *[128] * 2, *[256] * 3, *[512] * 6]
    decoder = [*[512] * 6, *[256] * 3, *[128] * 2, *[64] * 2]
    weights = sum(9 * a * b for a, b in pairwise(encoder))
    weights += sum(9 * a * b for a, b in pairwise(decoder))
    normalised = 2 * (sum(encoder[1:]) + sum(decoder[1:]))
    last = 9 * 64 * 11 + 11
    counted = summary(*named("segnet"))
    assert counted.parameters == weights + normalised + last == 29_441_419


def test_deconvnets_middle_is_one_pixel() -> None:
    model, size = named("deconvnet")
    counted = summary(model, size)
    assert size == (224, 224)
    assert counted.layer("fc7").output_shape == (4096, 1, 1)
    assert round(counted.parameters / 1e6) == 252
    with pytest.raises(ValueError, match="kernel_size must fit"):
        model.shapes((192, 224))
    assert model.shapes((193, 224))["seg-score"] == (21, 193, 224)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("size", [(1, 1), (2, 31), (33, 65)])
def test_any_size_comes_back_as_it_went_in(name: str, size: tuple[int, int]) -> None:
    model = system(name, 4, Proportions(WIDTHS, DEPTHS, 6))
    x = np.random.default_rng(0).standard_normal((2, 3, *size)).astype(np.float32)
    assert model(x).shape == (2, 4, *size) == (2, *model.shapes(size)[model.nodes[-1].name])


@pytest.mark.parametrize("name", ["segnet", "deconvnet", "deeplab-pyramid", "dilation8"])
def test_scores_lie_on_the_images_pixels_whatever_its_size(name: str) -> None:
    for size in [(33, 65), (64, 48), (50, 7)]:
        for axis in SMALL[name]().coordinates(size)[SMALL[name]().nodes[-1].name]:
            assert (axis.scale, axis.offset) == (1, 0)


def test_unpooling_undoes_the_encoders_pools_in_reverse() -> None:
    for name in ("segnet", "deconvnet"):
        model = SMALL[name]()
        pools = [node for node in model.nodes if isinstance(node.layer, MaxPool2d)]
        unpools = [node for node in model.nodes if isinstance(node.layer, MaxUnpool2d)]
        shapes = model.shapes((45, 70))
        for pool, unpool in zip(pools, reversed(unpools), strict=True):
            assert unpool.inputs[1] == f"{pool.name}.indices"
            assert shapes[unpool.name] == shapes[pool.inputs[0]]


# ----------------------------------------------------------------------------------------------- receptive fields


@pytest.mark.parametrize("name", SMALL)
def test_the_gradient_reaches_the_receptive_field(name: str) -> None:
    model, size = SMALL[name](), (40, 27)
    field = measured.receptive_field(model, size, position=(20, 12))
    rows, columns = (
        along.union.at(i)
        for along, i in zip(receptive_fields(model, model.shapes(size))[model.nodes[-1].name], (20, 12), strict=True)
    )
    assert rows is not None
    assert columns is not None
    inside = np.zeros(size, bool)
    inside[max(rows[0], 0) : rows[1] + 1, max(columns[0], 0) : columns[1] + 1] = True
    assert field.any()
    assert not field[~inside].any()


def test_a_mean_of_the_whole_map_sees_the_whole_image() -> None:
    """An image-level branch beside a small window: the field is exactly the image, at every position."""
    nodes = [
        Node("conv", Conv2d(3, 2, 2, stride=2), ("image",)),
        Node("mean", GlobalAvgPool2d(), ("conv",)),
        Node("level", ResizeBilinear(), ("mean", "conv")),
        Node("both", Concat(), ("conv", "level")),
    ]
    model, size = Graph(nodes), (12, 18)
    rows, columns = receptive_fields(model, model.shapes(size))["both"]
    for axis, length in ((rows, 12), (columns, 18)):
        assert {axis.union.at(i) for i in range(length // 2)} == {(0, length - 1)}
        assert axis.range == (2, length)
    assert measured.receptive_field(model, size, position=(1, 7)).all()
    assert model.coordinates(size)["level"] == model.coordinates(size)["conv"]


# ------------------------------------------------------------------------------------------------- what they do


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_basic_context_module_begins_by_handing_its_input_on(dtype: Any) -> None:
    x = np.abs(np.random.default_rng(0).standard_normal((2, 4, 19, 23))).astype(dtype)
    with use_engine("im2col"):
        np.testing.assert_array_equal(context_module(4, dtype=dtype)(x), x)


def test_the_large_context_module_begins_by_nearly_handing_its_input_on() -> None:
    x = np.abs(np.random.default_rng(0).standard_normal((1, 2, 19, 23)))
    model = context_module(2, form="large", dtype=np.float64)
    assert model.shapes((19, 23))["ct_fc1"] == (64, 19, 23)
    difference = np.abs(model(x) - x).max() / x.max()
    assert 0 < difference < 0.1


def test_dilation8_first_scores_as_its_front_end_does() -> None:
    model = SMALL["dilation8"]()
    x = np.random.default_rng(0).standard_normal((1, 3, 24, 33)).astype(np.float32)
    last = [node.name for node in model.nodes].index("fc-final")
    front = Graph(model.nodes[: last + 1])
    for name, value in front.parameters.items():
        value[...] = model.parameters[name]
    with use_engine("im2col"):
        expected = ops.resize_bilinear(ops.relu(front(x)), (24, 40))[..., :33]
        np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_are_the_derivative(name: str) -> None:
    model, rng = SMALL[name](dtype=np.float64), np.random.default_rng(0)
    for value in model.parameters.values():
        value += 0.1 * rng.standard_normal(value.shape)
    x = rng.standard_normal((2, 3, 21, 34))
    logits, saved = model.forward(x, training=True)
    assert logits.shape == (2, 3, 21, 34)
    cotangent = rng.standard_normal(logits.shape)
    gradients = model.backward(cotangent, saved)
    assert set(gradients) == set(model.parameters)
    for parameter, gradient in gradients.items():
        direction = rng.standard_normal(gradient.shape)
        losses = []
        for step in (1e-7, -1e-7):  # so small that hardly any of thousands of ReLUs changes its side
            model.parameters[parameter] += step * direction
            losses.append(float((model.forward(x, training=True)[0] * cotangent).sum()))
            model.parameters[parameter] -= step * direction
        measured_change = (losses[0] - losses[1]) / 2e-7
        assert measured_change == pytest.approx(float((gradient * direction).sum()), rel=1e-5, abs=1e-5), parameter


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="classes must be at least 1"):
        segnet(0)
    with pytest.raises(ValueError, match="widths must be five integers"):
        deconvnet(3, (1, 2))
    with pytest.raises(ValueError, match="form must be one of"):
        deconvnet(3, form="full")
    with pytest.raises(ValueError, match=r"rates\[1\] must be at least 1"):
        deeplab_pyramid(3, rates=(6, 0))
    with pytest.raises(ValueError, match="form must be one of"):
        context_module(3, form="huge")
    with pytest.raises(ValueError, match="name must be one of"):
        system("u-net", 3)
    with pytest.raises(ValueError, match="rate must be at least 1"):
        dilation8(3, rate=0)
