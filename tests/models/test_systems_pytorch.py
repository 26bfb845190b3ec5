"""SegNet, DeconvNet and DeepLab's pyramid against PyTorch: logits and every gradient, at odd sizes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from npseg.models import deconvnet, deeplab_pyramid, segnet
from npseg.nn import Graph, cross_entropy

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch.nn import functional  # noqa: E402 (after the skip)

WIDTHS, DEPTHS, RATES = (4, 5, 6, 7, 8), (1, 2, 1, 1, 2), (1, 2, 3)
Tensors = dict[str, Any]


def normalised(x: Any, p: Tensors, name: str) -> Any:
    y = functional.batch_norm(x, None, None, p[f"{name}.weight"], p[f"{name}.bias"], training=True)
    return functional.relu(y)


def convolved(x: Any, p: Tensors, name: str, **options: Any) -> Any:
    return functional.conv2d(x, p[f"{name}.weight"], p.get(f"{name}.bias"), **options)


def transposed(x: Any, p: Tensors, name: str, padding: int) -> Any:
    return functional.conv_transpose2d(x, p[f"{name}.weight"], padding=padding)


def encoded(x: Any, p: Tensors, stages: int = 5) -> tuple[Any, list[tuple[Any, Any]], list[Any]]:
    """The last map, indices and size of each pool, and the pooled maps."""
    pools, maps = [], []
    for stage, depth in enumerate(DEPTHS, start=1):
        for number in range(1, depth + 1):
            name = f"conv{stage}_{number}"
            x = normalised(convolved(x, p, name, padding=1), p, f"{name}_bn")
        if stage <= stages:
            size = x.shape[2:]
            x, indices = functional.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
            pools.append((indices, size))
            maps.append(x)
    return x, pools, maps


def segnet_logits(p: Tensors, x: Any) -> Any:
    x, pools, _ = encoded(x, p)
    for stage in (5, 4, 3, 2, 1):
        indices, size = pools[stage - 1]
        x = functional.max_unpool2d(x, indices, 2, 2, output_size=size)
        for number in range(DEPTHS[stage - 1], 0, -1):
            name = f"conv{stage}_{number}_D"
            x = convolved(x, p, name, padding=1)
            if name != "conv1_1_D":
                x = normalised(x, p, f"{name}_bn")
    return x


def deconvnet_logits(p: Tensors, x: Any) -> Any:
    x, pools, _ = encoded(x, p)
    x = normalised(convolved(x, p, "fc6", padding=3), p, "bnfc6")
    x = normalised(convolved(x, p, "fc7"), p, "bnfc7")
    x = normalised(transposed(x, p, "fc6-deconv", 3), p, "fc6-deconv-bn")
    for stage in (5, 4, 3, 2, 1):
        indices, size = pools[stage - 1]
        x = functional.max_unpool2d(x, indices, 2, 2, output_size=size)
        for number in range(1, DEPTHS[stage - 1] + 1):
            x = normalised(transposed(x, p, f"deconv{stage}_{number}", 1), p, f"debn{stage}_{number}")
    return convolved(x, p, "seg-score")


def separable(x: Any, p: Tensors, name: str, dilation: int = 1) -> Any:
    x = convolved(x, p, f"{name}_depthwise", padding=dilation, dilation=dilation, groups=x.shape[1])
    x = normalised(x, p, f"{name}_depthwise_bn")
    return normalised(convolved(x, p, f"{name}_pointwise"), p, f"{name}_pointwise_bn")


def enlarged(x: Any, size: Sequence[int]) -> Any:
    return functional.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)[..., : size[0], : size[1]]


def pyramid_logits(p: Tensors, image: Any) -> Any:
    x, _, maps = encoded(image, p, stages=4)
    whole = functional.relu(convolved(x.mean((2, 3), keepdim=True), p, "image_pooling")).expand(-1, -1, *x.shape[2:])
    branches = [normalised(convolved(x, p, "aspp0"), p, "aspp0_bn")]
    branches += [separable(x, p, f"aspp{place}", rate) for place, rate in enumerate(RATES, start=1)]
    x = convolved(torch.cat([*branches, whole], dim=1), p, "concat_projection")
    x = normalised(x, p, "concat_projection_bn")
    finer = normalised(convolved(maps[1], p, "feature_projection"), p, "feature_projection_bn")
    x = torch.cat([enlarged(x, finer.shape[2:]), finer], dim=1)
    x = separable(separable(x, p, "decoder_conv0"), p, "decoder_conv1")
    return enlarged(convolved(x, p, "logits"), image.shape[2:])


NETWORKS: dict[str, tuple[Callable[[Any], Graph], Callable[[Tensors, Any], Any]]] = {
    "segnet": (lambda dtype: segnet(4, WIDTHS, DEPTHS, dtype=dtype), segnet_logits),
    "deconvnet": (lambda dtype: deconvnet(4, WIDTHS, DEPTHS, 9, dtype=dtype), deconvnet_logits),
    "deeplab-pyramid": (
        lambda dtype: deeplab_pyramid(4, WIDTHS, DEPTHS, 6, rates=RATES, low_level=3, dropout=0.0, dtype=dtype),
        pyramid_logits,
    ),
}


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-9), (np.float32, 1e-3)])
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_gradients(name: str, dtype: Any, bound: float) -> None:
    """float32 has the bound of a deep chain of batch norms, whose gradients are differences of nearly equal sums."""
    build, definition = NETWORKS[name]
    model, rng = build(dtype), np.random.default_rng(0)
    for value in model.parameters.values():
        value += (0.05 * rng.standard_normal(value.shape)).astype(dtype)
    x = rng.standard_normal((2, 3, 77, 50)).astype(dtype)
    labels = rng.integers(0, 4, (2, 77, 50))
    labels[:, 5:9, 3:20] = 255

    logits, saved = model.forward(x, training=True)
    loss, grad = cross_entropy(logits, labels)
    gradients = model.backward(grad, saved)

    tensors = {key: torch.tensor(value, requires_grad=True) for key, value in model.parameters.items()}
    expected = definition(tensors, torch.tensor(x))
    expected_loss = functional.cross_entropy(expected, torch.tensor(labels), ignore_index=255)
    expected_loss.backward()

    assert np.abs(logits - expected.detach().numpy()).max() <= bound * np.abs(logits).max()
    assert float(loss) == pytest.approx(expected_loss.item(), rel=bound)
    assert set(gradients) == set(tensors)
    for key, gradient in gradients.items():
        theirs = tensors[key].grad.numpy()
        assert np.abs(gradient - theirs).max() <= bound * np.abs(theirs).max(), key
