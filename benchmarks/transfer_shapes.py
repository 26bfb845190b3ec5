"""What a classifier is worth to an FCN, with nothing downloaded: `python -m benchmarks.transfer_shapes`.

`npseg pretrain` trains a classifier on generated images of one object each, one label an image. An FCN that begins as
this classifier and the same FCN from random weights then learn to segment from few labelled scenes, in equally many
steps. Each beginning gets the best of the same learning rates, found on scenes that are not used again. Writes a table,
curves and predictions. What is already complete in the output folder is not trained again; what was interrupted goes
on.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from npseg.data import Normalise, Shapes, paint
from npseg.files import write_whole
from npseg.models import convolutionalise, fcn, vgg_classifier
from npseg.nn.graph import Graph
from npseg.training import checkpoints
from npseg.training.evaluation import segment
from npseg.training.run import CONFIG, Run
from npseg.training.settings import Settings
from npseg.training.transfer import fcn_on_classifier

RESULTS = Path(__file__).parent / "results"
CLASSES = len(Shapes.classes)
TUNING_SEED = 1000
"""Of the scenes on which learning rates are compared."""

BEGINNINGS = {"classifier": "#0072B2", "random": "#D55E00"}
"""Where an FCN's weights begin, and the colour of its curve."""


class Trial(NamedTuple):
    """One training of an FCN."""

    beginning: str
    images: int
    seed: int
    rate: float

    @property
    def name(self) -> str:
        return f"{self.beginning}-{self.images}-images-seed{self.seed}-rate{self.rate:g}"


