import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from same_run import assert_same_run

import npseg
from npseg.models import files
from npseg.nn import Conv2d, Graph, Node
from npseg.training import checkpoints, run
from npseg.training.divergence import DivergedError
from npseg.training.loop import training_step
from npseg.training.metrics import ConfusionMatrix
from npseg.training.run import Run

SCRIPT = Path(__file__).with_name("killed_run.py")


def run_script(folder, *moment):
    return subprocess.run(
        [sys.executable, "-W", "error", SCRIPT, folder, *map(str, moment)], capture_output=True, text=True, timeout=100
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "uninterrupted"
    done = run_script(folder)
    said = re.sub("npseg: compiling .*\n", "", done.stderr)  # where no test before has compiled the kernels
    assert (done.returncode, said) == (0, "")
    return folder


def test_a_run_leaves_its_files(uninterrupted):
    assert sorted(path.name for path in uninterrupted.iterdir()) == [
        "best.npz",
        "checkpoint.npz",
        "config.json",
        "log.jsonl",
    ]
    records = [json.loads(line) for line in (uninterrupted / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, 12))
    assert all(np.isfinite(record["loss"]) for record in records)
    rates = [record["learning_rate"] for record in records]
    assert rates[0] == 0.01
    assert rates == sorted(rates, reverse=True)
    validated = {record["step"]: record["val"] for record in records if "val" in record}
    assert list(validated) == [5, 10, 11]
    for metrics in validated.values():
        assert set(metrics) == {
            "pixel_accuracy",
            "mean_accuracy",
            "mean_iu",
            "frequency_weighted_iu",
            "class_iu",
            "baselines",
        }
        assert metrics["baselines"].keys() == {"majority", "position"}
    best = max(validated, key=lambda step: validated[step]["mean_iu"])
    assert files.read(uninterrupted / "best.npz")[2]["step"] == best
    assert files.read(uninterrupted / "checkpoint.npz")[2]["step"] == 11
    config = json.loads((uninterrupted / "config.json").read_text())
    assert config["training"]["steps"] == 11
    assert config["training"]["engine"] == npseg.get_engine()
    assert config["data"]["train"]["count"] == 7


# Files are written in this order: config, checkpoint 0, checkpoint 3, checkpoint 5, best 5, checkpoint 6 ...
@pytest.mark.parametrize(
    ("moment", "call"),
    [
        ("updating", 1),
        ("updating", 8),
        ("logging", 4),
        ("logging half a line", 1),
        ("logging half a line", 9),
        ("validating", 1),
        ("saving a checkpoint", 3),
        ("saving the best network", 1),
        ("replacing a file", 5),
        ("writing a file", 7),
    ],
)
def test_a_killed_run_resumes_bit_for_bit(uninterrupted, tmp_path, moment, call):
    killed = run_script(tmp_path / "run", moment, call)
    assert killed.returncode == -signal.SIGKILL
    resumed = Run.resume(tmp_path / "run")
    assert resumed.train()
    assert_same_run(tmp_path / "run", uninterrupted)


def test_a_run_killed_twice_resumes_bit_for_bit(uninterrupted, tmp_path):
    folder = tmp_path / "run"
    assert run_script(folder, "saving the best network", 1).returncode == -signal.SIGKILL
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2]); import killed_run as script\n"
        "script.replace_at_call(script.Adam, 'update', 4, script.die)\n"
        "script.run.Run.resume(Path(sys.argv[1])).train()"
    )
    again = subprocess.run([sys.executable, "-c", code, folder, SCRIPT.parent], timeout=100)
    assert again.returncode == -signal.SIGKILL
    assert Run.resume(folder).train()
    assert_same_run(folder, uninterrupted)


def test_a_run_killed_before_its_first_checkpoint_cannot_be_resumed(tmp_path):
    assert run_script(tmp_path / "run", "saving a checkpoint", 1).returncode == -signal.SIGKILL
    with pytest.raises(FileNotFoundError, match=r"no run to resume, there is no checkpoint\.npz"):
        Run.resume(tmp_path / "run")


def test_ctrl_c_finishes_the_step_saves_and_resumes_bit_for_bit(tmp_path, tiny_model, settings, scenes, capfd):
    def make(name):
        return Run.start(tmp_path / name, tiny_model(), *scenes, settings())

    def press_at_step_4(record):
        if record["step"] == 4:
            os.kill(os.getpid(), signal.SIGINT)

    assert make("whole").train()
    interrupted = make("interrupted")
    assert not interrupted.train(press_at_step_4)
    assert "Finishing this step, then saving" in capfd.readouterr().err
    assert interrupted.state.step == 4
    assert files.read(tmp_path / "interrupted" / "checkpoint.npz")[2]["step"] == 4
    assert Run.resume(tmp_path / "interrupted").train()
    assert_same_run(tmp_path / "interrupted", tmp_path / "whole")


