"""Where a training left the range of numbers, and why it probably did.

A number beyond the largest float becomes infinite, infinity minus infinity is NaN, and NaN spreads to all that it
meets. So a loss that is not finite tells little; what tells more is the first layer whose output was not. It is found
by running the step's forward pass once more, with an eye on every map.
"""

from typing import NamedTuple

import numpy as np

from npseg.checks import Array
from npseg.nn.graph import Graph
from npseg.nn.layers import Randomness
from npseg.training.settings import Settings


class DivergedError(RuntimeError):
    """The training has left the range of numbers; going on would learn nothing."""


class Finding(NamedTuple):
    """What is no longer finite, and the likely cause."""

    what: str
    cause: str

    def __str__(self) -> str:
        return f"{self.what}; likely cause: {self.cause}"


def in_forward_pass(model: Graph, images: Array, rng: Randomness | None, settings: Settings) -> Finding:
    """Why a loss is not finite: the first of images, parameters and maps, in the order of the layers, that is not.

    Args:
        model: the network.
        images: the batch.
        rng: the step's, for dropout; None where the forward pass was one of inference.
        settings: how the run trains.
    """
    broken = [place for place, image in enumerate(images) if not np.isfinite(image).all()]
    if broken:
        return Finding(f"image {broken[0]} of the batch is not finite", "a pixel or the normalisation of the images")
    layer, logits = _first_broken_map(model, images, rng)
    if layer is None:
        apart = float(np.ptp(logits.astype(np.float64)))
        cause = f"logits that lie {apart:.3g} apart give the true class a probability of 0, whose logarithm is infinite"
        if settings.loss == "sum":
            cause += f", or the sum over the pixels is beyond the largest {model.dtype}"
        return Finding("the layers' outputs are finite, the loss is not", f"{cause}: {_rate(settings)}")
    for name, parameter in (model.parameters | model.buffers).items():
        if name.rpartition(".")[0] == layer and not np.isfinite(parameter).all():
            return Finding(
                f"the output of layer {layer} is not finite, since {name} is not",
                "weights that were not finite from the start, or were changed by somebody else",
            )
    return Finding(f"the output of layer {layer} is not finite", f"{_overflow(model)}: {_rate(settings)}")


def in_gradients(
    model: Graph, gradients: dict[str, Array], diverged: list[str], settings: Settings, rate: float
) -> Finding:
    """Why an update left parameters that are not finite: gradients that are not, or too long a step.

    Args:
        model: the network after the update.
        gradients: by parameter name.
        diverged: the names of the parameters that are not finite.
        settings: how the run trains.
        rate: the learning rate of the update.
    """
    order = [node.name for node in model.nodes]
    broken = {name.rpartition(".")[0] for name, gradient in gradients.items() if not np.isfinite(gradient).all()}
    layers = sorted(broken, key=order.index)
    if not layers:
        first = min(diverged, key=lambda name: order.index(name.rpartition(".")[0]))
        return Finding(
            f"{first} of layer {first.rpartition('.')[0]} is not finite after the update, though its gradient was",
            f"a step beyond the largest {model.dtype}: {_rate(settings, rate)}",
        )
    what = f"the gradient of layer {layers[0]} is not finite"
    if len(layers) > 1:
        what += f"; on the way back this began at layer {layers[-1]}"
    return Finding(what, f"{_overflow(model)}: {_rate(settings, rate)}")


def broken_statistic(model: Graph) -> str | None:
    """The first running statistic that is not finite; it would spoil only what is validated, much later."""
    return next((name for name, statistic in model.buffers.items() if not np.isfinite(statistic).all()), None)


def in_statistics(model: Graph, name: str, settings: Settings) -> Finding:
    """Why a running statistic is not finite: the maps have grown too large for their squares."""
    layer = name.rpartition(".")[0]
    return Finding(f"{name} of layer {layer} is not finite", f"{_overflow(model)}: {_rate(settings)}")


def _first_broken_map(model: Graph, images: Array, rng: Randomness | None) -> tuple[str | None, Array]:
    """The first layer whose output is not finite, if there is one, and the logits."""
    broken: list[str] = []

    def watch(layer: str, output: Array) -> None:
        if not broken and not np.isfinite(output).all():
            broken.append(layer)

    logits, _ = model.forward(images, training=rng is not None, rng=rng, watch=watch)
    return (broken[0] if broken else None), logits


def _overflow(model: Graph) -> str:
    return f"numbers that grew beyond the largest {model.dtype}, {np.finfo(model.dtype).max:.2g}"


def _rate(settings: Settings, rate: float | None = None) -> str:
    return f"the learning rate, {settings.learning_rate if rate is None else rate:.3g}, is too high"
