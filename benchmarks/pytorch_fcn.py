"""FCN as one would write it in PyTorch: the reference that npseg's networks are checked against and timed beside."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)

CROPS = {32: 19, 16: 27, 8: 31}
"""Where the paper's networks crop their last map."""


def logits(
    p: Mapping[str, torch.Tensor],
    x: torch.Tensor,
    depths: Sequence[int],
    stride: int,
    *,
    form: str = "same",
    dropout: float = 0.0,
) -> torch.Tensor:
    """The logits (N, classes, H, W) of the network that `npseg.models.fcn` builds, from its parameters by name."""
    paper = form == "paper"
    pools: dict[int, Any] = {}
    h = x
    for stage, depth in enumerate(depths, start=1):
        for number in range(1, depth + 1):
            name = f"conv{stage}_{number}"
            padding = 100 if paper and name == "conv1_1" else 1
            h = F.relu_(F.conv2d(h, p[f"{name}.weight"], p[f"{name}.bias"], padding=padding))
        h = pools[stage] = F.max_pool2d(h, 2, ceil_mode=True)
    h = F.dropout(F.relu_(F.conv2d(h, p["fc6.weight"], p["fc6.bias"], padding=0 if paper else 3)), dropout)
    h = F.dropout(F.relu_(F.conv2d(h, p["fc7.weight"], p["fc7.bias"])), dropout)
    h = F.conv2d(h, p["score_fr.weight"], p["score_fr.bias"])

    def enlarged(h: torch.Tensor, name: str, factor: int) -> torch.Tensor:
        return F.conv_transpose2d(h, p[f"{name}.weight"], stride=factor, padding=0 if paper else factor // 2)

    def joined(h: torch.Tensor, pool: int, offset: int) -> torch.Tensor:
        scored = F.conv2d(pools[pool], p[f"score_pool{pool}.weight"], p[f"score_pool{pool}.bias"])
        if paper:
            return h + scored[:, :, offset : offset + h.shape[2], offset : offset + h.shape[3]]
        return h[:, :, : scored.shape[2], : scored.shape[3]] + scored

    if stride <= 16:
        h = joined(enlarged(h, "upscore2", 2), 4, 5)
    if stride == 8:
        h = joined(enlarged(h, "upscore_pool4", 2), 3, 9)
    h = enlarged(h, "upscore" if stride == 32 else f"upscore{stride}", stride)
    offset = CROPS[stride] if paper else 0
    return h[:, :, offset : offset + x.shape[2], offset : offset + x.shape[3]]
