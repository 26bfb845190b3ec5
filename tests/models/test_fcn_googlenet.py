"""FCN on GoogLeNet: the odd upsamplers and crops that its odd windows ask for, and PyTorch's logits and gradients."""

from typing import Any

import numpy as np
import pytest

from npseg.analysis import explain_crops, summary
from npseg.models import fcn, fcn_googlenet, googlenet, googlenet_encoder, named
from npseg.models.googlenet import INCEPTIONS, SKIPS
from npseg.nn import ConvTranspose2d, Crop, Graph, cross_entropy

CROPS = {
    ("paper", 32): {"score": 98},
    ("paper", 16): {"upscore2c": 0, "score": 98},
    ("paper", 8): {"upscore2c": 0, "upscore_pool3c": 0, "score": 98},
    ("same", 32): {"score": 0},
    ("same", 16): {"upscore2c": 0, "score": 0},
    ("same", 8): {"upscore2c": 0, "upscore_pool3c": 0, "score": 0},
}
TAPS = {
    32: {"upscore": 63},
    16: {"upscore2": 3, "upscore16": 31},
    8: {"upscore2": 3, "upscore_pool3": 3, "upscore8": 15},
}


@pytest.mark.parametrize(("form", "stride"), CROPS)
def test_crops_and_taps_follow_from_the_coordinates(form: str, stride: int) -> None:
    model = fcn_googlenet(21, stride, form=form)
    assert {n.name: n.layer.offset for n in model.nodes if isinstance(n.layer, Crop)} == CROPS[form, stride]
    upsamplers = {n.name: n.layer.kernel_size for n in model.nodes if isinstance(n.layer, ConvTranspose2d)}
    assert upsamplers == TAPS[stride]
    maps = model.coordinates()
    assert maps["score"] == maps["image"]
    for node in model.nodes:
        if node.name.startswith("fuse_"):
            assert maps[node.inputs[0]] == maps[node.inputs[1]]
    for height in [*range(1, 70), 127, 128, 129]:
        assert model.shapes((height, 131 - height))["score"] == (21, height, 131 - height)


def test_an_even_upsampler_would_lie_between_the_pixels() -> None:
    with pytest.raises(ValueError, match="no crop aligns"):
        fcn(googlenet_encoder(), 21, 32, form="paper", last_kernel_size=64)


def test_counts() -> None:
    """The classifier without its 1024 x 1000 weights and 1000 biases, then scores and upsamplers."""
    encoder = 6_998_552 - 1_025_000
    for stride, upsampling, skips in ((32, 63**2, 0), (16, 3**2 + 31**2, 480), (8, 2 * 3**2 + 15**2, 480 + 192)):
        model, size = named(f"fcn{stride}s", backbone="googlenet")
        counted = summary(model, size)
        scores = (1024 + skips + 1 + (skips > 0) + (skips > 480)) * 21
        assert counted.trainable_parameters == encoder + scores
        assert counted.parameters == encoder + scores + 21 * 21 * upsampling
        assert counted.layer("score_fr").receptive_field == (715, 715)
        assert counted.layers[-1].output_shape == (21, 500, 500)
    assert "offset = padding - 2, for any image" in explain_crops(*named("fcn32s", backbone="googlenet"))


def test_a_classifier_and_its_encoder_share_their_layers() -> None:
    nodes = googlenet_encoder().nodes
    assert nodes == googlenet().nodes[: len(nodes)]
    assert set(SKIPS) <= {node.name for node in nodes}


def test_a_missing_map_is_named() -> None:
    with pytest.raises(ValueError, match="backbone must have a map 'pool4' for this stride"):
        fcn(googlenet_encoder(), 21, 16)


def torch_logits(p: dict[str, Any], image: Any, stride: int, form: str) -> Any:
    """Written from the paper's table and Caffe's names, with PyTorch's functions."""
    from torch.nn import functional

    def convolved(x: Any, name: str, **options: Any) -> Any:
        return functional.relu(functional.conv2d(x, p[f"{name}.weight"], p[f"{name}.bias"], **options))

    def pooled(x: Any) -> Any:
        return functional.max_pool2d(x, 3, 2, padding=1 if form == "same" else 0, ceil_mode=form == "paper")

    def enlarged(x: Any, name: str, factor: int) -> Any:
        y = functional.conv_transpose2d(x, p[f"{name}.weight"], stride=factor)
        start = factor - 1 if form == "same" else 0
        return y[..., start:, start:]

    x = convolved(image, "conv1/7x7_s2", stride=2, padding=100 if form == "paper" else 3)
    x = functional.local_response_norm(pooled(x), 5)
    x = convolved(convolved(x, "conv2/3x3_reduce"), "conv2/3x3", padding=1)
    x = pooled(functional.local_response_norm(x, 5))
    skips = {8: x}
    for name in INCEPTIONS:
        if name in ("4a", "5a"):
            x = pooled(x)
            skips[{"4a": 16, "5a": 32}[name]] = x
        module = f"inception_{name}"
        branches = [
            convolved(x, f"{module}/1x1"),
            convolved(convolved(x, f"{module}/3x3_reduce"), f"{module}/3x3", padding=1),
            convolved(convolved(x, f"{module}/5x5_reduce"), f"{module}/5x5", padding=2),
            convolved(functional.max_pool2d(x, 3, 1, padding=1), f"{module}/pool_proj"),
        ]
        x = torch_cat(branches)
    x = functional.conv2d(x, p["score_fr.weight"], p["score_fr.bias"])
    for step, upsampler, pool in ((16, "upscore2", "pool3"), (8, "upscore_pool3", "pool2")):
        if stride <= step:
            skip = functional.conv2d(skips[step], p[f"score_{pool}.weight"], p[f"score_{pool}.bias"])
            x = enlarged(x, upsampler, 2)[..., : skip.shape[2], : skip.shape[3]] + skip
    x = enlarged(x, "upscore" if stride == 32 else f"upscore{stride}", stride)
    start = 98 if form == "paper" else 0
    return x[..., start : start + image.shape[2], start : start + image.shape[3]]


def torch_cat(maps: list[Any]) -> Any:
    import torch

    return torch.cat(maps, dim=1)


@pytest.mark.parametrize(("form", "stride"), [("same", 32), ("same", 8), ("paper", 16)])
def test_logits_and_gradients_are_pytorchs(form: str, stride: int) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(0)
    encoder = googlenet_encoder(dtype=np.float64)
    model: Graph = fcn(encoder, 3, stride, form=form, skips=SKIPS, train_upsampling="all")
    for value in model.parameters.values():
        value += 0.01 * rng.standard_normal(value.shape)
    x = rng.standard_normal((1, 3, 37, 50))
    labels = rng.integers(0, 3, (1, 37, 50))

    logits, saved = model.forward(x)
    _, grad = cross_entropy(logits, labels)
    gradients = model.backward(grad, saved)

    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in model.parameters.items()}
    expected = torch_logits(tensors, torch.tensor(x), stride, form)
    torch.nn.functional.cross_entropy(expected, torch.tensor(labels)).backward()
    assert np.abs(logits - expected.detach().numpy()).max() <= 1e-9 * np.abs(logits).max()
    assert set(gradients) == set(tensors)
    for name, gradient in gradients.items():
        theirs = tensors[name].grad.numpy()
        assert np.abs(gradient - theirs).max() <= 1e-9 * np.abs(theirs).max(), name
