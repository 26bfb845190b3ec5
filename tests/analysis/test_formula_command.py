"""`npseg formula`: flags to arguments, one line for each mistake, JSON, figures."""

import json
import re

import pytest

from npseg import cli
from npseg.analysis import formulas
from npseg.flags import make_parser


def out_of(capsys, *words):
    assert cli.main(["formula", *words]) == 0
    return capsys.readouterr().out


def error_of(capsys, *words):
    try:
        status = cli.main(["formula", *words])
    except SystemExit as leaving:
        status = leaving.code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return status, err


def test_the_derivation_is_printed(capsys):
    words = [
        "separable",
        "--in",
        "64",
        "--out",
        "128",
        "--kernel",
        "3",
        "--padding",
        "same",
        "--input-size",
        "56",
        "56",
        "--no-bias",
    ]
    printed = out_of(capsys, *words)
    assert "parameters     = K*K*C + C*M = 3*3*64 + 64*128 = 8,768\n" in printed
    assert "separable/full = 1/M + 1/(K*K) = 1/128 + 1/(3*3) = 137/1152 = 0.1189\n" in printed


@pytest.mark.parametrize(
    ("words", "cost"),
    [
        ("conv2d --in 64 --out 128 --kernel 3", formulas.conv2d(64, 128, 3)),
        (
            "dilated --in 4 --out 6 --kernel 3 2 --padding 1 2 3 4 --dilation 2 --groups 2 --stride 2 1 "
            "--dtype float64",
            formulas.conv2d(
                4, 6, (3, 2), padding=((1, 2), (3, 4)), dilation=2, groups=2, stride=(2, 1), dtype="float64"
            ),
        ),
        (
            "depthwise --in 4 --kernel 3 --multiplier 2 --padding 1 2",
            formulas.depthwise_conv2d(4, 3, multiplier=2, padding=(1, 2)),
        ),
        (
            "transposed --in 21 --out 21 --kernel 64 --stride 32 --padding 16 --input-size 7 7 --output-padding 1 2",
            formulas.conv_transpose2d(21, 21, 64, (7, 7), stride=32, padding=16, output_padding=(1, 2)),
        ),
        ("linear --in 25088 --out 4096 --no-bias", formulas.linear(25088, 4096, bias=False)),
        ("max_pool2d --in 64 --kernel 3 --stride 2 --ceil-mode", formulas.max_pool2d(64, 3, stride=2, ceil_mode=True)),
        ("avg-pool --in 64 --kernel 2 --padding valid", formulas.avg_pool2d(64, 2)),
        ("global-avg-pool --in 64 --input-size 7 9", formulas.global_avg_pool2d(64, (7, 9))),
        (
            "max-unpool --in 3 --output-size 9 7 --input-size 4 3",
            formulas.max_unpool2d(3, None, (4, 3), output_size=(9, 7)),
        ),
        ("nearest --in 3 --scale 2 3", formulas.nearest_unpool2d(3, (2, 3))),
        ("bed_of_nails --in 3 --scale 2", formulas.bed_of_nails_unpool2d(3, 2)),
        ("bilinear --in 21 --scale 8 --input-size 28 28", formulas.resize_bilinear(21, 8, (28, 28))),
        ("batch-norm --in 64 --input-size 56 40", formulas.batch_norm2d(64, (56, 40))),
    ],
)
def test_json_is_the_formula_s(words, cost, capsys):
    printed = json.loads(out_of(capsys, *words.split(), "--json"))
    assert printed == cost.as_dict()
    assert {"parameters", "macs", "output_size"} <= printed.keys()


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("", 2, "needs an operation, one of conv2d"),
        ("convolution --in 3", 1, "operation must be one of"),
        ("conv2d --in 3 --kernel 3", 2, "conv2d needs --out"),
        ("max-pool --in 3 --out 3 --kernel 2", 2, "max-pool takes no --out; it takes --in, --kernel"),
        ("linear --in 3 --out 3 --padding 1", 2, "linear takes no --padding"),
        ("conv2d --in 3 --out 3 --kernel 3 3 3", 2, "--kernel: needs one number or height and width, got 3 3 3"),
        ("conv2d --in 3 --out 3 --kernel 3 --padding 1 2 3", 2, "--padding: needs one, two"),
        ("conv2d --in 3 --out 3 --kernel 3 --padding -1", 2, "--padding"),
        ("conv2d --in 3 --out 3 --kernel 3 --padding big", 2, "got big"),
        ("conv2d --in 0 --out 3 --kernel 3", 2, "--in: must be at least 1"),
        ("conv2d --in 3 --out 3 --kernel 0", 1, "kernel_size must be at least 1"),
        ("conv2d --in 3 --out 4 --kernel 300", 1, "Nearest values that work, one change at a time: kernel_size 224;"),
        ("bilinear --in 3", 1, "scale or output_size must be given"),
        ("conv2d --figures folder", 2, "it takes no operation"),
        ("--json --figures folder", 2, "no other flag"),
    ],
)
def test_mistakes_are_one_line(words, status, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, error = error_of(capsys, *words.split())
    assert found == status
    assert says in error
    assert not list(tmp_path.iterdir())


def test_figures_are_written(capsys, tmp_path):
    printed = out_of(capsys, "--figures", str(tmp_path / "new" / "folder"))
    written = sorted((tmp_path / "new" / "folder").iterdir())
    assert [path.name for path in written] == ["costs.png", "effective_fields.png", "fields.png"]
    assert sorted(printed.split()) == [str(path) for path in written]


def test_help_names_every_operation(capsys):
    with pytest.raises(SystemExit):
        make_parser().parse_args(["formula", "--help"])
    text = re.sub(r"-\s+", "-", capsys.readouterr().out)
    assert ", ".join(formulas.OPERATIONS) in " ".join(text.split())
