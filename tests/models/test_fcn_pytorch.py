"""The whole network against PyTorch: logits and every gradient, both forms, odd sizes. Skipped where it is missing."""

from typing import Any

import numpy as np
import pytest

from npseg.models import fcn, vgg
from npseg.nn import cross_entropy

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional


def reference(p: dict[str, Any], x: Any, depths: tuple[int, ...], stride: int, form: str) -> Any:
    """FCN as one would write it in PyTorch, with the crops as the paper's released networks have them."""
    paper = form == "paper"
    pools, h = {}, x
    for stage, depth in enumerate(depths, start=1):
        for number in range(1, depth + 1):
            name = f"conv{stage}_{number}"
            padding = 100 if paper and name == "conv1_1" else 1
            h = F.relu(F.conv2d(h, p[f"{name}.weight"], p[f"{name}.bias"], padding=padding))
        h = pools[stage] = F.max_pool2d(h, 2, ceil_mode=True)
    h = F.relu(F.conv2d(h, p["fc6.weight"], p["fc6.bias"], padding=0 if paper else 3))
    h = F.relu(F.conv2d(h, p["fc7.weight"], p["fc7.bias"]))
    h = F.conv2d(h, p["score_fr.weight"], p["score_fr.bias"])

    def up(h: Any, name: str, factor: int) -> Any:
        return F.conv_transpose2d(h, p[f"{name}.weight"], stride=factor, padding=0 if paper else factor // 2)

    def join(h: Any, pool: int, offset: int) -> Any:
        s = F.conv2d(pools[pool], p[f"score_pool{pool}.weight"], p[f"score_pool{pool}.bias"])
        if paper:
            return h + s[:, :, offset : offset + h.shape[2], offset : offset + h.shape[3]]
        return h[:, :, : s.shape[2], : s.shape[3]] + s

    if stride <= 16:
        h = join(up(h, "upscore2", 2), 4, 5)
    if stride == 8:
        h = join(up(h, "upscore_pool4", 2), 3, 9)
    h = up(h, "upscore" if stride == 32 else f"upscore{stride}", stride)
    offset = {32: 19, 16: 27, 8: 31}[stride] if paper else 0
    return h[:, :, offset : offset + x.shape[2], offset : offset + x.shape[3]]


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-9), (np.float32, 1e-4)])
@pytest.mark.parametrize("form", ["same", "paper"])
@pytest.mark.parametrize("stride", [32, 16, 8])
def test_logits_and_gradients(stride: int, form: str, dtype: Any, bound: float) -> None:
    depths, rng = (1, 2, 1, 1, 2), np.random.default_rng(0)
    backbone = vgg((4, 5, 6, 7, 8), depths, 9, dtype=dtype)
    model = fcn(backbone, 4, stride, form=form, train_upsampling="all")
    for value in model.parameters.values():
        value += (0.05 * rng.standard_normal(value.shape)).astype(dtype)
    x = rng.standard_normal((2, 3, 37, 50)).astype(dtype)
    labels = rng.integers(0, 4, (2, 37, 50))
    labels[:, 5:9, 3:20] = 255

    logits, saved = model.forward(x)
    loss, grad = cross_entropy(logits, labels)
    gradients = model.backward(grad, saved)

    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in model.parameters.items()}
    expected = reference(tensors, torch.tensor(x), depths, stride, form)
    expected_loss = F.cross_entropy(expected, torch.tensor(labels), ignore_index=255)
    expected_loss.backward()

    assert np.abs(logits - expected.detach().numpy()).max() <= bound * np.abs(logits).max()
    assert float(loss) == pytest.approx(expected_loss.item(), rel=bound)
    for name, gradient in gradients.items():
        theirs = tensors[name].grad.numpy()
        assert np.abs(gradient - theirs).max() <= bound * np.abs(theirs).max(), name
