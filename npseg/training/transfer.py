"""Transfer learning: an FCN that begins as a trained classifier."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from npseg.data import Normalise
from npseg.models import convolutionalise, fcn, files, is_classifier
from npseg.nn.graph import Graph
from npseg.training import checkpoints


def holds_classifier(path: Path) -> bool:
    """Whether `fcn_on_classifier` can take this file or run: it is an npseg model, a classifier, and has its task.

    Weights of any other kind, and files that cannot be read, are none; only the description is looked at.

    Raises:
        OSError: no such file, or not readable.
    """
    path = checkpoints.locate(path)
    try:
        network, metadata = files.read_description(path)
    except ValueError:
        return False
    return is_classifier(network) and "task" in metadata


def fcn_on_classifier(path: Path, classes: Sequence[str], stride: int = 8, **options: Any) -> tuple[Graph, Normalise]:
    """Build an FCN on a classifier that a run has trained.

    Its fully connected layers become convolutions with the same numbers. Its scores are kept where it tells the same
    classes apart; for others the score layer is left out and starts anew at zero, as in the paper.

    Args:
        path: the run's folder, whose best network is taken, or a checkpoint.
        classes: the names of those that the FCN shall tell apart.
        stride, **options: as `npseg.models.fcn` takes them.

    Returns:
        The network, and the normalisation of images that its parameters have been trained with.

    Raises:
        OSError: no such file, or not readable.
        ValueError, TypeError: the file holds no trained classifier, or none that `npseg.models.fcn` can build on.

    Source: Long, Shelhamer, Darrell (2015), section 4.1.
    """
    classifier, task = checkpoints.load_network(checkpoints.locate(path))
    backbone = convolutionalise(classifier, scores=task.classes == tuple(classes))
    return fcn(backbone, len(classes), stride, **options), task.normalise