def test_a_second_ctrl_c_leaves_at_once_and_keeps_the_checkpoint(tmp_path, tiny_model, settings, scenes):
    def press_twice(record):
        if record["step"] == 5:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    begun = Run.start(tmp_path / "run", tiny_model(), *scenes, settings(validate_every=100))
    with pytest.raises(KeyboardInterrupt):
        begun.train(press_twice)
    assert files.read(tmp_path / "run" / "checkpoint.npz")[2]["step"] == 3


def test_step_zero_is_saved_before_the_first_step(tmp_path, tiny_model, settings, scenes, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("the first step")

    begun = Run.start(tmp_path / "run", tiny_model(), *scenes, settings())
    monkeypatch.setattr(run, "training_step", fail)
    with pytest.raises(RuntimeError, match="the first step"):
        begun.train()
    model, _, metadata = files.read(tmp_path / "run" / "checkpoint.npz")
    assert metadata["step"] == 0
    fresh = tiny_model()
    assert all(np.array_equal(array, fresh.parameters[name]) for name, array in model.parameters.items())


def test_more_steps_go_on_and_fewer_are_refused(tmp_path, tiny_model, settings, scenes):
    folder = tmp_path / "run"
    assert Run.start(folder, tiny_model(), *scenes, settings(steps=4, schedule="constant")).train()
    with pytest.raises(ValueError, match="has made 4 steps already, more than 3"):
        Run.resume(folder, steps=3)
    longer = Run.resume(folder, steps=6)
    assert longer.train()
    assert [record["step"] for record in longer.records()] == [1, 2, 3, 4, 5, 6]
    assert json.loads((folder / "config.json").read_text())["training"]["steps"] == 6

    whole = Run.start(tmp_path / "whole", tiny_model(), *scenes, settings(steps=6, schedule="constant"))
    assert whole.train()
    assert [record["loss"] for record in longer.records()] == [record["loss"] for record in whole.records()]
    assert Run.resume(folder).train()  # nothing left to do


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("loss", ["mean", "sum"])
def test_training_learns_in_float32(tmp_path, tiny_model, settings, scenes, optimizer, loss, monkeypatch):
    rate = {"mean": 0.02, "sum": 2e-5}[loss] if optimizer == "sgd" else 0.01
    chosen = settings(steps=25, optimizer=optimizer, loss=loss, learning_rate=rate, batch_size=7, flip=False)
    begun = Run.start(tmp_path / "run", tiny_model(dropout=0.0), *scenes, chosen)
    backward, dtypes = begun.state.model.backward, set()

    def watched(grad, saved):
        gradients = backward(grad, saved)
        dtypes.update([grad.dtype, *(gradient.dtype for gradient in gradients.values())])
        return gradients

    monkeypatch.setattr(begun.state.model, "backward", watched)
    assert begun.train()
    losses = [record["loss"] for record in begun.records()]
    assert losses[-1] < 0.95 * losses[0]
    assert dtypes == {np.dtype(np.float32)}
    assert {array.dtype for array in begun.state.model.parameters.values()} == {np.dtype(np.float32)}


def test_dropout_silences_in_training_only(tmp_path, tiny_model, settings, scenes):
    losses = {}
    for dropout in (0.0, 0.5):
        begun = Run.start(tmp_path / str(dropout), tiny_model(dropout=dropout), *scenes, settings(steps=6))
        assert begun.train()
        losses[dropout] = [record["loss"] for record in begun.records()]
    assert losses[0.0][0] == losses[0.5][0]  # all scores start at zero
    assert losses[0.0][5] != losses[0.5][5]


@pytest.mark.parametrize(
    ("mean_ious", "best"), [([0.2, 0.6, 0.4], 4), ([0.6, 0.2, 0.6], 2), ([None, None, 0.4], 6), ([None] * 3, 2)]
)
def test_the_network_of_the_best_mean_iu_is_kept(tmp_path, tiny_model, settings, scenes, monkeypatch, mean_ious, best):
    coming = iter(mean_ious)

    class Prepared(ConfusionMatrix):
        def metrics(self):
            return {**super().metrics(), "mean_iu": next(coming)}

    begun = Run.start(tmp_path / "run", tiny_model(), *scenes, settings(steps=6, validate_every=2))
    networks = {}

    def remember(record):
        networks[record["step"]] = begun.state.model.parameters["fc6.weight"].copy()

    monkeypatch.setattr(run, "confusion", lambda *arguments, **keywords: Prepared(scenes[0].classes))
    assert begun.train(remember)
    model, _, metadata = files.read(tmp_path / "run" / "best.npz")
    assert metadata["step"] == begun.state.best_step == best
    assert np.array_equal(model.parameters["fc6.weight"], networks[best])


def test_class_weights_reach_the_loss(tmp_path, tiny_model, settings, scenes):
    weights = (0.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    chosen = settings(
        steps=30, class_weights=weights, batch_size=7, flip=False, learning_rate=0.03, schedule="constant"
    )
    begun = Run.start(tmp_path / "run", tiny_model(dropout=0.0), *scenes, chosen)
    assert begun.train()
    assert begun.records()[-1]["val"]["class_iu"]["background"] < 0.1  # nothing asks for the background


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path, tiny_model, settings, scenes):
    begun = Run.start(tmp_path / "run", tiny_model(), *scenes, settings())
    calls = []

    def poison(record):
        calls.append(record["step"])
        if record["step"] == 4:
            next(array for name, array in begun.state.model.parameters.items() if name.endswith(".bias"))[...] = np.nan

    with pytest.raises(DivergedError, match="step 5: the loss is nan"):
        begun.train(poison)
    assert calls == [1, 2, 3, 4]
    assert len(begun.records()) == 4
    assert checkpoints.load(tmp_path / "run" / "checkpoint.npz").step == 3


def test_parameters_that_overflow_stop_and_keep_the_checkpoint(tmp_path, tiny_model, settings, scenes):
    chosen = settings(optimizer="sgd", learning_rate=1e38, loss="sum", schedule="constant")
    begun = Run.start(tmp_path / "run", tiny_model(dropout=0.0), *scenes, chosen)
    with pytest.raises(DivergedError, match=r"step \d: .*the learning rate, .*is too high"):
        begun.train()
    model = checkpoints.load(tmp_path / "run" / "checkpoint.npz").model
    assert all(np.isfinite(array).all() for array in model.parameters.values())


def test_one_step_uses_the_keyed_generators(tmp_path, tiny_model, settings, scenes):
    """The update of a step depends on nothing but the state and the step."""
    losses = []
    for history in (0, 2):
        begun = Run.start(tmp_path / str(history), tiny_model(), *scenes, settings())
        for _ in range(history):
            training_step(begun.state, begun._batches)
        fresh = tiny_model()
        for name, array in begun.state.model.parameters.items():
            array[...] = fresh.parameters[name]
        begun.state.step = 5
        losses.append(training_step(begun.state, begun._batches)["loss"])
    assert losses[0] == losses[1]


def test_the_engine_of_the_settings_computes(tmp_path, tiny_model, settings, scenes, monkeypatch):
    begun = Run.start(tmp_path / "run", tiny_model(), *scenes, settings(steps=1, engine="sparse"))
    seen = []
    forward = begun.state.model.forward

    def watched(*arguments, **keywords):
        seen.append(npseg.get_engine())
        return forward(*arguments, **keywords)

    monkeypatch.setattr(begun.state.model, "forward", watched)
    with npseg.use_engine("im2col"):
        assert begun.train()
        assert npseg.get_engine() == "im2col"
    assert set(seen) == {"sparse"}


def test_what_cannot_be_trained_is_refused_before_the_folder_is_made(tmp_path, tiny_model, settings, scenes, pictures):
    folder = tmp_path / "run"
    for bad, message in (
        (settings(class_weights=(1.0, 2.0)), "class_weights must be one number per class, 6, got 2"),
        (settings(engine="fast"), "engine name must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            Run.start(folder, tiny_model(), *scenes, bad)
    alone = Graph([Node("conv", Conv2d(3, 6, 1), ("image",))])
    with pytest.raises(ValueError, match="model must be an FCN"):
        Run.start(folder, alone, *scenes, settings(backbone_rate=0.5))
    with pytest.raises(ValueError, match="validation must have the classes of training"):
        Run.start(folder, tiny_model(), scenes[0], pictures([[0]]), settings())
    assert not folder.exists()
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ValueError, match="a new run needs an empty folder"):
        Run.start(tmp_path, tiny_model(), *scenes, settings())
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_damaged_run_is_named(tmp_path, tiny_model, settings, scenes):
    folder = tmp_path / "run"
    assert Run.start(folder, tiny_model(), *scenes, settings(steps=3)).train()
    log = (folder / "log.jsonl").read_text()
    (folder / "log.jsonl").write_text("{broken\n" + log)
    with pytest.raises(ValueError, match=r"log\.jsonl: line 1"):
        Run.resume(folder)
    (folder / "log.jsonl").write_text(log)
    (folder / "checkpoint.npz").write_bytes((folder / "checkpoint.npz").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"checkpoint\.npz: "):
        Run.resume(folder)


def test_changed_training_data_is_noticed(tmp_path, tiny_model, settings, scenes):
    begun = Run.start(tmp_path / "run", tiny_model(), *scenes, settings(steps=2))
    begun.state.samples = 8
    assert begun.train()
    with pytest.raises(ValueError, match="its training data has changed since: 8 images of 6 classes then, 7 of 6 now"):
        Run.resume(tmp_path / "run")
