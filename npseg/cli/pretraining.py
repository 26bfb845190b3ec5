"""`npseg pretrain`: train the classifier that an FCN can start from."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from npseg.cli.shared import output_folder
from npseg.cli.training import follow, resume, with_defaults
from npseg.flags.pretraining import COUNT, DEFAULTS
from npseg.flags.training import VGG_FLAGS

if TYPE_CHECKING:
    from npseg.training.ranks import Ranks
    from npseg.training.run import Run


def pretrain(options: argparse.Namespace) -> int:
    """Start a classifier's run or resume one; at the end draw its figures and print its best metrics."""
    from npseg.training.ranks import world

    given = {name: value for name, value in vars(options).items() if value is not None}
    ranks = world()
    return follow(resume(given, ranks) if "resume" in given else _start(given, ranks), "pretrain")


def _start(given: Mapping[str, Any], ranks: "Ranks") -> "Run":
    """A new run, from the flags that were given and the defaults of the others."""
    from npseg.data import SingleShapes
    from npseg.models import vgg_classifier
    from npseg.training.run import Run
    from npseg.training.samples import median_frequency_weights
    from npseg.training.settings import Settings

    chosen = with_defaults(DEFAULTS | dict(given))
    folder = ranks.by_first(lambda: output_folder(chosen, "classifier"))
    size = chosen["image_size"]
    training, validation = (SingleShapes(count, split=split, image_size=size) for split, count in COUNT.items())
    if chosen.get("class_weights") == "median":
        chosen["class_weights"] = tuple(median_frequency_weights(training))
    settings = Settings(**{name: value for name, value in chosen.items() if name in Settings.__dataclass_fields__})
    network = {name: chosen[name] for name in VGG_FLAGS}
    model = vgg_classifier(
        network["widths"],
        network["depths"],
        network["fc6"],
        len(SingleShapes.classes),
        size,
        dropout=network["dropout"],
        seed=settings.seed,
    )
    return Run.start(folder, model, training, validation, settings, {"network": network}, ranks=ranks)