class Budget(NamedTuple):
    """What every trial is given."""

    output: Path
    steps: int
    batch_size: int
    validation_images: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=(8, 32, 128), help="numbers of labelled scenes")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1), help="one run each (default: 0 1)")
    parser.add_argument("--steps", type=int, default=300, help="of each FCN (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=4, help="scenes a step (default: %(default)s)")
    parser.add_argument(
        "--rates", type=float, nargs="+", default=(3e-4, 1e-3, 3e-3, 1e-2), help="learning rates to try"
    )
    parser.add_argument("--tuning-images", type=int, default=32, help="scenes for that (default: %(default)s)")
    parser.add_argument("--validation-images", type=int, default=100, help="(default: %(default)s)")
    parser.add_argument("--pretraining-steps", type=int, default=1500, help="of the classifier (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("runs/transfer"), help="where the runs go")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where table and pictures go")
    options = parser.parse_args()
    budget = Budget(options.output, options.steps, options.batch_size, options.validation_images)

    classifier = pretrained(options.output / "classifier", options.pretraining_steps)
    rates = {}
    tried: list[tuple[Trial, float]] = []
    for beginning in BEGINNINGS:
        trials = [Trial(beginning, options.tuning_images, TUNING_SEED, rate) for rate in options.rates]
        scores = [final_mean_iu(trained(trial, classifier, budget)) for trial in tqdm(trials, f"rates, {beginning}")]
        rates[beginning] = options.rates[int(np.argmax(scores))]
        tried += zip(trials, scores, strict=True)
    trials = [
        Trial(beginning, images, seed, rates[beginning])
        for images in options.images
        for beginning in BEGINNINGS
        for seed in options.seeds
    ]
    runs = {trial: trained(trial, classifier, budget) for trial in tqdm(trials, "comparison")}

    text = report(runs, tried, rates, classifier, budget)
    print(text)
    write_whole(options.results / "transfer-shapes.md", lambda file: file.write(text.encode()))
    save(curves(runs), options.results / "transfer-shapes-curves.png")
    save(predictions(runs), options.results / "transfer-shapes-predictions.png")


def pretrained(folder: Path, steps: int) -> Path:
    """The folder of the classifier's run, complete."""
    if not (folder / "curves.png").exists():
        resumed = (folder / checkpoints.CHECKPOINT).exists()
        flags = ["--resume", str(folder)] if resumed else ["--steps", str(steps), "--output", str(folder)]
        subprocess.run([sys.executable, "-m", "npseg", "pretrain", *flags], check=True, stdout=sys.stderr)
    return folder


def trained(trial: Trial, classifier: Path, budget: Budget) -> Path:
    """The folder of the trial's run, complete."""
    folder = budget.output / trial.name
    if (folder / checkpoints.CHECKPOINT).exists():
        run = Run.resume(folder)
    else:
        model, normalise = beginning_of(trial, classifier)
        # Scenes of other trials must not tell which rate suits these: validation scenes go with the training's seed.
        validation_seed = TUNING_SEED if trial.seed == TUNING_SEED else 0
        run = Run.start(
            folder,
            model,
            Shapes(trial.images, seed=trial.seed),
            Shapes(budget.validation_images, seed=validation_seed, split="val"),
            Settings(
                steps=budget.steps,
                batch_size=budget.batch_size,
                seed=trial.seed,
                learning_rate=trial.rate,
                validate_every=max(budget.steps // 6, 1),
            ),
            normalise=normalise,
        )
    if not run.train():
        sys.exit("interrupted; the same command goes on")
    return folder


def beginning_of(trial: Trial, classifier: Path) -> tuple[Graph, Normalise | None]:
    """The FCN before its first step: the classifier's numbers, or random ones in the same layers."""
    if trial.beginning == "classifier":
        return fcn_on_classifier(classifier, Shapes.classes, seed=trial.seed)
    config = json.loads((classifier / CONFIG).read_text())
    size = config["data"]["train"]["image_size"]
    layers = vgg_classifier(**config["network"], classes=CLASSES, input_size=size, seed=trial.seed)
    return fcn(convolutionalise(layers, scores=False), CLASSES), None


def validations(folder: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [record for record in records if "val" in record]


def final_mean_iu(folder: Path) -> float:
    """Of the last validation, not of the best: which one that is, one would have to choose by the same scenes."""
    return float(validations(folder)[-1]["val"]["mean_iu"])


def report(
    runs: dict[Trial, Path],
    tried: Sequence[tuple[Trial, float]],
    rates: dict[str, float],
    classifier: Path,
    budget: Budget,
) -> str:
    """Tables in Markdown: the comparison, and the learning rates that were tried before."""
    best = max((record["val"] for record in validations(classifier)), key=lambda metrics: metrics["mean_iu"])
    lines = [
        f"Mean IU on {budget.validation_images} scenes after {budget.steps} steps of {budget.batch_size} scenes, mean "
        f"of the seeds {', '.join(str(seed) for seed in dict.fromkeys(trial.seed for trial in runs))} and (each "
        f"seed's). The classifier recognises {best['pixel_accuracy']:.1%} of new images.",
        "",
        "| labelled scenes | from the classifier | from random weights | difference |",
        "|---|---|---|---|",
    ]
    for images in dict.fromkeys(trial.images for trial in runs):
        scores = {
            beginning: [final_mean_iu(runs[t]) for t in runs if (t.images, t.beginning) == (images, beginning)]
            for beginning in BEGINNINGS
        }
        cells = [f"{mean(s):.1%} ({', '.join(f'{x:.1%}' for x in s)})" for s in scores.values()]
        difference = 100 * (mean(scores["classifier"]) - mean(scores["random"]))
        lines.append(f"| {images} | {' | '.join(cells)} | {difference:+.1f} points |")
    lines += ["", "The learning rates tried, on other scenes:", ""]
    lines += ["| beginning | labelled scenes | rate | mean IU | |", "|---|---|---|---|---|"]
    for trial, score in tried:
        taken = "taken" if trial.rate == rates[trial.beginning] else ""
        lines.append(f"| {trial.beginning} | {trial.images} | {trial.rate:g} | {score:.1%} | {taken} |")
    return "\n".join(lines) + "\n"


def curves(runs: dict[Trial, Path]) -> Figure:
    """Validation mean IU against the step, a panel for each number of scenes, a line for each run."""
    numbers = list(dict.fromkeys(trial.images for trial in runs))
    figure = Figure(figsize=(3.2 * len(numbers), 3.2), layout="constrained")
    [panels] = figure.subplots(1, len(numbers), sharey=True, squeeze=False)
    for axes, images in zip(panels, numbers, strict=True):
        for trial, folder in runs.items():
            if trial.images == images:
                points = [(record["step"], record["val"]["mean_iu"]) for record in validations(folder)]
                color, style = BEGINNINGS[trial.beginning], "-" if trial.beginning == "classifier" else "--"
                label = f"from {'the classifier' if trial.beginning == 'classifier' else 'random weights'}"
                shown = label if trial.seed == min(t.seed for t in runs) else None
                axes.plot(*zip(*points, strict=True), style, color=color, marker="o", markersize=3, label=shown)
        axes.set(title=f"{images} labelled scenes", xlabel="step")
        axes.grid(linewidth=0.4, alpha=0.5)
    panels[0].set(ylabel="mean IU on other scenes", ylim=(0, None))  # of all panels, once all curves are there
    panels[0].legend(frameon=False)
    return figure


def predictions(runs: dict[Trial, Path], scenes: int = 4) -> Figure:
    """Scenes of the validation, their labels, and what each beginning has made of the fewest and the most images."""
    seed = min(trial.seed for trial in runs)
    fewest, most = min(trial.images for trial in runs), max(trial.images for trial in runs)
    shown = [trial for trial in runs if trial.seed == seed and trial.images in (fewest, most)]
    samples = [Shapes(scenes, split="val")[index] for index in range(scenes)]
    columns = {"scene": [s.image for s in samples], "labels": [paint(s.labels, Shapes.colors) for s in samples]}
    for trial in shown:
        model, task = checkpoints.load_network(runs[trial] / checkpoints.CHECKPOINT)
        maps = segment(model, columns["scene"], task.normalise)
        columns[f"{trial.beginning},\n{trial.images} scenes"] = [paint(labels, Shapes.colors) for labels in maps]
    figure = Figure(figsize=(1.5 * len(columns), 1.5 * scenes + 0.5), layout="constrained")
    grid = figure.subplots(scenes, len(columns))
    for column, (title, pictures) in zip(grid.T, columns.items(), strict=True):
        column[0].set_title(title, fontsize="medium")
        for axes, picture in zip(column, pictures, strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
    return figure


def save(figure: Figure, path: Path) -> None:
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=110))


if __name__ == "__main__":
    main()
