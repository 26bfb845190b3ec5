"""How well a network segments a split, and how it looks beside the baselines."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from npseg import buffers, ops
from npseg.checks import Array
from npseg.data import Dataset, Sample
from npseg.nn.graph import Graph
from npseg.training import samples
from npseg.training.baselines import BaselineMetrics
from npseg.training.metrics import ConfusionMatrix, Metrics

Normalisation = Callable[[NDArray[np.uint8]], Array]


class Evaluation(Metrics):
    """A network's metrics, and those of the baselines "majority" and "position" on the same split."""

    baselines: dict[str, Metrics | None]


@buffers.reused()
def segment(model: Graph, images: Sequence[NDArray[np.uint8]], normalise: Normalisation) -> NDArray[np.int64]:
    """The class of every pixel, (N, H, W), or with a classifier of every image, (N,).

    Args:
        model: the network.
        images: of one size, uint8 (H, W, 3) each.
        normalise: turns an image into the network's input.
    """
    logits = model(np.stack([normalise(image) for image in images]))
    return logits.argmax(axis=1) if logits.ndim == 2 else ops.segmentation_map(logits)


@buffers.reused()
def confusion(
    model: Graph,
    dataset: Dataset,
    normalise: Normalisation,
    *,
    batch_size: int = 8,
    indices: Iterable[int] | None = None,
) -> ConfusionMatrix:
    """Segment a whole split, each image at its own size, and count what became of every labelled pixel.

    With a classifier each image counts as one pixel.

    Args:
        model: the network; it runs in inference mode.
        dataset: the split; its classes are the network's.
        normalise: turns an image into the network's input.
        batch_size: the most images that are segmented at once.
        indices: of the images that count; None is all of them.
    """
    counts = ConfusionMatrix(dataset.classes, dataset.ignore_index)
    for batch in _batches_of_one_size(samples.each(dataset, indices), batch_size):
        predictions = segment(model, [sample.image for sample in batch], normalise)
        counts.update(np.stack([sample.labels for sample in batch]), predictions)
    return counts


def beside_baselines(metrics: Metrics, baselines: BaselineMetrics) -> Evaluation:
    """Join the metrics of a network and of the baselines."""
    return {**metrics, "baselines": {"majority": baselines.majority, "position": baselines.position}}


def table(evaluation: Evaluation, unit: str = "pixel") -> str:
    """An evaluation as a table of per cent, one column for the network and each baseline; "-" where nothing is defined.

    The unit is what was counted: "pixel", or "image" with a classifier.

    >>> confusion = ConfusionMatrix(["sky", "road"])
    >>> confusion.update(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]))
    >>> print(table(beside_baselines(confusion.metrics(), BaselineMetrics(confusion.metrics(), None))))
                            network  majority  position
    pixel accuracy             75.0      75.0         -
    mean accuracy              75.0      75.0         -
    mean IU                    58.3      58.3         -
    frequency weighted IU      58.3      58.3         -
    IU of sky                  66.7      66.7         -
    IU of road                 50.0      50.0         -
    """
    columns: dict[str, Metrics | None] = {"network": evaluation, **evaluation["baselines"]}
    rows = {
        f"{unit} accuracy": [metrics and metrics["pixel_accuracy"] for metrics in columns.values()],
        "mean accuracy": [metrics and metrics["mean_accuracy"] for metrics in columns.values()],
        "mean IU": [metrics and metrics["mean_iu"] for metrics in columns.values()],
        "frequency weighted IU": [metrics and metrics["frequency_weighted_iu"] for metrics in columns.values()],
    }
    for name in evaluation["class_iu"]:
        rows[f"IU of {name}"] = [metrics and metrics["class_iu"][name] for metrics in columns.values()]
    width = max(map(len, rows))
    lines = [" " * width + "".join(f"{name:>10}" for name in columns)]
    lines += [f"{label:{width}}" + "".join(f"{_per_cent(cell):>10}" for cell in cells) for label, cells in rows.items()]
    return "\n".join(lines)


def _per_cent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f}"


def _batches_of_one_size(given: Iterable[Sample], batch_size: int) -> Iterator[list[Sample]]:
    """The samples in order, neighbours of one size together."""
    batch: list[Sample] = []
    for sample in given:
        if batch and (len(batch) == batch_size or sample.image.shape != batch[0].image.shape):
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch
