"""`npseg explain`: every operation it names can be shown, in text and as a picture, and what makes no sense is said."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from npseg import cli, ops
from npseg.flags import make_parser
from npseg.flags.teaching import EXPLAINED
from npseg.teaching import OPERATIONS, Stages, demonstration, text, trace

NO_BACKWARD = {"deconvolve2d"}


def explain(capsys, *words):
    """Exit status, standard output, standard error."""
    try:
        status = cli.main(["explain", *words])
    except SystemExit as error:
        status = error.code
    return status, *capsys.readouterr()


def test_the_flags_and_the_demonstrations_name_the_same_operations():
    assert set(EXPLAINED) == set(demonstration.DEFAULTS)
    backward = {f"{name}_backward" for name in EXPLAINED if name not in NO_BACKWARD}
    assert set(EXPLAINED) | backward == set(OPERATIONS) - {"conv2d_grad_input", "conv2d_grad_weight"}


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("operation", EXPLAINED)
def test_every_operation_is_explained(capsys, operation, backward):
    status, out, err = explain(capsys, operation, "--all", *["--backward"] * backward)
    if backward and operation in NO_BACKWARD:
        assert (status, out) == (2, "")
        assert "deconvolve2d has no backward pass" in err
        return
    assert (status, err) == (0, "")
    shown = demonstration.demonstrate(operation, backward=backward)
    for number, step in enumerate(shown):
        assert f"Step {number} of 0 ... {len(shown) - 1}, {operation}" in out
        assert str(step) in out
    assert "\x1b" not in out, "no colours where nobody looks"


def test_the_window_and_the_matrix_are_drawn(capsys):
    status, out, _ = explain(capsys, "conv2d", "--input-size", "4", "4", "--kernel", "3", "--step", "3")
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "Step 3 of 0 ... 3, conv2d"
    shown = demonstration.demonstrate("conv2d", input_size=(4, 4), kernel_size=3)
    x = shown.source[0, 0]
    for row in range(4):
        numbers = "".join(f"[{v:.0f}]" if row and column else f" {v:.0f} " for column, v in enumerate(x[row]))
        assert lines[3 + row].startswith(numbers.rstrip())
    matrix = lines[lines.index("sparse matrix, row 3 in brackets") + 1 :][:4]
    assert [line.count("[") for line in matrix] == [0, 0, 0, 9]
    assert [line.count(".") for line in matrix] == [7] * 4


@pytest.mark.parametrize(
    ("words", "shape"),
    [
        (["conv2d", "--padding", "same", "--input-size", "5", "4"], (1, 1, 5, 4)),
        (["conv2d", "--padding", "1", "0", "--channels", "2", "--out-channels", "4", "--groups", "2"], (1, 4, 4, 2)),
        (["conv_transpose2d", "--stride", "2", "--output-padding", "1", "--view", "zero_stuffed"], (1, 1, 6, 6)),
        (["conv2d", "--kernel", "2", "3", "--dilation", "2", "1"], (1, 1, 2, 2)),
        (["max_unpool2d", "--scale", "2", "3", "--input-size", "1", "2", "--view", "gather"], (1, 1, 2, 6)),
        (["resize_bilinear", "--output-size", "3", "5", "--align-corners"], (1, 1, 3, 5)),
        (["max_pool2d", "--input-size", "5", "--ceil-mode"], (1, 1, 3, 3)),
    ],
)
def test_the_flags_say_how(capsys, words, shape):
    status, out, _ = explain(capsys, *words)
    assert status == 0
    options = vars(make_parser().parse_args(["explain", *words]))
    chosen = {n: v for n, v in options.items() if v is not None and n not in ("command", "step", "all", "figure")}
    assert demonstration.demonstrate(**chosen).target_shape == shape
    assert str(demonstration.demonstrate(**chosen)[0]) in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["conv2d", "--step", "4"], "--step must lie in 0 ... 3, got 4"),
        (["conv2d", "--step", "-1"], "must be at least 0, got -1"),
        (["conv2d", "--step", "1", "--all"], "not allowed with argument"),
        (["conv2d", "--scale", "2"], "scale has no meaning for conv2d, which takes input_size, kernel_size"),
        (["conv2d", "--kernel", "5"], "weight must fit the padded input"),
        (["conv2d", "--kernel", "1", "2", "3"], "needs one or two numbers, got 3"),
        (["conv2d", "--padding", "full"], 'numbers from 0, "same" or "valid", got full'),
        (["conv2d", "--groups", "2"], "groups must divide 1 channels and 1 out_channels, got 2"),
        (["conv2d", "--view", "zero_stuffed"], "view must be one of"),
        (["deconvolve2d", "--view", "gather"], "view has no meaning for deconvolve2d"),
        (["conv2d", "--backward", "--view", "gather"], "view has no meaning for conv2d backward"),
        (["convolve"], "invalid choice: 'convolve'"),
        (["conv2d", "--figure", "steps.pdf"], "the figure must be FILE.png or FILE.gif, got steps.pdf"),
        (["conv2d", "--figure", "steps.gif", "--step", "1"], "a GIF plays all steps"),
        (["conv2d", "--input-size", "12", "--figure", "sheet.png"], "at most 64 steps, got 100"),
        (["conv2d", "--input-size", "50", "--figure", "s.png", "--step", "0"], "planes up to 40 pixels a side"),
    ],
)
def test_what_makes_no_sense_is_refused(capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    status, out, err = explain(capsys, *words)
    assert status in (1, 2)
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_pictures_are_written(capsys, tmp_path):
    assert explain(capsys, "conv2d", "--step", "2", "--figure", str(tmp_path / "step.png"))[0] == 0
    assert explain(capsys, "conv2d", "--figure", str(tmp_path / "sheet.png"))[0] == 0
    assert explain(capsys, "conv_transpose2d", "--figure", str(tmp_path / "all.GIF"))[0] == 0
    for name in ("step.png", "sheet.png"):
        with Image.open(tmp_path / name) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert np.asarray(picture.convert("L")).std() > 1
    with Image.open(tmp_path / "all.GIF") as picture:
        assert (picture.format, picture.n_frames, picture.info["loop"]) == ("GIF", 4, 0)
        frames = []
        for frame in range(4):
            picture.seek(frame)
            frames.append(np.asarray(picture.convert("L")).copy())
    assert all((a != b).any() for a, b in pairwise(frames)), "every frame shows another step"


def test_a_terminal_gets_colours(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    status, out, _ = explain(capsys, "conv2d")
    assert status == 0
    assert "\x1b[7m[" in out
    assert out.count("\x1b[7m") == out.count("\x1b[0m") > 9


def test_large_matrices_are_told_by_their_line_alone():
    shown = trace("conv2d", np.arange(64.0).reshape(1, 1, 8, 8), np.ones((1, 1, 1, 2)))
    assert "sparse matrix, 56 x 64, row 9: 1 at 10, 1 at 11" in text.step_text(shown, 9)


def test_panels_stand_side_by_side_only_where_they_fit():
    shown = demonstration.demonstrate("conv2d")
    wide, narrow = (text.step_text(shown, 0, width=width).splitlines() for width in (100, 20))
    assert wide[2].split() == ["input", "kernel", "output"]
    assert narrow[2] == "input"
    assert max(map(len, narrow[2 : narrow.index("output") + 3])) <= 20


def test_demonstrations_follow_the_seed():
    a, b, c = (demonstration.demonstrate("conv2d", seed=seed).source for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    assert isinstance(demonstration.demonstrate("separable_conv2d"), Stages)
    y, _ = ops.max_pool2d(a, 2)
    np.testing.assert_array_equal(demonstration.demonstrate("max_pool2d", seed=1).result, y)


def test_text_needs_no_matplotlib():
    """It takes long to import, and whoever reads in the terminal should not wait for it."""
    code = "import sys; from npseg import cli; cli.main(['explain', 'conv2d']); assert 'matplotlib' not in sys.modules"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "Step 0 of 0 ... 3, conv2d" in run.stdout


def test_a_reader_who_leaves_early_is_no_error():
    command = f"{sys.executable} -m npseg explain conv2d --input-size 8 --all | head -1"
    run = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert run.stdout == "Step 0 of 0 ... 35, conv2d\n"
    assert run.stderr == ""
