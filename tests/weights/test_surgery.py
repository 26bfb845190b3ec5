"""torchvision's classifiers become what FCNs start from."""

import numpy as np
import pytest

from npseg import models, weights
from npseg.models import convolutionalise, fcn, initialise_from, vgg
from npseg.models.vgg import VGG_DEPTHS

WIDTHS, HIDDEN, CLASSES, SIDE = (2, 3, 4, 5, 6), 7, 8, 2

TORCHVISION = {
    "vgg11": "64 M 128 M 256 256 M 512 512 M 512 512 M",
    "vgg13": "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    "vgg16": "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    "vgg19": "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}
"""The lists of torchvision/models/vgg.py: channels of convolutions, M a pool."""


def torchvision_arrays(name, *, side=SIDE, seed=0):
    """What torchvision's class has, layer by layer as it appends them, with small channels."""
    rng, arrays, position, channels, stage = np.random.default_rng(seed), {}, 0, 3, 0

    def add(layer, *shape):
        arrays[f"{layer}.weight"] = (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        arrays[f"{layer}.bias"] = rng.standard_normal(shape[0]).astype(np.float32)

    for item in TORCHVISION[name].split():
        if item == "M":
            position, stage = position + 1, stage + 1
            continue
        add(f"features.{position}", WIDTHS[stage], channels, 3, 3)
        position, channels = position + 2, WIDTHS[stage]
    add("classifier.0", HIDDEN, channels * side * side)
    add("classifier.3", HIDDEN, HIDDEN)
    add("classifier.6", CLASSES, HIDDEN)
    return arrays


@pytest.fixture
def source(tmp_path):
    weights.write(tmp_path / "vgg11.pth", torchvision_arrays("vgg11"))
    return tmp_path / "vgg11.pth"


@pytest.mark.parametrize("name", VGG_DEPTHS)
def test_the_names_are_those_of_torchvisions_lists_in_their_order(name):
    names = weights.torchvision_vgg(name)
    assert list(names) == list(torchvision_arrays(name))
    layers = [f"conv{s}_{n}" for s, depth in enumerate(VGG_DEPTHS[name], 1) for n in range(1, depth + 1)]
    assert list(names.values()) == [
        f"{layer}.{key}" for layer in [*layers, "fc6", "fc7", "fc8"] for key in ("weight", "bias")
    ]


@pytest.mark.parametrize("name", VGG_DEPTHS)
def test_the_published_sizes_fit_the_published_network(name):
    """Shapes alone: nothing of this size is allocated."""
    specs, _ = models.named(name)
    shapes = {ours: specs.parameter_specs[ours].shape for ours in weights.torchvision_vgg(name).values()}
    assert shapes.keys() == specs.parameter_specs.keys()
    assert shapes["fc6.weight"] == (4096, 25088)
    assert fcn(vgg(depths=VGG_DEPTHS[name]), 21).parameter_specs["fc6.weight"].shape == (4096, 512, 7, 7)


@pytest.mark.parametrize("name", VGG_DEPTHS)
def test_the_classifier_gives_pytorchs_scores_and_so_does_its_convolutional_form(name):
    torch = pytest.importorskip("torch")
    arrays = torchvision_arrays(name)
    nn, layers, channels, stage = torch.nn, [], 3, 0
    for item in TORCHVISION[name].split():
        if item == "M":
            layers.append(nn.MaxPool2d(2, 2))
            stage += 1
        else:
            layers += [nn.Conv2d(channels, WIDTHS[stage], 3, padding=1), nn.ReLU()]
            channels = WIDTHS[stage]
    dense = [nn.Linear(channels * SIDE**2, HIDDEN), nn.ReLU(), nn.Dropout(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()]
    dense += [nn.Dropout(), nn.Linear(HIDDEN, CLASSES)]
    theirs = nn.ModuleDict({"features": nn.Sequential(*layers), "classifier": nn.Sequential(*dense)}).eval()
    theirs.load_state_dict({key: torch.from_numpy(value) for key, value in arrays.items()})
    x = np.random.default_rng(1).standard_normal((2, 3, 32 * SIDE, 32 * SIDE)).astype(np.float32)
    with torch.no_grad():
        expected = theirs["classifier"](theirs["features"](torch.from_numpy(x)).flatten(1)).numpy()
    ours = weights.classifier_from(arrays, f"torchvision-{name}")
    np.testing.assert_allclose(ours(x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(convolutionalise(ours)(x)[:, :, 0, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ending", [".npz", ".pth"])
def test_convert_writes_what_an_fcn_starts_from(source, ending):
    target = source.parent / f"start{ending}"
    network = weights.convert(source, target, "torchvision-vgg11")
    arrays, theirs = weights.read(target), weights.read(source)
    assert arrays.keys() == network.parameters.keys()
    assert arrays["fc6.weight"].shape == (HIDDEN, WIDTHS[-1], SIDE, SIDE)
    np.testing.assert_array_equal(arrays["fc6.weight"].ravel(), theirs["classifier.0.weight"].ravel())
    np.testing.assert_array_equal(arrays["conv5_2.bias"], theirs["features.18.bias"])
    np.testing.assert_array_equal(arrays["score_fr.weight"][:, :, 0, 0], theirs["classifier.6.weight"])


def test_an_fcn_of_other_classes_takes_all_but_the_scores(tmp_path):
    weights.write(tmp_path / "vgg11.pth", torchvision_arrays("vgg11", side=7))
    weights.convert(tmp_path / "vgg11.pth", tmp_path / "start.npz", "torchvision-vgg11")
    start = models.load(tmp_path / "start.npz")
    network = fcn(vgg(WIDTHS, VGG_DEPTHS["vgg11"], HIDDEN), 3, 8)
    copied = initialise_from(network, start)
    assert sorted(copied) == sorted(name for name in start.parameters if not name.startswith("score_fr"))
    for name in copied:
        np.testing.assert_array_equal(network.parameters[name], start.parameters[name])


def test_batch_normalisation_is_refused(tmp_path):
    arrays = torchvision_arrays("vgg11") | {
        "features.1.running_mean": np.zeros(2),
        "features.1.running_var": np.ones(2),
    }
    weights.write(tmp_path / "bn.pth", arrays)
    with pytest.raises(
        ValueError, match=r"bn\.pth: .*without batch normalisation.*vgg11_bn.*features\.1\.running_mean"
    ):
        weights.convert(tmp_path / "bn.pth", tmp_path / "start.npz", "torchvision-vgg11")
    assert not (tmp_path / "start.npz").exists()


def test_another_vgg_is_refused_with_all_that_differs(source):
    with pytest.raises(
        ValueError, match=r"vgg11\.pth: .* missing: conv1_2\.weight, .* unexpected: features\.3\.weight"
    ):
        weights.convert(source, source.parent / "start.npz", "torchvision-vgg16")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("classifier.0.weight", (HIDDEN, 25)),
        ("classifier.0.weight", (HIDDEN, 3)),
        ("classifier.0.weight", (HIDDEN,)),
        ("classifier.3.weight", (HIDDEN, 3)),
        ("features.0.weight", (2, 3, 5, 5)),
        ("features.3.weight", (3, 9, 3, 3)),
        ("classifier.6.bias", (CLASSES + 1,)),
    ],
)
def test_misshapen_layers_are_named(name, shape):
    arrays = torchvision_arrays("vgg11") | {name: np.zeros(shape, np.float32)}
    ours = weights.torchvision_vgg("vgg11")[name]
    with pytest.raises(ValueError, match=rf"misshaped: .*{ours} needs"):
        weights.classifier_from(arrays, "torchvision-vgg11")


def test_a_lacking_layer_is_named():
    """Even one that the network's sizes are read from, and then in its published size."""
    for name, ours in weights.torchvision_vgg("vgg11").items():
        if name.startswith("features") or name.endswith("bias"):
            arrays = torchvision_arrays("vgg11")
            del arrays[name]
            with pytest.raises(ValueError, match=rf"1 missing: {ours}"):
                weights.classifier_from(arrays, "torchvision-vgg11")


def test_other_kinds_are_refused(source):
    for wrong in ("vgg16", "torchvision-resnet18", 3):
        with pytest.raises((ValueError, TypeError), match="kind must be one of"):
            weights.convert(source, source.parent / "start.npz", wrong)
