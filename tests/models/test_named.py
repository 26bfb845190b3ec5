"""The networks of the field: the published counts, and that each computes and learns what its graph declares."""

import numpy as np
import pytest

from npseg.analysis import summary
from npseg.models import (
    BACKBONES,
    NAMES,
    caffenet_encoder,
    context_module,
    deeplab_largefov,
    efficientnet_lite0,
    fcn,
    fcn_alexnet,
    googlenet,
    mobilenet_v1,
    named,
)
from npseg.models.named import FCN_STRIDES
from npseg.models.vgg import VGG_DEPTHS
from npseg.nn import Conv2d, ConvTranspose2d, Crop, Graph


@pytest.mark.parametrize(
    ("name", "size", "parameters", "macs"),
    [
        ("vgg16", (224, 224), 138_357_544, 15_470_264_320),
        ("alexnet", (224, 224), 61_100_840, 714_188_480),
        ("caffenet", (227, 227), 60_965_224, 724_406_816),
        ("googlenet", (224, 224), 6_998_552, 1_582_671_872),
        ("mobilenet-v1", (224, 224), 4_231_976, 568_740_352),
        ("efficientnet-lite0", (224, 224), 4_652_008, 385_187_552),
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
    ],
)
def test_published_fcns(name: str, learned: int, upsamplers: int) -> None:
    paper = summary(named(name, backbone="vgg16")[0], (224, 224))
    assert (paper.parameters, paper.trainable_parameters) == (learned + upsamplers, learned)
    assert sum(layer.parameters for layer in paper.layers if layer.type == "ConvTranspose2d") == upsamplers
    same = summary(named(name, form="same")[0], (224, 224))
    assert same.parameters == same.trainable_parameters == paper.parameters
    assert same.macs < paper.macs


def test_fcn_alexnet() -> None:
    model, size = named("fcn32s", backbone="caffenet")
    assert model.describe() == fcn_alexnet().describe()
    upsampler, crop = model.node("upscore").layer, model.node("score").layer
    assert isinstance(upsampler, ConvTranspose2d)
    assert (upsampler.kernel_size, upsampler.stride, crop) == (63, 32, Crop(18))
    assert summary(model, size).layers[-1].output_shape == (21, 500, 500)


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
        (efficientnet_lite0(5), (33, 64)),
        (deeplab_largefov(3), (25, 33)),
        (context_module(3), (20, 21)),
    ],
    ids=["googlenet", "mobilenet-v1", "efficientnet-lite0", "deeplab-largefov", "context"],
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


@pytest.mark.parametrize("name", FCN_STRIDES)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_fcn_can_be_built_on_every_backbone(name: str, backbone: str) -> None:
    model, size = named(name, backbone=backbone)
    assert model.shapes(size)["score"] == (21, *size)
    in_paper_form = FCN_STRIDES[name] in BACKBONES[backbone].in_paper_form
    assert bool(model.frozen) == in_paper_form


@pytest.mark.parametrize("name", NAMES)
def test_no_weight_is_allocated_to_declare_one(name: str) -> None:
    model, size = named(name, classes=4)
    assert model.shapes(size)[model.nodes[-1].name][0] == 4
    assert "parameters" not in vars(model)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"name must be one of \('vgg11', .*'fcn8s'\), got 'vgg17'"):
        named("vgg17")
    with pytest.raises(ValueError, match=r"backbone must be one of \('vgg11', .*, got 'resnet'"):
        named("fcn8s", backbone="resnet")
    with pytest.raises(ValueError, match="backbone has a meaning for"):
        named("alexnet", backbone="vgg16")
    with pytest.raises(ValueError, match="form has a meaning for"):
        named("context", form="same")
    with pytest.raises(ValueError, match="form must be \"same\" for the backbone 'caffenet' at stride 8"):
        named("fcn8s", backbone="caffenet", form="paper")
    with pytest.raises(ValueError, match="classes must be at least 1"):
        named("googlenet", classes=0)
    with pytest.raises(ValueError, match="last_kernel_size must be at least 32"):
        fcn(caffenet_encoder(), 21, 32, form="paper", last_kernel_size=31)
