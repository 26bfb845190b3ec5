"""`npseg evaluate` and `npseg predict`: what a trained network sees."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from npseg.cli.shared import UsageError, engine, open_data

if TYPE_CHECKING:
    from npseg.data import Dataset


def evaluate(options: argparse.Namespace) -> int:
    """Print a network's metrics on a split, beside the baselines'."""
    from npseg.data import labels_whole_images
    from npseg.training import baselines, checkpoints, evaluation
    from npseg.training.samples import cached

    path = checkpoints.locate(options.network)
    model, task = checkpoints.load_network(path)

    def open_split(split: str) -> "Dataset":
        dataset = task.open(split) if options.data is None else open_data(options.data, split)
        if len(dataset.classes) != len(task.classes):
            raise ValueError(f"{options.data}: has {len(dataset.classes)} classes, the network {len(task.classes)}")
        if tuple(dataset.classes) != task.classes:
            raise ValueError(f"{options.data}: has the classes {dataset.classes}, the network {task.classes}")
        return cached(dataset)

    dataset, training = open_split(options.split), open_split("train")
    with engine(options.engine, options.winograd):
        counts = evaluation.confusion(model, dataset, task.normalise, batch_size=options.batch_size)
    result = evaluation.beside_baselines(counts.metrics(), baselines.evaluate(baselines.learn(training), dataset))
    if options.json:
        print(json.dumps(result, indent=2, allow_nan=False))
    else:
        print(f"{path} on {len(dataset)} images of {options.split}, in per cent:")
        print(evaluation.table(result, "image" if labels_whole_images(dataset) else "pixel"))
    return 0


def predict(options: argparse.Namespace) -> int:
    """Write the label map and the overlay of each image."""
    from npseg.data import pictures
    from npseg.models import is_classifier
    from npseg.training import checkpoints
    from npseg.training.evaluation import segment

    targets = _prediction_paths(options.images, options.output)
    model, task = checkpoints.load_network(checkpoints.locate(options.network))
    if is_classifier(model):
        raise ValueError(
            f"{options.network}: holds a classifier, which has no label for a pixel; "
            f"npseg train --init-from {options.network} makes a segmentation network of it"
        )
    options.output.mkdir(parents=True, exist_ok=True)
    with engine(options.engine, options.winograd):
        for image_path, (label_path, overlay_path) in targets.items():
            image = pictures.read_image(image_path)
            labels = segment(model, [image], task.normalise)[0]
            pictures.write_label_map(label_path, labels, task.colors)
            pictures.write_image(overlay_path, pictures.overlay(image, labels, task.colors))
            print(f"{label_path} {overlay_path}")
    return 0


def _prediction_paths(images: Sequence[Path], folder: Path) -> dict[Path, tuple[Path, Path]]:
    """Where the label map and the overlay of each image go; no two files may end up in one place."""
    targets: dict[Path, tuple[Path, Path]] = {}
    stems: dict[str, Path] = {}
    for image in images:
        if image.stem in stems:
            raise UsageError(f"{stems[image.stem]} and {image} would both be written to {image.stem}_label.png")
        stems[image.stem] = image
        targets[image] = (folder / f"{image.stem}_label.png", folder / f"{image.stem}_overlay.png")
    inputs = {image.resolve() for image in images}
    for path in (path for pair in targets.values() for path in pair):
        if path.resolve() in inputs:
            raise UsageError(f"{path} is one of the images and would be overwritten; name another --output")
    return targets
