"""FCNs on every classifier of the field: any size, maps at the strides they are named for, and what they start from."""

import numpy as np
import pytest

from npseg.models import BACKBONES, alexnet, convolutionalise, encoder, fcn, fcn_on, googlenet, mobilenet_v1
from npseg.models.convolutionalise import convolutional_nodes
from npseg.models.efficientnet import efficientnet_lite0
from npseg.nn import BatchNorm2d, Graph

SMALL = ("googlenet", "mobilenet-v1", "efficientnet-lite0")


def nodes_by_name(model: Graph) -> dict[str, object]:
    return {node.name: node.layer for node in model.nodes}


@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize("name", BACKBONES)
def test_any_size_comes_back_as_it_went_in(name: str, stride: int) -> None:
    model = fcn_on(name, 4, stride)
    for size in ((1, 1), (31, 64), (65, 97), (120, 160), (227, 500)):
        assert model.shapes(size)["score"] == (4, *size)
    assert "parameters" not in vars(model)


@pytest.mark.parametrize("name", BACKBONES)
def test_its_skips_have_strides_16_and_8(name: str) -> None:
    start, size = encoder(name), (256, 320)
    shapes = start.shapes(size)
    last = start.nodes[-1].name
    for map_name, stride in zip((last, *BACKBONES[name].skips), (32, 16, 8), strict=True):
        assert {axis.scale for axis in start.coordinates(size)[map_name]} == {stride}
        if map_name != last:
            adapted = fcn_on(name, 4).shapes(size)[map_name]
            assert adapted == (shapes[map_name][0], size[0] // stride, size[1] // stride)


@pytest.mark.parametrize("name", SMALL)
def test_it_computes_and_learns(name: str) -> None:
    model = fcn_on(name, 3)
    rng = np.random.default_rng(0)
    for key in ("score_fr", *(f"score_{skip.split('/')[0]}" for skip in BACKBONES[name].skips)):
        model.parameters[f"{key}.weight"][...] = 0.01
    x = rng.standard_normal((2, 3, 45, 70)).astype(np.float32)
    logits, saved = model.forward(x, training=True, rng=rng)
    assert logits.shape == (2, 3, 45, 70)
    gradients = model.backward(np.cos(logits), saved)
    assert set(gradients) == model.trainable
    assert all(np.isfinite(gradient).all() and gradient.any() for gradient in gradients.values())


@pytest.mark.parametrize("form", ["same", "paper"])
@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize("name", BACKBONES)
def test_maps_are_aligned(name: str, stride: int, form: str) -> None:
    if form == "paper" and not BACKBONES[name].has_paper_form:
        with pytest.raises(ValueError, match=f"form must be \"same\" for the backbone '{name}'"):
            fcn_on(name, 21, stride, form=form)
        return
    model = fcn_on(name, 21, stride, form=form)
    sizes = [(64, 96), (320, 256)] if form == "same" else [(65, 97), (320, 256)]  # TensorFlow's padding moves with size
    for size in sizes:
        for fused in (node for node in model.nodes if node.name.startswith("fuse")):
            coarse, fine = (model.coordinates(size)[source] for source in fused.inputs)
            assert coarse == fine
        for axis in model.coordinates(size)["score"]:
            assert (axis.scale, axis.offset) == (1, 0)
    for size in ((65, 97), (500, 375)):
        assert model.shapes(size)["score"] == (21, *size)


def test_sizes_are_kept_by_padding_only_what_would_round_them_down() -> None:
    for name in BACKBONES:
        before, after = nodes_by_name(encoder(name)), nodes_by_name(fcn_on(name, 4))
        changed = [key for key, layer in before.items() if layer != after[key]]
        expected = {
            "alexnet": ["conv1", "pool1", "pool2", "pool5", "fc6"],
            "caffenet": ["conv1", "pool1", "pool2", "pool5", "fc6"],
            "googlenet": ["pool1/3x3_s2", "pool2/3x3_s2", "pool3/3x3_s2", "pool4/3x3_s2"],
            "mobilenet-v1": [],
            "efficientnet-lite0": [],
        }.get(name, ["fc6"])
        assert changed == expected, name


@pytest.mark.parametrize("classifier", [googlenet(7), mobilenet_v1(7), efficientnet_lite0(7)], ids=SMALL)
def test_the_mean_over_places_is_the_classifiers_score(classifier: Graph) -> None:
    rng = np.random.default_rng(0)
    for value in classifier.buffers.values():
        value[...] = rng.uniform(0.5, 1.5, value.shape)
    x = rng.standard_normal((2, 3, 64, 96)).astype(np.float32)
    places, scores = convolutionalise(classifier)(x), classifier(x)
    assert places.shape == (2, 7, 2, 3)
    np.testing.assert_allclose(places.mean(axis=(2, 3)), scores, rtol=1e-4, atol=1e-4 * np.abs(scores).max())


def test_dropout_before_the_first_dense_layer_does_not_hide_it() -> None:
    converted = Graph(convolutional_nodes(alexnet(7))[0])
    assert converted.shapes((224, 224))["score_fr"] == (7, 1, 1)
    assert converted.parameter_specs["fc6.weight"].shape == (4096, 256, 6, 6)
    assert converted.parameter_specs["fc7.weight"].shape == (4096, 4096, 1, 1)


def test_fixed_statistics_stay_while_all_else_learns() -> None:
    free, fixed = (fcn_on("mobilenet-v1", 3, 32, fixed_statistics=choice) for choice in (False, True))
    assert all(not layer.fixed for layer in nodes_by_name(free).values() if isinstance(layer, BatchNorm2d))
    x = np.random.default_rng(0).standard_normal((2, 3, 33, 40)).astype(np.float32)
    fixed.parameters["score_fr.weight"][...] = 0.01
    before = {name: value.copy() for name, value in fixed.buffers.items()}
    logits, saved = fixed.forward(x, training=True)
    np.testing.assert_array_equal(logits, fixed(x))
    assert set(fixed.backward(np.cos(logits), saved)) == fixed.trainable
    for name, value in fixed.buffers.items():
        np.testing.assert_array_equal(value, before[name])
    free.forward(x, training=True)
    assert free.buffers["conv1/bn.running_mean"].any()
    described = Graph.from_description(fixed.describe())
    assert nodes_by_name(described) == nodes_by_name(fixed)


def test_a_classifier_must_be_converted_first() -> None:
    for classifier in (alexnet(7), googlenet(7)):
        with pytest.raises(ValueError, match=r"must be fully convolutional, but 'flatten' is a Flatten"):
            fcn(classifier, 4)
    with pytest.raises(ValueError, match="backbone must be one of"):
        encoder("resnet50")
    with pytest.raises(ValueError, match="backbone must have a map 'pool4'"):
        fcn(encoder("mobilenet-v1"), 4)
