"""The two figures of a training run: its curves, and images beside their labels and predictions.

A classifier's predictions are a name for each image.

They are drawn on figure objects of their own, never through `matplotlib.pyplot`: no window, no state that another
figure could share.
"""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from npseg.data.dataset import VOID_COLOR
from npseg.data.pictures import paint
from npseg.teaching.figures.export import write_png
from npseg.teaching.figures.legend import draw_legend, legend_entries, legend_height
from npseg.teaching.figures.style import BLUE, GREEN, ORANGE, RED, SKY, WIDTH, Picture

METRICS = {
    "pixel_accuracy": ("pixel accuracy", BLUE, "o"),
    "mean_accuracy": ("mean accuracy", ORANGE, "s"),
    "mean_iu": ("mean IU", RED, "D"),
    "frequency_weighted_iu": ("frequency weighted IU", GREEN, "^"),
}
"""Key in the log, name, colour and marker. The colours are Okabe and Ito's, which colour-blind readers can tell apart;
the markers tell the lines apart without colour."""

PREDICTED = ("prediction",)

BASELINES = {
    "majority": ("mean IU of the most frequent class", ":"),
    "position": ("mean IU of the most frequent class\nof each position", "--"),
}


def curves(records: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Draw a run's loss, validation metrics and learning rate against the step, as a PNG.

    Args:
        records: the log, one record for each step: `step`, `loss`, `learning_rate`, and after a validation `val` with
            the four metrics (fractions or None) and, if known, `baselines`, whose mean IU is drawn for comparison.
        path: the PNG file; its folder must exist.

    Raises:
        ValueError: there is no record.
        OSError: the file cannot be written; an older one is untouched.
    """
    if not records:
        raise ValueError("records must hold at least one step of the run, got none")
    write_png(_curves_figure(records), path)


def predictions(
    samples: Sequence[tuple[NDArray[Any], ...]],
    classes: Sequence[str],
    colors: NDArray[np.uint8],
    path: str | os.PathLike[str],
    *,
    names: Sequence[str] = PREDICTED,
    void_name: str = "void",
    void_color: tuple[int, int, int] = VOID_COLOR,
) -> None:
    """Draw images beside their label maps and predictions, a row for each sample, with a legend, as a PNG.

    Args:
        samples: image uint8 (H, W, 3), label map (H, W), and a predicted label map (H, W) for each of `names`; sizes
            may differ between samples.
        classes: the names of the C classes, by id.
        colors: uint8 (C, 3), their colours.
        path: the PNG file; its folder must exist.
        names: of what predicted, as the columns' titles.
        void_name, void_color: of the pixels with id 255; in the legend only where there are any.

    Raises:
        ValueError: there is no sample, names and colours differ in number, or a label has no colour.
        OSError: the file cannot be written; an older one is untouched.
    """
    if not samples:
        raise ValueError("samples must hold at least one image, got none")
    write_png(_predictions_figure(samples, classes, colors, void_name, void_color, names), path)


def answers(
    samples: Sequence[tuple[NDArray[np.uint8], Any, Any]], classes: Sequence[str], path: str | os.PathLike[str]
) -> None:
    """Draw images with their class above, and below it a classifier's answer where it is another, as a PNG.

    Args:
        samples: image uint8 (H, W, 3), class, predicted class.
        classes: the names of the classes, by id.
        path: the PNG file; its folder must exist.

    Raises:
        ValueError: there is no sample.
        OSError: the file cannot be written; an older one is untouched.
    """
    if not samples:
        raise ValueError("samples must hold at least one image, got none")
    write_png(_answers_figure(samples, classes), path)


def _answers_figure(samples: Sequence[tuple[NDArray[np.uint8], Any, Any]], classes: Sequence[str]) -> Picture:
    """A row of images; what is wrong is red. Names are set literally, as in a legend."""
    figure = Picture(figsize=(WIDTH, WIDTH / len(samples) + 0.6), layout="constrained")
    [row] = figure.subplots(1, len(samples), squeeze=False)
    for axes, (image, truth, answer) in zip(row, samples, strict=True):
        axes.imshow(image)
        axes.set(xticks=[], yticks=[])
        axes.set_title(classes[truth], fontsize="medium", parse_math=False)
        wrong = answer != truth
        axes.set_xlabel(f"taken for {classes[answer]}" if wrong else "recognised", parse_math=False)
        axes.xaxis.label.set(color=RED if wrong else GREEN, fontsize="small")
    return figure


def _curves_figure(records: Sequence[Mapping[str, Any]]) -> Picture:
    """Three panels above each other with the step as their common axis."""
    figure = Picture(figsize=(WIDTH, 8), layout="constrained")
    loss, metrics, rate = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.5))
    steps = [record["step"] for record in records]
    _draw_loss(loss, steps, _numbers(record["loss"] for record in records))
    _draw_metrics(metrics, [record for record in records if record.get("val")])
    _draw_rate(rate, steps, _numbers(record["learning_rate"] for record in records))
    for axes in (loss, metrics, rate):
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_loss(axes: Axes, steps: Sequence[int], losses: NDArray[np.float64]) -> None:
    """Each step's loss faintly, since single batches scatter, and the mean of the latest steps over it."""
    window = min(max(len(losses) // 50, 10), len(losses))
    axes.plot(steps, losses, color=SKY, alpha=0.5, linewidth=0.8, marker=_marker(steps), label="each step")
    if window > 1:
        axes.plot(steps, _latest_mean(losses, window), color=BLUE, label=f"mean of the last {window} steps")
    axes.set(title="Training loss", ylabel="loss")
    _legend_beside(axes)


def _draw_metrics(axes: Axes, validations: Sequence[Mapping[str, Any]]) -> None:
    """The four metrics of each validation, and what needs no network to reach."""
    axes.set(title="Validation", ylabel="share", ylim=(0, 1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    if not validations:
        axes.text(0.5, 0.5, "no validation yet", ha="center", va="center", color="0.4", transform=axes.transAxes)
        return
    steps = [record["step"] for record in validations]
    for key, (name, color, marker) in METRICS.items():
        values = _numbers(record["val"].get(key) for record in validations)
        axes.plot(steps, values, color=color, marker=marker, markersize=4, label=name)
    baselines = validations[-1]["val"].get("baselines") or {}
    for key, (name, style) in BASELINES.items():
        if baselines.get(key) and baselines[key].get("mean_iu") is not None:
            axes.axhline(baselines[key]["mean_iu"], color="0.35", linestyle=style, linewidth=1.2, label=name)
    _legend_beside(axes)


def _draw_rate(axes: Axes, steps: Sequence[int], rates: NDArray[np.float64]) -> None:
    """The learning rate of each step, from 0 up so that its fall is seen at its true size."""
    axes.plot(steps, rates, color=BLUE, marker=_marker(steps))
    axes.set(title="Learning rate", ylabel="rate", xlabel="step", ylim=(0, 1.1 * max(np.max(rates), 1e-12)))
    axes.ticklabel_format(axis="y", style="scientific", scilimits=(-2, 3))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _legend_beside(axes: Axes) -> None:
    """A legend that covers no curve."""
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def _marker(steps: Sequence[int]) -> str:
    """A line through one point is invisible: mark the point."""
    return "o" if len(steps) == 1 else ""


def _numbers(values: Any) -> NDArray[np.float64]:
    """The log's numbers; what is not defined (None) leaves a gap in the line."""
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _latest_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """The mean of each value and the `window` - 1 before it, of fewer at the beginning."""
    sums = np.convolve(values, np.ones(window))[: len(values)]
    return sums / np.minimum(np.arange(len(values)) + 1, window)


def _predictions_figure(
    samples: Sequence[tuple[NDArray[Any], ...]],
    classes: Sequence[str],
    colors: NDArray[np.uint8],
    void_name: str,
    void_color: tuple[int, int, int],
    names: Sequence[str] = PREDICTED,
) -> Picture:
    """A grid of image, truth and predictions, and the legend below."""
    maps = (labels for _, *others in samples for labels in others)
    entries = legend_entries(classes, colors, maps, void_name, void_color)
    columns = ("image", "truth", *names)
    heights = [WIDTH / len(columns) * _shown_ratio(image) for image, *_ in samples]
    figure = Picture(figsize=(WIDTH, sum(heights) + legend_height(entries, WIDTH)), layout="constrained")
    grid = figure.subplots(len(samples), len(columns), squeeze=False, height_ratios=heights)
    for row, (image, *others) in zip(grid, samples, strict=True):
        row[0].imshow(image)
        for axes, labels in zip(row[1:], others, strict=True):
            axes.imshow(paint(labels, colors, void_color), interpolation="nearest")
    for axes, title in zip(grid[0], columns, strict=True):
        axes.set_title(title)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    draw_legend(figure, entries, WIDTH)
    return figure


def _shown_ratio(image: NDArray[np.uint8]) -> float:
    """Height over width of an image's place in the grid; panoramas and towers get a place of bearable form."""
    return float(np.clip(image.shape[0] / image.shape[1], 0.4, 1.6))
