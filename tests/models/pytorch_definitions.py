"""The networks of the field as one would write them in PyTorch, from the papers and the authors' files.

Each is a function of the parameters by npseg's names and of the images; widths are those that the parameters have.
FCN on VGG is in `benchmarks.pytorch_fcn`, which is also timed.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

from benchmarks.pytorch_fcn import Parameters, vgg_pools


def conv(p: Parameters, name: str, x: Tensor, stride: int = 1, padding: int = 0, **options: int) -> Tensor:
    return F.conv2d(x, p[f"{name}.weight"], p.get(f"{name}.bias"), stride, padding, **options)


def linear(p: Parameters, name: str, x: Tensor) -> Tensor:
    return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])


def dense_head(p: Parameters, x: Tensor) -> Tensor:
    x = F.relu(linear(p, "fc6", x.flatten(1)))
    return linear(p, "fc8", F.relu(linear(p, "fc7", x)))


def vgg(p: Parameters, x: Tensor, depths: Sequence[int]) -> Tensor:
    return dense_head(p, vgg_pools(p, x, depths)[5])


def alexnet(p: Parameters, x: Tensor) -> Tensor:
    """torchvision/models/alexnet.py."""
    x = F.max_pool2d(F.relu(conv(p, "conv1", x, 4, 2)), 3, 2)
    x = F.max_pool2d(F.relu(conv(p, "conv2", x, 1, 2)), 3, 2)
    x = F.relu(conv(p, "conv3", x, 1, 1))
    x = F.relu(conv(p, "conv4", x, 1, 1))
    x = F.max_pool2d(F.relu(conv(p, "conv5", x, 1, 1)), 3, 2)
    return dense_head(p, F.adaptive_avg_pool2d(x, 6))


def caffenet_pool5(p: Parameters, x: Tensor, padding: int = 0) -> Tensor:
    """Caffe's models/bvlc_reference_caffenet: pools round up; normalisation is over 5 channels and after the pool."""

    def norm(x: Tensor) -> Tensor:
        squares = F.pad((x * x)[:, None], (0, 0, 0, 0, 2, 2))
        return x / (1 + 1e-4 * F.avg_pool3d(squares, (5, 1, 1), 1)[:, 0]) ** 0.75

    x = norm(F.max_pool2d(F.relu(conv(p, "conv1", x, 4, padding)), 3, 2, ceil_mode=True))
    x = norm(F.max_pool2d(F.relu(conv(p, "conv2", x, 1, 2, groups=2)), 3, 2, ceil_mode=True))
    x = F.relu(conv(p, "conv3", x, 1, 1))
    x = F.relu(conv(p, "conv4", x, 1, 1, groups=2))
    return F.max_pool2d(F.relu(conv(p, "conv5", x, 1, 1, groups=2)), 3, 2, ceil_mode=True)


def caffenet(p: Parameters, x: Tensor) -> Tensor:
    return dense_head(p, caffenet_pool5(p, x))


def fcn_alexnet(p: Parameters, x: Tensor) -> Tensor:
    """The authors' voc-fcn-alexnet/net.py."""
    h = F.relu(conv(p, "fc6", caffenet_pool5(p, x, padding=100)))
    h = conv(p, "score_fr", F.relu(conv(p, "fc7", h)))
    h = F.conv_transpose2d(h, p["upscore.weight"], stride=32)
    return h[:, :, 18 : 18 + x.shape[2], 18 : 18 + x.shape[3]]


def googlenet(p: Parameters, x: Tensor) -> Tensor:
    """Caffe's models/bvlc_googlenet, without its auxiliary classifiers."""

    def pool(x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    def norm(x: Tensor) -> Tensor:
        return F.local_response_norm(x, 5, 1e-4, 0.75, 1.0)

    def inception(name: str, x: Tensor) -> Tensor:
        def active(part: str, x: Tensor, padding: int = 0) -> Tensor:
            return F.relu(conv(p, f"inception_{name}/{part}", x, 1, padding))

        branches = [
            active("1x1", x),
            active("3x3", active("3x3_reduce", x), 1),
            active("5x5", active("5x5_reduce", x), 2),
            active("pool_proj", F.max_pool2d(x, 3, 1, 1)),
        ]
        return torch.cat(branches, 1)

    x = norm(pool(F.relu(conv(p, "conv1/7x7_s2", x, 2, 3))))
    x = F.relu(conv(p, "conv2/3x3_reduce", x))
    x = pool(norm(F.relu(conv(p, "conv2/3x3", x, 1, 1))))
    x = pool(inception("3b", inception("3a", x)))
    for name in ("4a", "4b", "4c", "4d", "4e"):
        x = inception(name, x)
    x = inception("5b", inception("5a", pool(x)))
    return linear(p, "loss3/classifier", x.mean((2, 3)))


def mobilenet_v1(p: Parameters, x: Tensor, *, training: bool = False) -> Tensor:
    """Table 1 of the paper, batch by batch normalised while training; running statistics are changed in place."""

    def active(name: str, x: Tensor, stride: int = 1, padding: int = 0, groups: int = 1) -> Tensor:
        x, norm = conv(p, name, x, stride, padding, groups=groups), f"{name}/bn"
        statistics = p[f"{norm}.running_mean"], p[f"{norm}.running_var"]
        return F.relu(F.batch_norm(x, *statistics, p[f"{norm}.weight"], p[f"{norm}.bias"], training))

    x = active("conv1", x, 2, 1)
    blocks = ["2_1", "2_2", "3_1", "3_2", "4_1", "4_2", "5_1", "5_2", "5_3", "5_4", "5_5", "5_6", "6"]
    for name in blocks:
        stride = 2 if name in ("2_2", "3_2", "4_2", "5_6") else 1
        x = active(f"conv{name}/dw", x, stride, 1, groups=x.shape[1])
        x = active(f"conv{name}/sep", x)
    return linear(p, "fc7", x.mean((2, 3)))


def deeplab_largefov(p: Parameters, x: Tensor) -> Tensor:
    """The authors' DeepLab-LargeFOV: from pool4 on nothing subsamples, and what follows is dilated."""
    h = x
    for stage, depth in enumerate((2, 2, 3, 3, 3), start=1):
        dilation = 2 if stage == 5 else 1
        for number in range(1, depth + 1):
            h = F.relu(conv(p, f"conv{stage}_{number}", h, 1, dilation, dilation=dilation))
        h = F.max_pool2d(h, 3, 1 if stage >= 4 else 2, 1, ceil_mode=True)
    h = F.avg_pool2d(h, 3, 1, 1)
    h = F.relu(conv(p, "fc6", h, 1, 12, dilation=12))
    h = conv(p, "fc8", F.relu(conv(p, "fc7", h)))
    return F.interpolate(h, x.shape[2:], mode="bilinear", align_corners=True)


def context_module(p: Parameters, x: Tensor) -> Tensor:
    """Table 1 of Yu and Koltun."""
    for name, dilation in zip(["1_1", "1_2", "2_1", "3_1", "4_1", "5_1"], (1, 1, 2, 4, 8, 16), strict=True):
        x = F.relu(conv(p, f"ct_conv{name}", x, 1, dilation, dilation=dilation))
    return conv(p, "ct_final", F.relu(conv(p, "ct_fc1", x, 1, 1)))
