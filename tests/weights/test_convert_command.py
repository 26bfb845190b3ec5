"""`npseg convert`."""

import sys

import numpy as np
import pytest

from npseg import cli, flags, models, weights


@pytest.fixture
def source(tmp_path):
    """A small classifier under torchvision's names."""
    model = models.vgg_classifier((2, 3, 4, 5, 6), (1, 1, 2, 2, 2), 7, 8, (64, 64), seed=3)
    names = {ours: theirs for theirs, ours in weights.torchvision_vgg("vgg11").items()}
    weights.write(tmp_path / "vgg11.pth", {names[name]: value for name, value in model.parameters.items()})
    return tmp_path / "vgg11.pth"


def convert(*arguments):
    return cli.main(["convert", *map(str, arguments)])


def test_the_flags_name_what_can_be_converted():
    assert flags.weights.CONVERTED == weights.SOURCES


def test_it_writes_a_network_and_says_what_it_is(source, tmp_path, capsys):
    target = tmp_path / "start.npz"
    assert convert(source, target, "--from", "torchvision-vgg11") == 0
    network = models.load(target)
    count = sum(value.size for value in network.parameters.values())
    assert capsys.readouterr().out == f"{target}: {count:,} parameters in 22 arrays, fc6 7 x 6 x 2 x 2\n"
    np.testing.assert_array_equal(
        network.parameters["fc6.weight"].ravel(), weights.read(source)["classifier.0.weight"].ravel()
    )


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["vgg11.pth", "start.npz", "--from", "torchvision-vgg16"], 1, "missing: conv1_2.weight"),
        (["none.pth", "start.npz", "--from", "torchvision-vgg11"], 1, "none.pth: No such file or directory"),
        (["vgg11.pth", "start.bin", "--from", "torchvision-vgg11"], 1, "must end in .npz"),
        (["vgg11.pth", "vgg11.pth", "--from", "torchvision-vgg11"], 2, "would be overwritten"),
    ],
)
def test_mistakes_are_one_line(source, monkeypatch, capsys, arguments, status, message):
    monkeypatch.chdir(source.parent)
    assert convert(*arguments) == status
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert list(source.parent.iterdir()) == [source]


def test_a_missing_library_is_one_line(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert convert(source, tmp_path / "start.safetensors", "--from", "torchvision-vgg11") == 1
    assert "pip install 'npseg[weights]'" in capsys.readouterr().err
