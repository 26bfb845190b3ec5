import dataclasses
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from npseg import cli
from npseg import engines as npseg_engines
from npseg.cli import shared, training
from npseg.flags.training import SHAPES_COUNT
from npseg.models import files, vgg
from npseg.training import checkpoints

CLASSES = {"sky": (70, 130, 180), "road": (128, 64, 128), "car": (0, 0, 142)}
TINY = ["--widths", "2", "2", "3", "3", "2", "--depths", "1", "1", "1", "1", "1", "--fc6", "4"]
KEYS = ["pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu", "class_iu"]


def shapes_count(monkeypatch, **counts):
    for split, count in counts.items():
        monkeypatch.setitem(SHAPES_COUNT, split, count)


@pytest.fixture(autouse=True)
def few_shapes(monkeypatch):
    shapes_count(monkeypatch, train=6, val=3)


def write_folder(root, sizes, classes=CLASSES):
    """A data set on disk: as many images as sizes, all but the last two for training; the class is to be seen."""
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    colors = np.array(list(classes.values()), np.uint8)
    names = [f"photo{index}" for index in range(len(sizes))]
    for index, (name, (height, width)) in enumerate(zip(names, sizes, strict=True)):
        rng = np.random.default_rng(index)
        labels = (
            np.repeat(np.sort(rng.integers(0, len(classes), height)), width).reshape(height, width).astype(np.uint8)
        )
        image = (colors[labels] * 0.8 + rng.integers(0, 40, (height, width, 3))).astype(np.uint8)
        labels[0, :2] = 255
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        Image.fromarray(labels).save(root / "labels" / f"{name}.png")
    (root / "train.txt").write_text("\n".join(names[:-2]) + "\n")
    (root / "val.txt").write_text("\n".join(names[-2:]) + "\n")
    rows = [f"{index},{name},{','.join(map(str, color))}" for index, (name, color) in enumerate(classes.items())]
    (root / "classes.csv").write_text("\n".join(["id,name,r,g,b", *rows, "255,void,0,0,0"]) + "\n")
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six photographs of one size; tests leave them as they are."""
    return write_folder(tmp_path_factory.mktemp("data") / "photos", [(20, 17)] * 6)


@pytest.fixture(scope="module")
def run(tmp_path_factory, folder):
    """A finished run on the folder; tests leave it as it is."""
    output = tmp_path_factory.mktemp("runs") / "run"
    assert cli.main(["train", "--data", str(folder), "--output", str(output), "--steps", "4", *TINY]) == 0
    return output


def losses(output):
    return [json.loads(line)["loss"] for line in (output / "log.jsonl").read_text().splitlines()]


def error_of(arguments, capsys):
    """The exit status and the one line on standard error of a command that fails; nothing on standard output."""
    try:
        status = cli.main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        status = leaving.code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "Traceback" not in err
    return status, err


def npseg(*arguments, **options):
    """The command as a process of its own."""
    command = [sys.executable, "-W", "error", "-m", "npseg", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


# Training


def test_train_on_shapes_leaves_a_whole_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--steps", "3", "--image-size", "24", "20", "--stride", "16", *TINY]) == 0
    out, err = capsys.readouterr()
    [output] = (tmp_path / "runs").iterdir()
    assert output.name.startswith("shapes-fcn16s-")
    assert f"Run folder: runs/{output.name}" in out
    assert "mean IU" in out
    assert re.search(r"step +3: mean IU [\d.]+% \(baselines [\d.]+%, [\d.]+%\), pixel accuracy [\d.]+% \(", err)
    assert "loss=" in err  # the progress bar
    assert "rate=" in err
    assert sorted(path.name for path in output.iterdir()) == [
        "best.npz",
        "checkpoint.npz",
        "config.json",
        "curves.png",
        "log.jsonl",
        "predictions.png",
    ]
    for name in ("curves.png", "predictions.png"):
        with Image.open(output / name) as figure:
            assert min(figure.size) > 200
    config = json.loads((output / "config.json").read_text())
    assert config["network"]["stride"] == 16
    assert config["training"]["batch_size"] == 8
    assert config["data"]["train"]["image_size"] == [24, 20]
    assert len(losses(output)) == 3


def test_a_fresh_name_each_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = set()
    for _ in range(3):
        fresh = shared.output_folder({}, "photos-fcn8s")
        fresh.mkdir(parents=True)
        names.add(fresh)
    assert len(names) == 3
    assert all(name.parent == Path("runs") and name.name.startswith("photos-fcn8s-") for name in names)


def test_defaults_of_a_folder_are_those_of_the_readme(folder):
    chosen = training.with_defaults({"data": str(folder)})
    assert (chosen["steps"], chosen["batch_size"], chosen["optimizer"], chosen["learning_rate"]) == (
        1400,
        4,
        "adam",
        1e-3,
    )
    assert (chosen["schedule"], chosen["flip"], chosen["stride"], chosen["fc6"]) == ("polynomial", True, 8, 256)
    assert chosen["widths"] == (16, 32, 64, 128, 128)


def test_every_flag_reaches_the_run(tmp_path, folder):
    output = tmp_path / "run"
    flags = (
        "--steps 2 --validate-every 2 --checkpoint-every 1 --seed 3 --engine sparse --batch-size 2 --no-flip "
        "--scale 0.9 1.1 --crop 9 8 --stride 32 --widths 1 2 3 4 5 --depths 1 2 1 1 2 --fc6 6 --dropout 0.25 "
        "--form same --train-upsampling none --optimizer sgd --learning-rate 0.02 --momentum 0.5 --weight-decay 0.001 "
        "--backbone-rate 0.5 --schedule step --decay-every 1 --decay-factor 0.5 --loss sum --class-weights 1 2 0.5"
    )
    assert cli.main(["train", "--data", str(folder), "--output", str(output), *flags.split()]) == 0
    config = json.loads((output / "config.json").read_text())
    assert config["training"] == {
        "steps": 2,
        "batch_size": 2,
        "seed": 3,
        "optimizer": "sgd",
        "learning_rate": 0.02,
        "backbone_rate": 0.5,
        "momentum": 0.5,
        "weight_decay": 0.001,
        "schedule": "step",
        "power": 0.9,
        "decay_every": 1,
        "decay_factor": 0.5,
        "loss": "sum",
        "class_weights": [1, 2, 0.5],
        "flip": False,
        "scale": [0.9, 1.1],
        "crop": [9, 8],
        "validate_every": 2,
        "checkpoint_every": 1,
        "engine": "sparse",
        "winograd": None,
    }
    assert config["network"] == {
        "architecture": "fcn",
        "stride": 32,
        "at_once": False,
        "widths": [1, 2, 3, 4, 5],
        "depths": [1, 2, 1, 1, 2],
        "fc6": 6,
        "dropout": 0.25,
        "form": "same",
        "train_upsampling": "none",
        "init_from": None,
    }
    records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert [record["learning_rate"] for record in records] == [0.02, 0.01]
    model = files.load(output / "best.npz")
    assert model.parameters["conv2_2.weight"].shape == (2, 2, 3, 3)
    assert model.parameters["fc7.weight"].shape == (6, 6, 1, 1)
    assert "upscore.weight" not in model.trainable


def test_at_once_scales_the_skips_and_survives_a_resume(tmp_path, folder, capsys):
    def layers(output):
        return files.load(output / "checkpoint.npz").describe()["nodes"]

    plain, scaled = tmp_path / "plain", tmp_path / "scaled"
    common = ["train", "--data", str(folder), "--steps", "1", *TINY]
    assert cli.main([*common, "--output", str(plain)]) == 0
    assert cli.main([*common, "--output", str(scaled), "--at-once"]) == 0
    assert json.loads((scaled / "config.json").read_text())["network"]["at_once"] is True
    before = layers(scaled)
    added = [node for node in before if node["name"] not in {node["name"] for node in layers(plain)}]
    assert [node["options"] for node in added] == [{"factor": factor} for factor in (0.01, 0.0001)]
    assert cli.main(["train", "--resume", str(scaled), "--steps", "2"]) == 0
    assert layers(scaled) == before
    capsys.readouterr()
    status, error = error_of([*common, "--stride", "32", "--at-once"], capsys)
    assert (status, "--at-once scales the maps of skips, so it needs --stride 16 or 8, got 32" in error) == (2, True)


def test_median_class_weights_are_numbers_in_the_config(tmp_path, folder):
    output = tmp_path / "run"
    flags = ["--steps", "1", "--class-weights", "median", *TINY]
    assert cli.main(["train", "--data", str(folder), "--output", str(output), *flags]) == 0
    weights = json.loads((output / "config.json").read_text())["training"]["class_weights"]
    assert len(weights) == 3
    assert all(weight > 0 for weight in weights)


def test_a_finer_net_starts_from_a_coarser_one(tmp_path, folder):
    coarse, fine = tmp_path / "coarse", tmp_path / "fine"
    common = ["train", "--data", str(folder), "--steps", "2", *TINY]
    assert cli.main([*common, "--stride", "32", "--output", str(coarse)]) == 0
    still = ["--learning-rate", "0", "--init-from", str(coarse)]
    assert cli.main([*common, "--stride", "16", "--output", str(fine), *still]) == 0
    parent, child = files.load(coarse / "best.npz"), files.load(fine / "best.npz")
    for name in ("conv1_1.weight", "fc6.bias", "score_fr.weight"):
        assert np.array_equal(parent.parameters[name], child.parameters[name])
    assert not child.parameters["score_pool4.weight"].any()
    assert json.loads((fine / "config.json").read_text())["network"]["init_from"] == str(coarse)


def test_a_net_starts_from_a_model_file_too(tmp_path, folder):
    source = vgg((2, 2, 3, 3, 2), (1, 1, 1, 1, 1), fc6=4, seed=9)
    files.save(source, tmp_path / "backbone.npz")
    flags = ["--steps", "1", "--learning-rate", "0", "--init-from", str(tmp_path / "backbone.npz"), *TINY]
    assert cli.main(["train", "--data", str(folder), "--output", str(tmp_path / "run"), *flags]) == 0
    trained = files.load(tmp_path / "run" / "best.npz")
    assert np.array_equal(trained.parameters["fc6.weight"], source.parameters["fc6.weight"])


def test_images_of_different_sizes_need_a_crop_or_one_image_per_step(tmp_path, capsys):
    mixed = write_folder(tmp_path / "mixed", [(20, 17), (18, 23), (25, 16), (16, 16)])
    train = ["train", "--data", str(mixed), "--steps", "2", *TINY, "--output"]
    assert cli.main([*train, str(tmp_path / "a"), "--batch-size", "2"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("npseg train: images of one batch must have one size")
    assert "--crop" in error
    assert cli.main([*train, str(tmp_path / "b"), "--batch-size", "1"]) == 0
    assert cli.main([*train, str(tmp_path / "c"), "--crop", "16", "16"]) == 0
    records = [json.loads(line) for line in (tmp_path / "c" / "log.jsonl").read_text().splitlines()]
    assert records[-1]["val"]["baselines"]["position"] is None


@pytest.mark.parametrize("name", ["photo0", "photo5"])
def test_a_broken_picture_shows_before_the_first_step(tmp_path, name, capsys):
    root = write_folder(tmp_path / "photos", [(20, 17)] * 6)
    (root / "labels" / f"{name}.png").write_bytes(b"not a picture")
    message = error_of(["train", "--data", root, "--output", tmp_path / "run", *TINY], capsys)[1]
    assert f"{name}.png" in message
    assert not (tmp_path / "run").exists()


def test_resume_goes_on_bit_for_bit(tmp_path, folder):
    def train(*arguments):
        return cli.main(["train", *map(str, arguments)])

    common = ["--data", folder, *TINY, "--schedule", "constant", "--validate-every", "2"]
    assert train(*common, "--steps", 6, "--output", tmp_path / "whole") == 0
    assert train(*common, "--steps", 4, "--output", tmp_path / "parts") == 0
    assert train("--resume", tmp_path / "parts", "--steps", 6) == 0
    assert (tmp_path / "parts" / "log.jsonl").read_bytes() == (tmp_path / "whole" / "log.jsonl").read_bytes()
    assert train("--resume", tmp_path / "parts", "--output", tmp_path / "parts") == 0  # nothing left to do
    assert len(losses(tmp_path / "parts")) == 6


@pytest.mark.parametrize("engine", npseg_engines())
def test_train_says_which_engine_computes(tmp_path, folder, engine, capsys):
    common = ["--data", str(folder), "--steps", "1", *TINY, "--engine", engine]
    assert cli.main(["train", *common, "--output", str(tmp_path / "run")]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Engine: ")]
    assert line.startswith(f"Engine: {engine}")
    if engine == "numba":
        assert re.search(r"numba [\d.]+, \S+ with vectors of \d+ bits, threads \d+ \(\w+\), winograd f4", line)
    if engine == "im2col":
        assert "blas" in line.lower() or "accelerate" in line


@pytest.mark.skipif("numba" not in npseg_engines(), reason="Numba is not installed")
def test_winograd_is_recorded_and_survives_a_resume(tmp_path, folder):
    def train(*arguments):
        return cli.main(["train", *map(str, arguments)])

    def recorded(output):
        config = json.loads((output / "config.json").read_text())["training"]
        settings = checkpoints.load(output / "checkpoint.npz").settings
        assert (settings.engine, settings.winograd) == (config["engine"], config["winograd"])
        return settings.engine, settings.winograd

    common = ["--data", folder, *TINY, "--steps", 1, "--engine", "numba"]
    assert train(*common, "--output", tmp_path / "usual") == 0
    assert recorded(tmp_path / "usual") == ("numba", "f4")
    assert train(*common, "--output", tmp_path / "run", "--winograd", "f2") == 0
    assert recorded(tmp_path / "run") == ("numba", "f2")
    for step, flags, expected in (
        (2, [], ("numba", "f2")),
        (3, ["--winograd", "off"], ("numba", "off")),
        (4, [], ("numba", "off")),
        (5, ["--engine", "im2col"], ("im2col", None)),
        (6, [], ("im2col", None)),
        (7, ["--engine", "numba"], ("numba", "f4")),
    ):
        assert train("--resume", tmp_path / "run", "--steps", step, *flags) == 0
        assert recorded(tmp_path / "run") == expected


@pytest.mark.parametrize("steps_before", [0, 1, 9])
def test_a_killed_command_resumes_bit_for_bit(tmp_path, folder, steps_before):
    steps = 25
    arguments = ["--data", folder, *TINY, "--steps", steps, "--checkpoint-every", 4]
    assert cli.main(["train", *map(str, arguments), "--output", str(tmp_path / "whole")]) == 0

    output = tmp_path / "killed"
    process = npseg("train", *arguments, "--output", output)
    deadline = time.monotonic() + 60
    while not (output / "checkpoint.npz").exists() or len(losses_so_far(output)) < steps_before:
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (output / "curves.png").exists()

    assert cli.main(["train", "--resume", str(output)]) == 0
    assert losses(output) == losses(tmp_path / "whole")
    for name in ("checkpoint.npz", "best.npz"):
        ours, theirs = files.load(output / name), files.load(tmp_path / "whole" / name)
        assert all(np.array_equal(array, theirs.parameters[name]) for name, array in ours.parameters.items())


def losses_so_far(output):
    """The whole lines of a log that another process writes."""
    log = output / "log.jsonl"
    return log.read_bytes().split(b"\n")[:-1] if log.exists() else []


def test_ctrl_c_saves_and_leaves_with_a_message(tmp_path, folder):
    output = tmp_path / "run"
    process = npseg("train", "--data", folder, *TINY, "--steps", 100_000, "--output", output)
    deadline = time.monotonic() + 60
    while len(losses_so_far(output)) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Finishing this step, then saving" in err
    assert "Traceback" not in err
    step = files.read(output / "checkpoint.npz")[2]["step"]
    assert f"Stopped and saved after step {step}. Go on with: npseg train --resume {output}" in out
    assert len(losses(output)) == step
    assert checkpoints.load(output / "checkpoint.npz").step == step >= 3


def test_ctrl_c_elsewhere_is_one_line(monkeypatch, capsys):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "locate", interrupted)
    assert error_of(["evaluate", "run"], capsys) == (130, "npseg evaluate: interrupted\n")


def test_a_loss_out_of_range_is_one_line(tmp_path, folder, capsys):
    flags = ["--steps", "9", "--optimizer", "sgd", "--learning-rate", "1e38", "--schedule", "constant", *TINY]
    output = tmp_path / "run"
    assert cli.main(["train", "--data", str(folder), "--output", str(output), *flags]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("npseg train: step ")
    assert "is too high" in last
    assert last.endswith("and a smaller --learning-rate")
    assert checkpoints.load(output / "checkpoint.npz").step <= len(losses(output)) < 9


def test_an_output_in_use_is_refused(run, folder, capsys):
    before = {path: path.read_bytes() for path in run.iterdir()}
    status, error = error_of(["train", "--data", folder, "--output", run, *TINY], capsys)
    assert status == 2
    assert error.startswith(f"npseg train: --output {run} is in use")
    assert {path: path.read_bytes() for path in run.iterdir()} == before


def test_an_empty_output_is_taken(tmp_path, folder):
    (tmp_path / "run").mkdir()
    arguments = ["train", "--data", str(folder), "--output", str(tmp_path / "run"), "--steps", "1", *TINY]
    assert cli.main(arguments) == 0


# Evaluation


@pytest.mark.parametrize("name", [None, "best.npz", "checkpoint.npz"])
@pytest.mark.parametrize("split", ["val", "train"])
def test_evaluate_prints_one_json_object(run, capsys, name, split):
    path = run if name is None else run / name
    assert cli.main(["evaluate", str(path), "--split", split, "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert err == ""
    assert list(result) == [*KEYS, "baselines"]
    assert list(result["class_iu"]) == list(CLASSES)
    assert list(result["baselines"]) == ["majority", "position"]
    for metrics in result["baselines"].values():
        assert list(metrics) == KEYS
    majority = result["baselines"]["majority"]["class_iu"]
    assert sorted(majority.values())[:2] == [0, 0]
    assert max(majority.values()) == result["baselines"]["majority"]["pixel_accuracy"] > 0


def test_evaluate_repeats_the_validation_of_the_log(run, capsys):
    assert cli.main(["evaluate", str(run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    best = files.read(run / "best.npz")[2]["step"]
    assert result == json.loads((run / "log.jsonl").read_text().splitlines()[best - 1])["val"]


def test_evaluate_prints_a_table_beside_the_baselines(run, capsys):
    assert cli.main(["evaluate", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["network", "majority", "position"]
    assert [line[:16].strip() for line in lines[2:4]] == ["pixel accuracy", "mean accuracy"]
    assert [line.split()[2] for line in lines[6:]] == list(CLASSES)


def test_evaluate_other_data_of_the_same_classes(tmp_path, run, capsys):
    other = write_folder(tmp_path / "other", [(16, 30), (30, 17), (8, 9), (33, 1)])
    assert cli.main(["evaluate", str(run), "--data", str(other), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["baselines"]["position"] is None
    assert result["pixel_accuracy"] is not None


def test_evaluate_a_class_that_is_nowhere_is_null(tmp_path, capsys):
    folder = write_folder(tmp_path / "photos", [(20, 17)] * 6)
    with (folder / "classes.csv").open("a") as classes:
        classes.write("3,zebra,1,2,3\n")
    output = tmp_path / "run"
    assert cli.main(["train", "--data", str(folder), "--output", str(output), "--steps", "1", *TINY]) == 0
    capsys.readouterr()
    assert cli.main(["evaluate", str(output), "--json"]) == 0
    out = capsys.readouterr().out
    assert "NaN" not in out
    assert json.loads(out)["baselines"]["majority"]["class_iu"]["zebra"] is None


def test_evaluate_refuses_data_of_other_classes(tmp_path, run, capsys):
    fewer = write_folder(tmp_path / "fewer", [(16, 16)] * 3, {"sky": (0, 0, 1), "road": (0, 1, 0)})
    status, error = error_of(["evaluate", run, "--data", fewer, "--json"], capsys)
    assert status == 1
    assert error == f"npseg evaluate: {fewer}: has 2 classes, the network 3\n"
    renamed = write_folder(tmp_path / "renamed", [(16, 16)] * 3, {"a": (0, 0, 1), "b": (0, 1, 0), "c": (1, 0, 0)})
    status, error = error_of(["evaluate", run, "--data", renamed], capsys)
    assert status == 1
    assert "('a', 'b', 'c')" in error


# Prediction


@pytest.mark.parametrize("size", [(20, 17), (1, 1), (33, 50), (7, 90)])
def test_predict_writes_label_map_and_overlay_of_any_size(tmp_path, run, size, capsys):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "my photo.png")
    output = tmp_path / "new" / "predictions"
    assert cli.main(["predict", str(run), str(tmp_path / "my photo.png"), "--output", str(output)]) == 0
    assert sorted(path.name for path in output.iterdir()) == ["my photo_label.png", "my photo_overlay.png"]
    with Image.open(output / "my photo_label.png") as label:
        assert label.mode == "P"
        assert label.size == size[::-1]
        ids = np.asarray(label)
        assert label.getpalette()[:9] == [value for color in CLASSES.values() for value in color]
    model, task = checkpoints.load_network(run / "best.npz")
    logits = model(task.normalise(image)[np.newaxis])
    assert np.array_equal(ids, logits[0].argmax(axis=0))
    with Image.open(output / "my photo_overlay.png") as overlay:
        assert overlay.mode == "RGB"
        assert overlay.size == size[::-1]


def test_predict_writes_into_the_current_folder(tmp_path, run, folder, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    images = [str(folder / "images" / f"photo{index}.png") for index in range(2)]
    assert cli.main(["predict", str(run / "checkpoint.npz"), *images]) == 0
    assert sorted(path.name for path in Path().iterdir()) == [
        f"photo{index}_{kind}.png" for index in range(2) for kind in ("label", "overlay")
    ]


def test_predict_refuses_equal_stems_before_anything_is_written(tmp_path, run, folder, capsys):
    image = folder / "images" / "photo0.png"
    copy = tmp_path / "photo0.jpg"
    with Image.open(image) as picture:
        picture.save(copy)
    status, error = error_of(["predict", run, image, copy, "--output", tmp_path / "out"], capsys)
    assert status == 2
    assert "photo0_label.png" in error
    assert not (tmp_path / "out").exists()


def test_predict_never_overwrites_an_image(tmp_path, run, folder, capsys):
    first, second = tmp_path / "a.png", tmp_path / "a_label.png"
    for path in (first, second):
        path.write_bytes((folder / "images" / "photo0.png").read_bytes())
    status, error = error_of(["predict", run, first, second, "--output", tmp_path], capsys)
    assert status == 2
    assert "would be overwritten" in error
    assert second.read_bytes() == first.read_bytes()


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["paint"], "invalid choice: 'paint'"),
        (["train", "--steps", "0"], "argument --steps: must be at least 1, got 0"),
        (["train", "--seed", "-1"], "argument --seed: must be at least 0, got -1"),
        (["train", "--steps", "many"], "argument --steps"),
        (["train", "--step", "3"], "unrecognized arguments: --step 3"),
        (["train", "--stride", "4"], "argument --stride"),
        (["train", "--winograd", "f8"], "argument --winograd: invalid choice: 'f8' (choose from"),
        (["train", "--widths", "1", "2"], "argument --widths: expected 5 arguments"),
        (["train", "--class-weights", "heavy"], "argument --class-weights"),
        (["train", "--momentum", "0.5"], "--momentum has no meaning with --optimizer adam"),
        (["train", "--decay-every", "5"], "--decay-every has no meaning with --schedule polynomial"),
        (["train", "--power", "1", "--schedule", "step"], "--power has no meaning with --schedule step"),
        (["train", "--data", "x", "--image-size", "20", "20"], "--image-size has no meaning with --data a folder"),
        (["train", "--resume", "run", "--seed", "3"], "--seed cannot be given with it"),
        (["train", "--resume", "run", "--output", "other"], "--output cannot name another"),
        (["evaluate"], "the following arguments are required: RUN_OR_CHECKPOINT"),
        (["predict", "run"], "the following arguments are required: IMAGE"),
    ],
)
def test_usage_errors_are_one_line_and_status_2(arguments, message, capsys):
    status, error = error_of(arguments, capsys)
    assert status == 2
    assert message in error


def test_other_errors_are_one_line_and_status_1(tmp_path, run, folder, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("broken.png").write_bytes(b"no image")
    Path("empty").mkdir()
    for arguments, message in (
        (["train", "--resume", "none"], "none: no run to resume"),
        (["train", "--resume", run, "--steps", "3"], "has made 4 steps already, more than 3"),
        (["train", "--data", "none"], "none"),
        (["train", "--engine", "fast"], "engine name must be one of"),
        (["train", "--engine", "sparse", "--winograd", "f2"], "engine 'sparse' has no option 'winograd'; it has none"),
        (["train", "--dropout", "1"], "dropout"),
        (["train", "--learning-rate", "nan"], "learning_rate"),
        (["train", "--scale", "2", "1"], "high must be at least 2.0, got 1.0"),
        (["train", "--class-weights", "1", "2"], "class_weights must be one number per class, 6, got 2"),
        (["train", "--init-from", "none.npz"], "none.npz: No such file or directory"),
        (["evaluate", "none"], "none: No such file or directory"),
        (["evaluate", "empty"], "empty: the folder of no run"),
        (["evaluate", "broken.png"], "broken.png: not an .npz file"),
        (["evaluate", run, "--split", "test"], "test"),
        (["evaluate", run, "--data", "none"], "none"),
        (["evaluate", run, "--engine", "fast"], "engine name must be one of"),
        (["evaluate", run, "--engine", "im2col", "--winograd", "off"], "engine 'im2col' has no option 'winograd'"),
        (["predict", run, "none.png"], "none.png"),
        (["predict", run, "broken.png"], "broken.png"),
        (["predict", run, folder / "images" / "photo0.png", "--engine", "loops", "--winograd", "f4"], "no option"),
        (["predict", "none", folder / "images" / "photo0.png"], "none: No such file or directory"),
    ):
        status, error = error_of(arguments, capsys)
        assert (status, arguments) == (1, arguments)
        assert message in error
    assert not Path("runs").exists()


def test_a_run_whose_engine_is_not_here_asks_for_another(tmp_path, folder, capsys):
    """As one trained where Numba is installed, and resumed where it is not."""
    output = tmp_path / "run"
    assert cli.main(["train", "--data", str(folder), "--output", str(output), "--steps", "1", *TINY]) == 0
    state = checkpoints.load(output / "checkpoint.npz")
    state.settings = dataclasses.replace(state.settings, engine="punched cards", winograd="f4")
    checkpoints.save(state, output / "checkpoint.npz")
    capsys.readouterr()
    status, error = error_of(["train", "--resume", output, "--steps", "2"], capsys)
    assert status == 1
    assert f"{output}: cannot go on with its engine, name another (--engine): " in error
    assert "'punched cards'" in error
    assert cli.main(["train", "--resume", str(output), "--steps", "2", "--engine", "im2col"]) == 0
    assert checkpoints.load(output / "checkpoint.npz").settings.engine == "im2col"


def test_data_that_has_moved_away_is_named(tmp_path, capsys):
    folder, output = write_folder(tmp_path / "photos", [(20, 17)] * 6), tmp_path / "run"
    assert cli.main(["train", "--data", str(folder), "--output", str(output), "--steps", "1", *TINY]) == 0
    capsys.readouterr()
    folder.rename(folder.with_name("elsewhere"))
    for arguments in (["evaluate", output], ["train", "--resume", output]):
        status, error = error_of(arguments, capsys)
        assert status == 1
        assert str(folder) in error


# The command as a process


@pytest.mark.parametrize("command", [[], *([name] for name in cli.COMMANDS)])
def test_help_is_quick_and_needs_no_heavy_module(command):
    code = (
        "import sys; from npseg import cli\n"
        "try: cli.main(sys.argv[1:] + ['--help'])\n"
        "except SystemExit as leaving: assert leaving.code == 0\n"
        "heavy = {'matplotlib', 'PIL', 'tqdm', 'numba', 'npseg.training', 'npseg.models', 'npseg.ops'}\n"
        "heavy &= sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    process = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")
    assert "usage: npseg" in process.stdout
    if command == ["train"]:
        assert "(default: 16 32 64 128 128" in process.stdout.replace("\n" + " " * 24, " ")


def test_a_reader_that_leaves_is_no_error(run):
    process = npseg("evaluate", run, "--json")
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 1
    process.stderr.close()


def test_json_is_clean_and_errors_go_to_stderr(run, folder):
    process = npseg("evaluate", run, "--json")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    json.loads(out)
    process = npseg("evaluate", run, "--json", "--split", "none")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert len(err.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("data", "steps"), [("shapes", "150"), ("camvid", "60")])
def test_the_default_network_soon_beats_the_baselines(tmp_path, monkeypatch, data, steps):
    shapes_count(monkeypatch, train=1000, val=100)
    if data == "camvid":
        data = Path(__file__).resolve().parents[2] / "shared" / "data" / "camvid"
        if not data.is_dir():
            pytest.skip(f"the photographs are not at hand: no folder {data}")
    output = tmp_path / "run"
    assert cli.main(["train", "--data", str(data), "--output", str(output), "--steps", steps]) == 0
    records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert records[-1]["loss"] < records[0]["loss"] / 1.5
    validations = [record["val"] for record in records if "val" in record]
    best = max(metrics["mean_iu"] for metrics in validations)
    for baseline in validations[-1]["baselines"].values():
        assert best > baseline["mean_iu"] + 0.05
