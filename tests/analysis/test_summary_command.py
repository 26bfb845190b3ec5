"""`npseg summary`: what it prints, what it refuses, and that it stays light."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from npseg.analysis import CONVENTIONS
from npseg.cli import main
from npseg.flags import counting
from npseg.models import NAMES, fcn, save, vgg


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["summary", *words]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    try:
        status = main(["summary", *words])
    except SystemExit as left:
        status = left.code  # type: ignore[assignment]
    assert status == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    return output.err


def test_the_papers_fcn8s(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fcn8s", "--backbone", "vgg16", "--input-size", "224", "224", "--classes", "21"]
    written = json.loads(printed(capsys, *words, "--json"))
    assert written["parameters"] == 134_489_759
    assert written["trainable_parameters"] == 134_362_751
    assert written["layers"][-1]["output_shape"] == [21, 224, 224]
    assert "134,489,759, trainable 134,362,751" in printed(capsys, *words)
    same = json.loads(printed(capsys, *words, "--form", "same", "--json"))
    assert same["trainable_parameters"] == same["parameters"] == 134_489_759


def test_it_loads_nothing_heavy_and_allocates_no_weight() -> None:
    """VGG16's weights would take 554 MB; the limit leaves far less beside the interpreter and NumPy."""
    code = (
        "import resource, sys\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "from npseg.cli import main\n"
        "main(['summary', 'fcn8s', '--backbone', 'vgg16', '--input-size', '224', '224', '--classes', '21'])\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "print(sorted({'numba', 'matplotlib', 'scipy', 'PIL'} & set(sys.modules)), grown)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    last = result.stdout.splitlines()[-1]
    assert last.startswith("[] ")
    assert int(last.split()[-1]) < 200_000  # KiB


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_an_image_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(printed(capsys, name, "--json"))["macs"] > 0


def test_the_flag_knows_every_convention(capsys: pytest.CaptureFixture[str]) -> None:
    assert tuple(CONVENTIONS) == counting.CONVENTIONS
    counts = {name: json.loads(printed(capsys, "context", "--convention", name, "--json")) for name in CONVENTIONS}
    assert [count["convention"] for count in counts.values()] == list(CONVENTIONS)
    assert counts["torch"]["macs"] == 2 * counts["npseg"]["macs"]


def test_forms_of_output(capsys: pytest.CaptureFixture[str]) -> None:
    names = [layer["name"] for layer in json.loads(printed(capsys, "alexnet", "--json"))["layers"]]
    assert [row["name"] for row in csv.DictReader(io.StringIO(printed(capsys, "alexnet", "--csv")))] == names
    table = printed(capsys, "alexnet", "--markdown").splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in table[2 : 2 + len(names)]] == names


def test_a_convention_says_what_is_wrong_with_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    out = printed(capsys, "fcn32s", "--convention", "thop", "--input-size", "64", "64")
    assert "convention thop: weights x output positions" in out
    assert "ConvTranspose2d: thop counts " in out
    assert "thop is wrong" in out


def test_the_crops_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "fcn32s", "--explain", "crops", "--input-range", "192", "300")
    assert "(0 - (-19)) / 1 = 19 pixels." in out
    assert "images of 192 ... 300 pixels is 81." in out


def test_a_trained_network_from_its_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = fcn(vgg((1, 2, 1, 2, 1), (1, 1, 1, 1, 1), 3), 2, 8)
    for path in (tmp_path / "small.npz", tmp_path / "best.npz"):
        save(model, path)
    for where in (tmp_path / "small.npz", tmp_path):  # a file, and a run's folder
        written = json.loads(printed(capsys, str(where), "--input-size", "40", "33", "--json"))
        assert written["parameters"] == sum(array.size for array in model.parameters.values())
        assert written["layers"][-1]["output_shape"] == [2, 40, 33]
    assert "--input-size must be given" in refused(capsys, str(tmp_path))
    assert "--classes has no meaning" in refused(capsys, str(tmp_path), "--classes", "3")


def test_mistakes_are_named_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'mobilenet-v1'" in refused(capsys, "mobilenet")
    assert "backbone must be one of" in refused(capsys, "fcn8s", "--backbone", "resnet")
    assert "form has a meaning for" in refused(capsys, "alexnet", "--form", "same")
    assert "--input-range has a meaning with --explain" in refused(capsys, "fcn8s", "--input-range", "1", "2")
    assert "--explain is text" in refused(capsys, "fcn8s", "--explain", "crops", "--json")
    assert "not allowed with" in refused(capsys, "fcn8s", "--csv", "--json")
    assert "argument --convention: invalid choice: 'flops'" in refused(capsys, "fcn8s", "--convention", "flops")
    assert main(["summary", "alexnet", "--input-size", "20", "20"]) == 1
    assert "kernel_size must fit" in capsys.readouterr().err
