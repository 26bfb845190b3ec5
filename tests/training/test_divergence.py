"""A run that leaves the range of numbers says where and why, keeps its last good checkpoint, and can go on from it."""

import numpy as np
import pytest

from npseg.cli import main
from npseg.nn import BatchNorm2d, Conv2d, Graph, Node
from npseg.training import checkpoints, divergence, loop
from npseg.training.divergence import DivergedError
from npseg.training.loop import training_step
from npseg.training.run import Run


@pytest.fixture
def begun(tmp_path, tiny_model, settings, scenes):
    """A run before its first step, and its batches."""
    return Run.start(tmp_path / "run", tiny_model(dropout=0.0), *scenes, settings(engine="im2col"))


def diverging_step(begun):
    with pytest.raises(DivergedError) as caught:
        training_step(begun.state, begun._batches)
    return str(caught.value)


def test_a_parameter_that_was_not_finite_is_named(begun):
    begun.state.model.parameters["conv3_1.weight"][0, 0, 0, 0] = np.nan
    message = diverging_step(begun)
    assert message.startswith(
        "step 1: the loss is nan: the output of layer conv3_1 is not finite, since conv3_1.weight"
    )
    assert "likely cause: weights that were not finite from the start" in message


def test_the_first_layer_that_overflows_is_named_and_the_rate_blamed(begun):
    """Infinite in conv2_1; all that follows is infinite or NaN as well."""
    for name in ("conv1_1.weight", "conv2_1.weight"):
        begun.state.model.parameters[name][...] = 1e30
    message = diverging_step(begun)
    assert "the output of layer conv2_1 is not finite; likely cause: numbers that grew beyond the largest" in message
    assert "float32, 3.4e+38: the learning rate, 0.001, is too high" in message


def test_an_image_that_is_not_finite_is_named(begun, monkeypatch):
    images, labels = begun._batches.batch(0)
    images[1, 2, 3, 4] = np.inf
    monkeypatch.setattr(begun._batches, "batch", lambda step: (images, labels))
    assert "image 1 of the batch is not finite; likely cause: a pixel or the normalisation" in diverging_step(begun)


def test_a_loss_beyond_all_numbers_is_told_from_outputs_that_are(begun, monkeypatch):
    monkeypatch.setattr(loop, "cross_entropy", lambda *arguments, **named: (np.float32(np.inf), None))
    message = diverging_step(begun)
    assert message.startswith(
        "step 1: the loss is inf: the layers' outputs are finite, the loss is not; likely cause: "
    )
    assert "a probability of 0, whose logarithm is infinite: the learning rate, 0.001, is too high" in message


def test_gradients_are_told_from_updates(begun):
    model, settings = begun.state.model, begun.state.settings
    gradients = {name: np.ones_like(array) for name, array in model.parameters.items()}
    finding = divergence.in_gradients(model, gradients, ["conv2_1.bias", "conv1_1.weight"], settings, 0.5)
    assert finding.what == "conv1_1.weight of layer conv1_1 is not finite after the update, though its gradient was"
    assert finding.cause == "a step beyond the largest float32: the learning rate, 0.5, is too high"
    for name in ("conv4_1.weight", "conv2_1.bias", "conv3_1.weight"):
        gradients[name].flat[0] = np.nan
    finding = divergence.in_gradients(model, gradients, list(gradients), settings, 0.5)
    assert finding.what == "the gradient of layer conv2_1 is not finite; on the way back this began at layer conv4_1"


def test_a_step_with_infinite_gradients_is_stopped(begun, monkeypatch):
    backward = begun.state.model.backward

    def overflowing(grad, saved):
        gradients = backward(grad, saved)
        gradients["conv5_1.weight"][...] = np.inf
        return gradients

    monkeypatch.setattr(begun.state.model, "backward", overflowing)
    assert diverging_step(begun).startswith("step 1: the gradient of layer conv5_1 is not finite; likely cause: ")


def test_running_statistics_are_watched(begun, monkeypatch):
    """Their squares overflow while the loss, of normalised maps, is still a number."""
    layers = [("conv", Conv2d(3, 6, 1)), ("norm", BatchNorm2d(6))]
    model = Graph([Node("conv", layers[0][1], ("image",)), Node("norm", layers[1][1], ("conv",))])
    model.parameters["conv.weight"][...] *= 1e25
    begun.state.model = model
    message = diverging_step(begun)
    assert message.startswith("step 1: norm.running_var of layer norm is not finite; likely cause: numbers that grew")


def test_the_message_tells_how_to_go_on_and_that_works(begun):
    """Poisoned at step 4; the checkpoint is of step 3."""

    def poison(record):
        if record["step"] == 4:
            begun.state.model.parameters["fc6.bias"][...] = np.nan

    with pytest.raises(DivergedError, match=r"step 5: .*layer fc6 .* go on from there") as caught:
        begun.train(poison)
    path = begun.folder / "checkpoint.npz"
    assert f"{path} is good, of step 3" in str(caught.value)
    assert all(np.isfinite(array).all() for array in checkpoints.load(path).model.parameters.values())
    resumed = Run.resume(begun.folder, learning_rate=1e-4)
    assert resumed.train()
    rates = [record["learning_rate"] for record in resumed.records()]
    assert len(rates) == 12
    assert rates[2] > 5e-4 > 1e-4 > rates[3]


def test_the_command_fails_in_one_line_and_resumes_at_a_smaller_rate(tmp_path, capsys):
    folder = str(tmp_path / "run")
    tiny = "--image-size 16 16 --steps 3 --batch-size 2 --widths 1 1 1 1 1 --depths 1 1 1 1 1 --fc6 1 --engine im2col"
    arguments = ["train", "--output", folder, *tiny.split(), "--optimizer", "sgd", "--learning-rate", "1e30"]
    assert main([*arguments, "--loss", "sum", "--schedule", "constant"]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("npseg train: step 1: the updated network's logits are not finite: the output of layer conv")
    assert "the learning rate, 1e+30, is too high" in last
    assert "is good, of step 0" in last
    assert f"with --resume {folder} and a smaller --learning-rate" in last
    assert main(["train", "--resume", folder, "--learning-rate", "1e-6"]) == 0
