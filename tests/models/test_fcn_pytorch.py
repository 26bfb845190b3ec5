"""The whole network against PyTorch: logits and every gradient, both forms, odd sizes. Skipped where it is missing."""

from typing import Any

import numpy as np
import pytest

from npseg.models import fcn, vgg
from npseg.nn import cross_entropy

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from benchmarks import pytorch_fcn  # noqa: E402 (it imports PyTorch)


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
    expected = pytorch_fcn.logits(tensors, torch.tensor(x), depths, stride, form=form)
    expected_loss = torch.nn.functional.cross_entropy(expected, torch.tensor(labels), ignore_index=255)
    expected_loss.backward()

    assert np.abs(logits - expected.detach().numpy()).max() <= bound * np.abs(logits).max()
    assert float(loss) == pytest.approx(expected_loss.item(), rel=bound)
    for name, gradient in gradients.items():
        theirs = tensors[name].grad.numpy()
        assert np.abs(gradient - theirs).max() <= bound * np.abs(theirs).max(), name
