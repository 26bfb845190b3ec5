"""The loss with its gradient: where the walk back begins."""

from typing import Any

from npseg import ops
from npseg.checks import Array


def cross_entropy(
    logits: Array,
    labels: Array,
    *,
    ignore_index: int = 255,
    class_weight: Array | None = None,
    reduction: str = "mean",
) -> tuple[Any, Array]:
    """The cross-entropy of a batch and its gradient with respect to the logits.

    Args:
        logits: (N, C, H, W).
        labels: (N, H, W) class ids of any integer dtype.
        ignore_index: a label that does not count.
        class_weight: (C,), or None.
        reduction: "mean" over the pixels that count, or "sum", the FCN paper's.

    Returns:
        The loss, a scalar of the logits' dtype, and its gradient (N, C, H, W).

    Raises:
        TypeError, ValueError: as `npseg.ops.cross_entropy2d`.
    """
    return ops.classification.cross_entropy2d_and_gradient(
        logits, labels, ignore_index=ignore_index, class_weight=class_weight, reduction=reduction
    )
