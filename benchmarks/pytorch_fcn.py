"""FCN as one would write it in PyTorch: the reference that npseg's networks are checked against and timed beside."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)

Parameters = Mapping[str, torch.Tensor]
"""Tensors by npseg's names."""

CROPS = {32: 19, 16: 27, 8: 31}
"""Where the paper's networks crop their last map."""


def logits(
    p: Parameters,
    x: torch.Tensor,
    depths: Sequence[int],
    stride: int,
    *,
    form: str = "same",
    at_once: bool = False,
    dropout: float = 0.0,
) -> torch.Tensor:
    """The logits (N, classes, H, W) of the network that `npseg.models.fcn` builds, from its parameters by name."""
    paper = form == "paper"
    pools = vgg_pools(p, x, depths, first_padding=100 if paper else 1)
    h = pools[5]
    h = F.dropout(F.relu_(F.conv2d(h, p["fc6.weight"], p["fc6.bias"], padding=0 if paper else 3)), dropout)
    h = F.dropout(F.relu_(F.conv2d(h, p["fc7.weight"], p["fc7.bias"])), dropout)
    h = F.conv2d(h, p["score_fr.weight"], p["score_fr.bias"])

    def enlarged(h: torch.Tensor, name: str, factor: int) -> torch.Tensor:
        return F.conv_transpose2d(h, p[f"{name}.weight"], stride=factor, padding=0 if paper else factor // 2)

    def joined(h: torch.Tensor, pool: int, scale: float, offset: int) -> torch.Tensor:
        source = pools[pool] * scale if at_once else pools[pool]
        scored = F.conv2d(source, p[f"score_pool{pool}.weight"], p[f"score_pool{pool}.bias"])
        if paper:
            return h + scored[:, :, offset : offset + h.shape[2], offset : offset + h.shape[3]]
        return h[:, :, : scored.shape[2], : scored.shape[3]] + scored

    if stride <= 16:
        h = joined(enlarged(h, "upscore2", 2), 4, 0.01, 5)
    if stride == 8:
        h = joined(enlarged(h, "upscore_pool4", 2), 3, 0.0001, 9)
    h = enlarged(h, "upscore" if stride == 32 else f"upscore{stride}", stride)
    offset = CROPS[stride] if paper else 0
    return h[:, :, offset : offset + x.shape[2], offset : offset + x.shape[3]]


def vgg_pools(
    p: Parameters, x: torch.Tensor, depths: Sequence[int], *, first_padding: int = 1
) -> dict[int, torch.Tensor]:
    """VGG's five stages: the map after each one's pool."""
    pools = {}
    for stage, depth in enumerate(depths, start=1):
        for number in range(1, depth + 1):
            name = f"conv{stage}_{number}"
            padding = first_padding if name == "conv1_1" else 1
            x = F.relu_(F.conv2d(x, p[f"{name}.weight"], p[f"{name}.bias"], padding=padding))
        x = pools[stage] = F.max_pool2d(x, 2, ceil_mode=True)
    return pools
