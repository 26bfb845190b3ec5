"""The networks of the field: the published counts, and that each computes and learns what its graph declares."""

import numpy as np
import pytest

from npseg.analysis import summary
from npseg.models import (
    NAMES,
    caffenet_encoder,
    context_module,
    deeplab_largefov,
    fcn,
    fcn_alexnet,
    googlenet,
    mobilenet_v1,
    named,
)
from npseg.models.vgg import VGG_DEPTHS
from npseg.nn import Conv2d, ConvTranspose2d, Crop, Graph, Scale


@pytest.mark.parametrize(
    ("name", "size", "parameters", "macs"),
    [
        ("vgg16", (224, 224), 138_357_544, 15_470_264_320),
        ("alexnet", (224, 224), 61_100_840, 714_188_480),
        ("caffenet", (227, 227), 60_965_224, 724_406_816),
        ("googlenet", (224, 224), 6_998_552, 1_582_671_872),
        ("mobilenet-v1", (224, 224), 4_231_976, 568_740_352),
    ],
)
def test_published_classifiers(name: str, size: tuple[int, int], parameters: int, macs: int) -> None:
    model, own_size = named(name)
    counted = summary(model, own_size)
    assert own_size == size
    assert (counted.parameters, counted.trainable_parameters, counted.macs) == (parameters, parameters, macs)
    assert counted.layers[-1].output_shape == (1000,)


def test_vgg16s_convolutions_alone() -> None:
    model, size = named("vgg16")
    assert sum(layer.macs for layer in summary(model, size).layers if layer.type == "Conv2d") == 15_346_630_656


@pytest.mark.parametrize(("name", "depths"), VGG_DEPTHS.items())
def test_a_vgg_has_as_many_layers_with_weights_as_its_name_says(name: str, depths: tuple[int, ...]) -> None:
    model, size = named(name)
    counted = summary(model, size)
    assert sum(layer.parameters > 0 for layer in counted.layers) == int(name.removeprefix("vgg")) == sum(depths) + 3
    dense = 25088 * 4096 + 4096 * 4096 + 4096 * 1000
    widths = [3, 64, 128, 256, 512, 512]
    convolutions = sum(
        9 * widths[s] * (widths[s - 1] + (depth - 1) * widths[s]) * (224 >> (s - 1)) ** 2
        for s, depth in enumerate(depths, start=1)
    )
    assert counted.macs == convolutions + dense


@pytest.mark.parametrize(
    ("name", "learned", "upsamplers"),
    [
        ("fcn32s", 134_346_581, 1_806_336),
        ("fcn16s", 134_357_354, 458_640),
        ("fcn8s", 134_362_751, 127_008),
        ("fcn8s-atonce", 134_362_751, 127_008),
    ],
)
def test_published_fcns(name: str, learned: int, upsamplers: int) -> None:
    paper = summary(named(name, backbone="vgg16")[0], (224, 224))
    assert (paper.parameters, paper.trainable_parameters) == (learned + upsamplers, learned)
    assert sum(layer.parameters for layer in paper.layers if layer.type == "ConvTranspose2d") == upsamplers
    same = summary(named(name, form="same")[0], (224, 224))
    assert same.parameters == same.trainable_parameters == paper.parameters
    assert same.macs < paper.macs


