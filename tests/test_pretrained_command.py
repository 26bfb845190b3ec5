"""`npseg train --backbone --pretrained`: fine-tuning a published classifier, resumed bit for bit."""

import json

import numpy as np
import pytest
from test_cli import error_of, write_folder

from npseg import cli, flags, weights
from npseg.cli import networks, training
from npseg.data import Normalise, read_image
from npseg.models import BACKBONES, encoder, files
from npseg.training import checkpoints

NAME = "mobilenet-v1"
CONSTANT = ["--batch-size", "2", "--schedule", "constant", "--validate-every", "2", "--stride", "16"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data") / "photos", [(20, 17)] * 5)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file of a classifier's weights, in npseg's own names and with statistics of its own."""
    model, rng = encoder(NAME, seed=9), np.random.default_rng(9)
    for name, value in model.buffers.items():
        value[...] = rng.uniform(0.5, 1.5, value.shape) if name.endswith("var") else -0.1
    path = tmp_path_factory.mktemp("weights") / "mobilenet.pth"
    weights.write(path, model.parameters | model.buffers)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, folder, published):
    """Two steps of fine-tuning at a rate that moves the decoder alone."""
    output = tmp_path_factory.mktemp("runs") / "run"
    own = ["--backbone", NAME, "--pretrained", str(published), "--backbone-rate", "0", *CONSTANT]
    assert cli.main(["train", "--data", str(folder), "--output", str(output), "--steps", "2", *own]) == 0
    return output


def test_the_flags_name_every_backbone():
    assert tuple(BACKBONES) == flags.training.BACKBONES


def test_the_backbone_is_the_files_and_only_the_decoder_learned(run, published):
    arrays, model = weights.read(published), files.load(run / "checkpoint.npz")
    for name, array in arrays.items():
        np.testing.assert_array_equal((model.parameters | model.buffers)[name], array)
    assert model.parameters["score_fr.weight"].any()
    assert all(node.layer.fixed for node in model.nodes if type(node.layer).__name__ == "BatchNorm2d")


def test_the_config_says_how_it_was_built(run, published):
    config = json.loads((run / "config.json").read_text())
    assert config["network"] == {
        "architecture": "fcn",
        "stride": 16,
        "at_once": False,
        "form": "same",
        "train_upsampling": None,
        "init_from": None,
        "backbone": NAME,
        "pretrained": str(published),
        "fixed_statistics": True,
    }
    assert config["training"]["backbone_rate"] == 0


def test_a_backbone_learns_at_its_share_of_the_rate(tmp_path, folder, published):
    """At the second step, the first at which the scores are not zero and a gradient reaches it."""
    arrays, moved = weights.read(published), {}
    for share in ("", "--backbone-rate 0.1"):
        output = tmp_path / f"run{share}"
        own = ["--steps", "2", "--backbone", NAME, "--pretrained", str(published), *share.split(), *CONSTANT]
        assert cli.main(["train", "--data", str(folder), "--output", str(output), *own]) == 0
        model = files.load(output / "checkpoint.npz")
        moved[share] = np.abs(model.parameters["conv6/sep.weight"] - arrays["conv6/sep.weight"]).max()
    assert moved["--backbone-rate 0.1"] == pytest.approx(0.1 * moved[""], rel=1e-2)
    assert moved["--backbone-rate 0.1"] > 0


def test_resumed_it_is_bit_for_bit_the_uninterrupted_run(tmp_path, folder, published):
    own = ["--backbone", NAME, "--pretrained", str(published), "--no-fixed-statistics", *CONSTANT]
    train = ["train", "--data", str(folder), *own]
    assert cli.main([*train, "--steps", "5", "--output", str(tmp_path / "whole")]) == 0
    assert cli.main([*train, "--steps", "2", "--output", str(tmp_path / "parts")]) == 0
    assert cli.main(["train", "--resume", str(tmp_path / "parts"), "--steps", "5"]) == 0
    whole, parts = (files.load(tmp_path / name / "checkpoint.npz") for name in ("whole", "parts"))
    for name, value in (whole.parameters | whole.buffers).items():
        np.testing.assert_array_equal((parts.parameters | parts.buffers)[name], value)
    arrays = weights.read(published)
    assert (whole.parameters["conv1.weight"] != arrays["conv1.weight"]).any()
    assert (whole.buffers["conv1/bn.running_mean"] != arrays["conv1/bn.running_mean"]).any()


