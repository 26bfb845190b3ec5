"""`python -m benchmarks.transfer` from end to end, on the smallest network: a table, curves and pictures."""

import sys

from PIL import Image
from test_cli import TINY, write_folder

from benchmarks import transfer
from npseg import cli


def test_it_leaves_a_table_and_two_pictures(tmp_path, monkeypatch, capsys):
    data = write_folder(tmp_path / "photos", [(20, 17)] * 8)
    trained = []

    def train(folder, flags):
        assert cli.main(["train", *flags, "--output", str(folder)]) == 0
        trained.append(folder.name)
        return 1.5

    monkeypatch.setattr(transfer, "train", train)
    monkeypatch.setattr(transfer, "NETWORK", TINY)
    monkeypatch.setattr(
        transfer, "STARTS", {"pretrained": ["--learning-rate", "0.01"], "from scratch": ["--learning-rate", "0"]}
    )
    words = ["--data", data, "--steps", "10", "--seeds", "0", "3", "--output", tmp_path / "runs", "--results", tmp_path]
    monkeypatch.setattr(sys, "argv", ["transfer", *map(str, words), "--batch-size", "2"])
    transfer.main()
    assert trained == [f"photos-{start}-seed{seed}" for seed in (0, 3) for start in ("pretrained", "from-scratch")]
    table = (tmp_path / "transfer.md").read_text()
    assert capsys.readouterr().out.endswith(table)
    assert table.startswith("FCN-8s on EfficientNet-Lite0 after 10 steps:")
    assert len([line for line in table.splitlines() if line.startswith("| pretrained, seed")]) == 2
    assert "| most frequent class |" in table
    assert "- from scratch: `npseg train --widths" in table
    for name in ("transfer-curves.png", "transfer-predictions.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 200
