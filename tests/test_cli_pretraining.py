"""`npseg pretrain`, and what the other commands do with a classifier."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from npseg import cli
from npseg.data import Shapes
from npseg.flags.pretraining import COUNT
from npseg.flags.training import SHAPES_COUNT
from npseg.models import files
from npseg.training import checkpoints

TINY = ["--widths", "2", "2", "3", "3", "2", "--depths", "1", "1", "1", "1", "1", "--fc6", "4"]


@pytest.fixture(autouse=True, scope="module")
def few_images():
    with pytest.MonkeyPatch.context() as patch:
        for split, number in (("train", 6), ("val", 7)):
            patch.setitem(COUNT, split, number)
            patch.setitem(SHAPES_COUNT, split, number)
        yield


@pytest.fixture(scope="module")
def classifier(tmp_path_factory, few_images):
    """The folder of a finished run; tests leave it as it is."""
    output = tmp_path_factory.mktemp("runs") / "classifier"
    flags = ["--steps", "4", "--image-size", "32", "64", "--validate-every", "2", *TINY]
    assert cli.main(["pretrain", "--output", str(output), *flags]) == 0
    return output


def train(*arguments):
    return cli.main(["train", *map(str, arguments)])


def error_of(arguments, capsys):
    """The exit status and the one line on standard error of a command that fails."""
    status = cli.main([str(argument) for argument in arguments])
    _, err = capsys.readouterr()
    assert err.count("\n") == 1
    return status, err


def test_pretrain_leaves_a_whole_run(classifier):
    assert sorted(path.name for path in classifier.iterdir()) == [
        "best.npz",
        "checkpoint.npz",
        "config.json",
        "curves.png",
        "log.jsonl",
        "predictions.png",
    ]
    with Image.open(classifier / "predictions.png") as figure:
        assert min(figure.size) > 100
    config = json.loads((classifier / "config.json").read_text())
    assert config["network"] == {"widths": [2, 2, 3, 3, 2], "depths": [1] * 5, "fc6": 4, "dropout": 0.5}
    assert config["training"]["batch_size"] == 16
    assert config["data"]["val"] == {"kind": "single shapes", "count": 7, "seed": 0, "image_size": [32, 64]}
    assert files.load(classifier / "best.npz").parameters["fc6.weight"].shape == (4, 2 * 1 * 2)


def test_it_counts_images_and_goes_on_bit_for_bit(tmp_path, capsys):
    common = [*TINY, "--image-size", "32", "32", "--schedule", "constant", "--validate-every", "2"]
    for name, steps in (("whole", "4"), ("parts", "2")):
        assert cli.main(["pretrain", *common, "--steps", steps, "--output", str(tmp_path / name)]) == 0
    assert cli.main(["pretrain", "--resume", str(tmp_path / "parts"), "--steps", "4"]) == 0
    assert (tmp_path / "parts" / "log.jsonl").read_bytes() == (tmp_path / "whole" / "log.jsonl").read_bytes()
    out, err = capsys.readouterr()
    assert "image accuracy" in out
    assert re.search(r"step +4: mean IU [\d.]+% \(baselines [\d.]+%\), image accuracy [\d.]+% \(baselines ", err)


def test_a_fresh_folder_says_what_it_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["pretrain", "--steps", "1", "--image-size", "32", "32", "--class-weights", "median", *TINY]) == 0
    [output] = (tmp_path / "runs").iterdir()
    assert output.name.startswith("classifier-")
    assert len(json.loads((output / "config.json").read_text())["training"]["class_weights"]) == len(Shapes.classes)


def test_an_fcn_starts_from_it(tmp_path, classifier):
    flags = ["--steps", "1", "--learning-rate", "0", "--stride", "16", "--init-from", classifier]
    assert train(*flags, "--output", tmp_path / "run") == 0
    ours, task = checkpoints.load_network(tmp_path / "run" / "best.npz")
    theirs, their_task = checkpoints.load_network(classifier / "best.npz")
    assert task.normalise == their_task.normalise
    for name, value in theirs.parameters.items():
        assert np.array_equal(ours.parameters[name.replace("fc8", "score_fr")].ravel(), value.ravel()), name
    network = json.loads((tmp_path / "run" / "config.json").read_text())["network"]
    assert network == {
        "architecture": "fcn",
        "stride": 16,
        "at_once": False,
        "form": "same",
        "train_upsampling": None,
        "init_from": str(classifier),
        "on_classifier": True,
    }


@pytest.mark.parametrize(
    "flag", ["--widths 2 2 3 3 2", "--depths 1 1 1 1 1", "--fc6 4", "--dropout 0.1", "--backbone vgg11"]
)
def test_its_layers_cannot_be_described_anew(tmp_path, classifier, flag, capsys):
    arguments = ["train", "--output", tmp_path / "run", "--init-from", classifier, *flag.split()]
    status, error = error_of(arguments, capsys)
    assert status == 2
    assert error.startswith(f"npseg train: {flag.split()[0]} has no meaning with --init-from {classifier}")
    assert not (tmp_path / "run").exists()


def test_evaluate_counts_images(classifier, capsys):
    assert cli.main(["evaluate", str(classifier)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^image accuracy +[\d.]+ +[\d.]+ +-$", out, re.MULTILINE)
    assert cli.main(["evaluate", str(classifier), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["baselines"]["position"] is None


def test_predict_refuses_it(tmp_path, classifier, capsys):
    Image.new("RGB", (64, 32)).save(tmp_path / "image.png")
    status, error = error_of(["predict", classifier, tmp_path / "image.png", "--output", tmp_path / "seen"], capsys)
    assert status == 1
    assert f"npseg train --init-from {classifier}" in error
    assert not (tmp_path / "seen").exists()
