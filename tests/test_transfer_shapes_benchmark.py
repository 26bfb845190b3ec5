"""The comparison of beginnings runs from end to end at a tiny size, and goes on where it stopped."""

import sys

from PIL import Image

from benchmarks import transfer_shapes
from npseg import cli
from npseg.flags.pretraining import COUNT

TINY = ["--widths", "2", "2", "3", "3", "2", "--depths", "1", "1", "1", "1", "1", "--fc6", "4"]


def test_it_writes_a_table_curves_and_predictions(tmp_path, monkeypatch, capsys):
    for split in COUNT:
        monkeypatch.setitem(COUNT, split, 4)
    classifier = tmp_path / "runs" / "classifier"
    pretrain = ["--steps", "1", "--batch-size", "2", "--image-size", "32", "32", "--output", str(classifier)]
    assert cli.main(["pretrain", *pretrain, *TINY]) == 0
    flags = "--images 2 3 --seeds 0 1 --steps 2 --batch-size 1 --rates 1e-3 1e-2 --tuning-images 2"
    folders = ["--output", str(tmp_path / "runs"), "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["transfer_shapes", *flags.split(), "--validation-images", "4", *folders])
    transfer_shapes.main()
    text = (tmp_path / "transfer-shapes.md").read_text()
    rows = [line.split("|") for line in text.splitlines() if line.startswith(("| 2 ", "| 3 "))]
    assert [row[1].strip() for row in rows] == ["2", "3"]
    assert text.count("taken") == 2
    for name in ("curves", "predictions"):
        with Image.open(tmp_path / f"transfer-shapes-{name}.png") as picture:
            assert min(picture.size) > 200

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/best.npz")}
    assert len(before) == 1 + 4 + 8
    transfer_shapes.main()
    assert (tmp_path / "transfer-shapes.md").read_text() == text