PUBLISHED_SHAPES = {
    ("vgg16", (224, 224)): {
        "conv1_2": (64, 224, 224),
        "pool1": (64, 112, 112),
        "conv2_2": (128, 112, 112),
        "pool2": (128, 56, 56),
        "conv3_3": (256, 56, 56),
        "pool3": (256, 28, 28),
        "conv4_3": (512, 28, 28),
        "pool4": (512, 14, 14),
        "conv5_3": (512, 14, 14),
        "pool5": (512, 7, 7),
        "flatten": (25088,),
        "fc6": (4096,),
        "fc7": (4096,),
        "fc8": (1000,),
    },
    ("alexnet", (224, 224)): {
        "conv1": (64, 55, 55),
        "pool1": (64, 27, 27),
        "conv2": (192, 27, 27),
        "pool2": (192, 13, 13),
        "conv3": (384, 13, 13),
        "conv4": (256, 13, 13),
        "conv5": (256, 13, 13),
        "pool5": (256, 6, 6),
        "fc6": (4096,),
    },
    ("caffenet", (227, 227)): {
        "conv1": (96, 55, 55),
        "pool1": (96, 27, 27),
        "norm1": (96, 27, 27),
        "conv2": (256, 27, 27),
        "norm2": (256, 13, 13),
        "conv3": (384, 13, 13),
        "conv4": (384, 13, 13),
        "conv5": (256, 13, 13),
        "pool5": (256, 6, 6),
        "fc6": (4096,),
    },
    ("googlenet", (224, 224)): {
        "conv1/7x7_s2": (64, 112, 112),
        "pool1/3x3_s2": (64, 56, 56),
        "conv2/3x3": (192, 56, 56),
        "pool2/3x3_s2": (192, 28, 28),
        "inception_3a/output": (256, 28, 28),
        "inception_3b/output": (480, 28, 28),
        "pool3/3x3_s2": (480, 14, 14),
        "inception_4a/output": (512, 14, 14),
        "inception_4d/output": (528, 14, 14),
        "inception_4e/output": (832, 14, 14),
        "pool4/3x3_s2": (832, 7, 7),
        "inception_5b/output": (1024, 7, 7),
        "pool5/7x7_s1": (1024, 1, 1),
    },
    ("mobilenet-v1", (224, 224)): {
        "conv1": (32, 112, 112),
        "conv2_1/sep": (64, 112, 112),
        "conv2_2/sep": (128, 56, 56),
        "conv3_2/sep": (256, 28, 28),
        "conv4_2/sep": (512, 14, 14),
        "conv5_5/sep": (512, 14, 14),
        "conv5_6/sep": (1024, 7, 7),
        "conv6/sep": (1024, 7, 7),
        "pool6": (1024, 1, 1),
    },
    ("fcn32s", (500, 500)): {
        "score_fr": (21, 16, 16),
        "upscore": (21, 544, 544),
        "score": (21, 500, 500),
    },
    ("fcn16s", (500, 500)): {
        "upscore2": (21, 34, 34),
        "score_pool4": (21, 44, 44),
        "score_pool4c": (21, 34, 34),
        "upscore16": (21, 560, 560),
        "score": (21, 500, 500),
    },
    ("fcn8s", (500, 500)): {
        "conv1_1": (64, 698, 698),
        "pool1": (64, 349, 349),
        "pool2": (128, 175, 175),
        "pool3": (256, 88, 88),
        "pool4": (512, 44, 44),
        "pool5": (512, 22, 22),
        "fc6": (4096, 16, 16),
        "fc7": (4096, 16, 16),
        "score_fr": (21, 16, 16),
        "upscore2": (21, 34, 34),
        "fuse_pool4": (21, 34, 34),
        "upscore_pool4": (21, 70, 70),
        "score_pool3": (21, 88, 88),
        "fuse_pool3": (21, 70, 70),
        "upscore8": (21, 568, 568),
        "score": (21, 500, 500),
    },
    ("fcn8s-atonce", (500, 500)): {
        "scale_pool4": (512, 44, 44),
        "scale_pool3": (256, 88, 88),
        "upscore8": (21, 568, 568),
    },
    ("deeplab-largefov", (321, 321)): {
        "pool1": (64, 161, 161),
        "pool2": (128, 81, 81),
        "pool3": (256, 41, 41),
        "pool5a": (512, 41, 41),
        "fc6": (1024, 41, 41),
        "fc8": (21, 41, 41),
        "score": (21, 321, 321),
    },
}
"""The papers' tables, and what Caffe prints for the authors' networks."""


@pytest.mark.parametrize(("name", "size"), PUBLISHED_SHAPES)
def test_published_shapes(name: str, size: tuple[int, int]) -> None:
    shapes = named(name)[0].shapes(size)
    published = PUBLISHED_SHAPES[name, size]
    assert {layer: shapes[layer] for layer in published} == published