def test_images_are_normalised_as_the_weights_expect_wherever_the_network_goes(tmp_path, folder, monkeypatch, capsys):
    monkeypatch.setitem(BACKBONES, NAME, BACKBONES["efficientnet-lite0"])
    model = encoder(NAME)
    weights.write(tmp_path / "lite.npz", model.parameters | model.buffers)
    output = tmp_path / "run"
    own = ["--backbone", NAME, "--pretrained", str(tmp_path / "lite.npz"), "--steps", "1", *CONSTANT]
    assert cli.main(["train", "--data", str(folder), "--output", str(output), *own]) == 0
    expected = Normalise(127 / 255, 128 / 255)
    for name in ("best.npz", "checkpoint.npz"):
        _, task = checkpoints.load_network(output / name)
        image = read_image(folder / "images" / "photo0.png")
        np.testing.assert_array_equal(task.normalise(image), expected(image))
    assert cli.main(["train", "--resume", str(output), "--steps", "2"]) == 0
    assert checkpoints.load(output / "checkpoint.npz").task.normalise(image).tolist() == expected(image).tolist()


def test_from_scratch_images_are_normalised_by_the_data(tmp_path, folder):
    own = ["--backbone", NAME, "--steps", "1", *CONSTANT]
    assert cli.main(["train", "--data", str(folder), "--output", str(tmp_path / "run"), *own]) == 0
    model, task = checkpoints.load_network(tmp_path / "run" / "best.npz")
    images = [task.normalise(read_image(path)) for path in (folder / "images").iterdir()]
    pixels = np.concatenate([image.reshape(3, -1) for image in images], axis=1)
    np.testing.assert_allclose(pixels.mean(axis=1), 0, atol=0.2)
    assert not any(getattr(node.layer, "fixed", False) for node in model.nodes)


def network_of(classes, **flags):
    """The network that the flags describe, and how its images are normalised."""
    given = {"backbone": NAME, **flags}
    chosen = training.with_defaults(given)
    return networks.build([f"class {number}" for number in range(classes)], networks.describe(chosen, given), seed=0)


@pytest.mark.parametrize("ending", [".npz", ".pth", ".safetensors"])
def test_a_network_starts_from_a_file_of_any_format(tmp_path, run, ending, capsys):
    if ending == ".safetensors":
        pytest.importorskip("safetensors")
    source = tmp_path / f"source{ending}"
    weights.write_model(source, files.load(run / "checkpoint.npz"))
    model, _ = network_of(classes=3, stride=16, init_from=str(source))
    arrays = weights.read(source)
    assert set(model.parameters | model.buffers) == set(arrays)
    for name, value in (model.parameters | model.buffers).items():
        np.testing.assert_array_equal(value, arrays[name])
    assert capsys.readouterr().out == f"source{ending}: {len(arrays)} arrays, 0 are new\n"


def test_what_the_file_lacks_stays_new(run, capsys):
    model, _ = network_of(classes=5, stride=8, init_from=str(run))
    assert capsys.readouterr().out.startswith("best.npz: ")
    assert not model.parameters["score_fr.weight"].any()
    np.testing.assert_array_equal(model.parameters["conv1.weight"], weights.read(run / "best.npz")["conv1.weight"])


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("--pretrained weights.pth", 2, "--pretrained needs --backbone"),
        ("--fixed-statistics", 2, "--fixed-statistics needs --backbone"),
        ("--backbone vgg16 --widths 1 2 3 4 5", 2, "--widths has no meaning with --backbone"),
        ("--backbone resnet50", 2, "invalid choice: 'resnet50'"),
        ("--backbone mobilenet-v1 --pretrained none.pth", 1, "none.pth: neither a file nor an installed Python"),
        ("--backbone efficientnet-lite0 --pretrained PUBLISHED", 1, "the arrays do not fit the network"),
        ("--init-from STRANGER", 1, "stranger.npz: shares no array with the network"),
        ("--backbone mobilenet-v1 --backbone-rate -1", 1, "backbone_rate must be at least 0"),
    ],
)
def test_mistakes_are_one_line(tmp_path, folder, published, capsys, words, status, message):
    weights.write(tmp_path / "stranger.npz", {"a": np.zeros(3)})
    words = words.replace("PUBLISHED", str(published)).replace("STRANGER", str(tmp_path / "stranger.npz"))
    output = tmp_path / "run"
    found, error = error_of(["train", "--data", folder, "--output", output, "--steps", "1", *words.split()], capsys)
    assert (found, message in error) == (status, True), error
    assert not output.exists()
