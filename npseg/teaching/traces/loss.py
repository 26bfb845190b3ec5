"""The cross-entropy of single pixels, and its gradient: predicted less true probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from npseg import ops
from npseg.checks import Array
from npseg.teaching.traces.step import Index, number, position_of, step_number


@dataclass(frozen=True)
class PixelStep:
    """One pixel's loss.

    Attributes:
        operation: its name in `npseg.ops`.
        number: which step it is, from 0.
        position: (n, h, w) of the pixel.
        logits: the scores of the C classes.
        probabilities: their softmax.
        log_probabilities: the softmax's logarithms.
        label: the true class; None where the pixel is ignored.
        weight: its class' weight, 1 if all count alike, 0 where the pixel is ignored.
        share: how much its loss counts in the whole: with "mean", the weight over the sum of all weights.
        value: weight * -log(probability of the true class); 0 where the pixel is ignored.
        gradient: share * (probabilities - true probabilities), one for each class.
    """

    operation: str
    number: int
    position: Index
    logits: tuple[float, ...]
    probabilities: tuple[float, ...]
    log_probabilities: tuple[float, ...]
    label: int | None
    weight: float
    share: float
    value: float
    gradient: tuple[float, ...]

    def __str__(self) -> str:
        """The step as sentences."""
        scores = f"Pixel {self.position} has the logits {_listed(self.logits)}"
        if self.label is None:
            return f"{scores}, but its label is to be ignored: loss and gradient are 0."
        told = f"{scores}; softmax makes them the probabilities {_listed(self.probabilities)}. "
        if self.operation.endswith("_backward"):
            less = f"1 less at the true class {self.label}"
            return f"{told}The gradient is these, {less}, times {number(self.share)}: {_listed(self.gradient)}."
        return f"{told}The true class is {self.label}: {self.formula}."

    @property
    def formula(self) -> str:
        """The loss with its numbers."""
        if self.label is None:
            return "ignored: 0"
        return f"{number(self.weight)} * -log({number(self.probabilities[self.label])}) = {number(self.value)}"


@dataclass(frozen=True, eq=False)
class PixelTrace(Sequence[PixelStep]):
    """A step for each pixel of a label map.

    Args:
        operation: its name in `npseg.ops`.
        logits: (N, C, H, W).
        labels: (N, H, W).
        weights: (N, H, W), 0 where a pixel is ignored.
        shares: (N, H, W), how much each loss counts in the whole.
        losses: (N, H, W).
        gradient: (N, C, H, W), of the whole.
        result: what the operation returns.
    """

    operation: str
    logits: Array
    labels: Array
    weights: Array
    shares: Array
    losses: Array
    gradient: Array
    result: Any

    def __len__(self) -> int:
        return self.labels.size

    @overload
    def __getitem__(self, index: int) -> PixelStep: ...
    @overload
    def __getitem__(self, index: slice) -> list[PixelStep]: ...
    def __getitem__(self, index: int | slice) -> PixelStep | list[PixelStep]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        step = step_number(index, len(self))
        n, h, w = pixel = position_of(step, self.labels.shape)
        logits = self.logits[n : n + 1, :, h : h + 1, w : w + 1]
        return PixelStep(
            self.operation,
            step,
            pixel,
            _numbers(logits),
            _numbers(ops.softmax(logits)),
            _numbers(ops.log_softmax(logits)),
            int(self.labels[pixel]) if self.weights[pixel] else None,
            float(self.weights[pixel]),
            float(self.shares[pixel]),
            float(self.losses[pixel]),
            _numbers(self.gradient[n, :, h, w]),
        )


def cross_entropy2d(
    logits: Array,
    labels: Array,
    *,
    ignore_index: int = 255,
    class_weight: Array | None = None,
    reduction: str = "mean",
) -> PixelTrace:
    """A step for each pixel, of its loss; `result` is their mean or sum, as `reduction` says."""
    loss = ops.cross_entropy2d(
        logits, labels, ignore_index=ignore_index, class_weight=class_weight, reduction=reduction
    )
    return _pixels("cross_entropy2d", logits, labels, ignore_index, class_weight, reduction, loss)


def cross_entropy2d_backward(
    logits: Array,
    labels: Array,
    *,
    ignore_index: int = 255,
    class_weight: Array | None = None,
    reduction: str = "mean",
) -> PixelTrace:
    """A step for each pixel, of its gradient; `result` is the whole gradient."""
    return _pixels("cross_entropy2d_backward", logits, labels, ignore_index, class_weight, reduction, None)


def _pixels(
    operation: str,
    logits: Array,
    labels: Array,
    ignore_index: int,
    class_weight: Array | None,
    reduction: str,
    loss: Any,
) -> PixelTrace:
    losses = ops.cross_entropy2d(logits, labels, ignore_index=ignore_index, class_weight=class_weight, reduction="none")
    gradient = ops.cross_entropy2d_backward(
        logits, labels, ignore_index=ignore_index, class_weight=class_weight, reduction=reduction
    )
    kept = labels != ignore_index
    weights = kept.astype(logits.dtype)
    if class_weight is not None:
        weights *= class_weight[np.where(kept, labels, 0)]
    total = weights.sum() if reduction == "mean" else 1
    shares = weights / total if total else weights
    result = gradient if loss is None else loss
    return PixelTrace(operation, logits, labels, weights, shares, losses, gradient, result)


def _numbers(values: Array) -> tuple[float, ...]:
    return tuple(values.ravel().tolist())


def _listed(values: tuple[float, ...]) -> str:
    return f"({', '.join(map(number, values))})"