def test_the_at_once_net_differs_by_its_two_scales_alone() -> None:
    model, plain = named("fcn8s-atonce")[0], named("fcn8s")[0]
    scales = {node.name: (node.layer, node.inputs) for node in model.nodes if isinstance(node.layer, Scale)}
    assert scales == {"scale_pool4": (Scale(0.01), ("pool4",)), "scale_pool3": (Scale(0.0001), ("pool3",))}
    assert [node.layer for node in model.nodes if node.name not in scales] == [node.layer for node in plain.nodes]
    assert model.coordinates()["score"] == plain.coordinates()["score"]
    with pytest.raises(ValueError, match="at_once scales the maps of skips, so it needs stride 16 or 8, got 32"):
        fcn(caffenet_encoder(), 21, 32, at_once=True)


def test_fcn_alexnet() -> None:
    model, size = named("fcn32s", backbone="caffenet")
    assert model.describe() == fcn_alexnet().describe()
    upsampler, crop = model.node("upscore").layer, model.node("score").layer
    assert isinstance(upsampler, ConvTranspose2d)
    assert (upsampler.kernel_size, upsampler.stride, crop) == (63, 32, Crop(18))
    shapes = model.shapes(size)
    assert [shapes[name][1] for name in ("conv1", "pool1", "pool2", "pool5", "fc6")] == [173, 86, 43, 21, 16]
    assert (shapes["upscore"], shapes["score"]) == ((21, 543, 543), (21, 500, 500))


def test_deeplab_largefov() -> None:
    model, size = named("deeplab-largefov")
    counted = summary(model, size)
    assert counted.parameters == 20_505_429
    fc6 = model.node("fc6").layer
    assert isinstance(fc6, Conv2d)
    assert (fc6.kernel_size, fc6.dilation) == (3, 12)
    assert counted.layer("fc8").effective_stride == (8, 8)
    assert counted.layer("score").effective_stride == (1, 1)
    assert counted.layer("score").offset == (0, 0)


def test_the_context_module_grows_its_field_without_losing_pixels() -> None:
    counted = summary(named("context")[0], (64, 64))
    assert {layer.output_shape for layer in counted.layers} == {(21, 64, 64)}
    assert counted.parameters == 7 * (9 * 21 * 21 + 21) + 21 * 21 + 21


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (googlenet(7), (64, 71)),
        (mobilenet_v1(5), (64, 33)),
        (deeplab_largefov(3), (25, 33)),
        (context_module(3), (20, 21)),
    ],
    ids=["googlenet", "mobilenet-v1", "deeplab-largefov", "context"],
)
def test_it_computes_and_learns(model: Graph, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, model.input_channels, *size)).astype(np.float32)
    logits, saved = model.forward(x, training=True, rng=rng)
    assert logits.shape == (2, *model.shapes(size)[model.nodes[-1].name])
    gradients = model.backward(np.cos(logits), saved)
    assert set(gradients) == set(model.parameters)
    for name, gradient in gradients.items():
        assert gradient.shape == model.parameters[name].shape
        assert np.isfinite(gradient).all()
        assert gradient.any(), name


@pytest.mark.parametrize("name", NAMES)
def test_no_weight_is_allocated_to_declare_one(name: str) -> None:
    model, size = named(name, classes=4)
    assert model.shapes(size)[model.nodes[-1].name][0] == 4
    assert "parameters" not in vars(model)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"name must be one of \('vgg11', .*'fcn8s-atonce'\), got 'vgg17'"):
        named("vgg17")
    with pytest.raises(ValueError, match=r"backbone must be one of \('vgg11', .*, got 'resnet'"):
        named("fcn8s", backbone="resnet")
    with pytest.raises(ValueError, match="backbone has a meaning for"):
        named("alexnet", backbone="vgg16")
    with pytest.raises(ValueError, match="form has a meaning for"):
        named("context", form="same")
    with pytest.raises(ValueError, match='backbone "caffenet" needs stride 32 and form "paper", got 8'):
        named("fcn8s", backbone="caffenet")
    with pytest.raises(ValueError, match="classes must be at least 1"):
        named("googlenet", classes=0)
    with pytest.raises(ValueError, match="last_kernel_size must be at least 32"):
        fcn(caffenet_encoder(), 21, 32, form="paper", last_kernel_size=31)
