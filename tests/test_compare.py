"""`npseg compare`, and `npseg train --architecture`: every system trains, and what is interrupted goes on."""

import csv
import json
import os
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from npseg import cli
from npseg.analysis import summary
from npseg.flags.comparing import SYSTEMS as NAMES
from npseg.flags.training import ARCHITECTURE_DEFAULTS, NETWORK_DEFAULTS, SHAPES_COUNT
from npseg.models import SYSTEMS, Proportions, load, system
from npseg.training import checkpoints
from npseg.training.comparison import Comparison, Plan
from npseg.training.loop import Record
from npseg.training.settings import Settings

TINY = ["--widths", "2", "2", "3", "3", "4", "--depths", "1", "1", "1", "1", "1"]


@pytest.fixture(autouse=True)
def few_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    for split, count in {"train": 6, "val": 3}.items():
        monkeypatch.setitem(SHAPES_COUNT, split, count)


def compare(*arguments: object) -> int:
    return cli.main(["compare", *map(str, arguments), "--steps", "2", "--batch-size", "2", "--engine", "im2col"])


def test_the_flags_know_all_systems() -> None:
    assert tuple(SYSTEMS) == NAMES
    fcn = {**NETWORK_DEFAULTS, **ARCHITECTURE_DEFAULTS["fcn"]}
    assert {name: fcn[name] for name in asdict(Proportions())} == asdict(Proportions())
    assert set(ARCHITECTURE_DEFAULTS) - {"fcn"} == {name for name in NAMES if not name.startswith("fcn")}


def test_a_comparison_leaves_its_table_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "all"
    assert compare("--output", folder, "--systems", "fcn8s", "segnet", "--seed", "3") == 0
    out, err = capsys.readouterr()
    assert "fcn8s" in out
    assert "segnet: mean IU" in err
    rows = list(csv.DictReader((folder / "comparison.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["fcn8s", "segnet"]
    for row, written in zip(rows, json.loads((folder / "comparison.json").read_text()), strict=True):
        model = system(row["name"], 6)
        assert int(row["macs"]) == written["macs"] == summary(model, (64, 64)).macs
        assert int(row["parameters"]) == sum(value.size for value in model.parameters.values())
        last = json.loads((folder / row["name"] / "log.jsonl").read_text().splitlines()[-1])
        assert (last["step"], last["val"]["mean_iu"]) == (2, written["mean_iu"])
    configs = [json.loads((folder / name / "config.json").read_text()) for name in ("fcn8s", "segnet")]
    assert configs[0]["training"] == configs[1]["training"]
    assert (configs[0]["training"]["seed"], configs[0]["training"]["steps"]) == (3, 2)
    markdown = (folder / "comparison.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in markdown] == ["| network", "| :--", "| fcn8s", "| segnet"]
    for name in ("comparison.png", "predictions.png"):
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 150

    before = (folder / "fcn8s" / "checkpoint.npz").stat().st_mtime_ns
    assert cli.main(["compare", "--resume", str(folder)]) == 0
    assert (folder / "fcn8s" / "checkpoint.npz").stat().st_mtime_ns == before


def plan(*systems: str, steps: int = 3) -> Plan:
    settings = Settings(steps=steps, batch_size=2, validate_every=steps, checkpoint_every=1, engine="im2col")
    return Plan(systems, settings.settled())


def test_what_is_interrupted_goes_on_where_it_was(tmp_path: Path) -> None:
    from npseg.cli.shared import open_data

    def data() -> list[Any]:
        return [open_data("shapes", split, (32, 32)) for split in ("train", "val")]

    def interrupt(record: Record) -> None:
        if record["step"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    whole = Comparison.start(tmp_path / "whole", plan("segnet", "fcn32s"), *data())
    assert whole.train("segnet")
    assert whole.train("fcn32s")
    halved = Comparison.start(tmp_path / "halved", plan("segnet", "fcn32s"), *data())
    assert not halved.train("segnet", interrupt)
    assert halved.step("segnet") == 2
    assert halved.step("fcn32s") == 0
    with pytest.raises(OSError, match=r"no best\.npz"):
        halved.outcome("segnet")
    (tmp_path / "halved" / "fcn32s").mkdir()  # as a start leaves it that is killed at once
    (tmp_path / "halved" / "fcn32s" / "config.json").write_text("{}")
    again = Comparison.resume(tmp_path / "halved", *data())
    assert again.plan == halved.plan
    for name in again.plan.systems:
        assert again.train(name)
        mine, other = again.outcome(name), whole.outcome(name)
        assert mine.evaluation == other.evaluation
        assert mine.seconds_per_step is not None
        assert mine.seconds_per_step > 0
        for key, value in mine.model.parameters.items():
            np.testing.assert_array_equal(value, other.model.parameters[key])


def test_mistakes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("")
    assert compare("--output", tmp_path / "used") == 2
    assert "is in use" in capsys.readouterr().err
    assert cli.main(["compare", "--resume", str(tmp_path), "--steps", "3"]) == 2
    assert "--steps cannot be given with it" in capsys.readouterr().err
    assert cli.main(["compare", "--resume", str(tmp_path)]) == 1
    (tmp_path / "plan.json").write_text('{"systems": []}')
    assert cli.main(["compare", "--resume", str(tmp_path)]) == 1
    assert "not the plan of a comparison" in capsys.readouterr().err
    with pytest.raises(ValueError, match="each once"):
        plan("segnet", "segnet")
    with pytest.raises(ValueError, match="systems must be one of"):
        plan("u-net")
    with pytest.raises(SystemExit, match="2"):
        cli.main(["compare", "--systems", "u-net"])


@pytest.mark.parametrize("name", [name for name in ARCHITECTURE_DEFAULTS if name != "fcn"])
def test_each_architecture_trains_and_resumes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--image-size", "40", "33", "--batch-size", "2", "--engine", "im2col", *TINY]
    assert cli.main(["train", "--architecture", name, "--steps", "1", *small]) == 0
    [run] = (tmp_path / "runs").iterdir()
    assert run.name.startswith(f"shapes-{name}-")
    assert json.loads((run / "config.json").read_text())["network"]["architecture"] == name
    model = load(run / "best.npz")
    assert cli.main(["train", "--resume", str(run), "--steps", "2"]) == 0
    state = checkpoints.load(run / "checkpoint.npz")
    assert state.step == 2
    assert state.model.nodes == model.nodes


def test_flags_of_another_architecture_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--architecture", "segnet", "--stride", "16"]) == 2
    assert "--stride has no meaning with --architecture segnet" in capsys.readouterr().err
