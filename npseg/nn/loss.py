"""The loss with its gradient: where the walk back begins."""

from typing import Any

import numpy as np

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
        logits: (N, C, H, W), or a classifier's (N, C), which are treated as maps of one pixel.
        labels: (N, H, W), or (N,), class ids of any integer dtype.
        ignore_index: a label that does not count.
        class_weight: (C,), or None.
        reduction: "mean" over the pixels that count, or "sum", the FCN paper's.

    Returns:
        The loss, a scalar of the logits' dtype, and its gradient, as large as the logits.

    Raises:
        TypeError, ValueError: as `npseg.ops.cross_entropy2d`.
    """
    if np.ndim(logits) == 2 and np.ndim(labels) == 1:
        loss, gradient = cross_entropy(
            logits[:, :, np.newaxis, np.newaxis],
            labels[:, np.newaxis, np.newaxis],
            ignore_index=ignore_index,
            class_weight=class_weight,
            reduction=reduction,
        )
        return loss, gradient[:, :, 0, 0]
    return ops.classification.cross_entropy2d_and_gradient(
        logits, labels, ignore_index=ignore_index, class_weight=class_weight, reduction=reduction
    )
