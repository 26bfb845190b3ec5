"""Initial weights do what they are for."""

import numpy as np
import pytest

from npseg import ops
from npseg.nn.initialisation import bilinear, he_normal, identity


def test_he_keeps_the_signals_size_through_relu() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 64, 24, 24))
    for _ in range(4):
        weight = he_normal(rng, (64, 64, 3, 3), np.dtype(float))
        x = ops.relu(ops.conv2d(x, weight, padding="same"))
    # E[relu(z)^2] = Var[z] / 2, and He's variance makes up for the half; the border's padding takes a little.
    assert np.mean(x**2) == pytest.approx(0.8, abs=0.4)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_bilinear_upsampler_is_bilinear_interpolation_inside(factor: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 3, 5, 7))
    weight = bilinear(rng, (3, 3, 2 * factor, 2 * factor), np.dtype(float))
    enlarged = ops.conv_transpose2d(x, weight, stride=factor, padding=factor // 2)
    expected = ops.resize_bilinear(x, (5 * factor, 7 * factor))
    inside = slice(factor, -factor)
    np.testing.assert_allclose(enlarged[:, :, inside, inside], expected[:, :, inside, inside], atol=1e-12)
    assert np.abs(enlarged - expected).max() > 1e-3  # at the border the stamps fade out, interpolation does not


def test_bilinear_upsampler_mixes_no_classes() -> None:
    weight = bilinear(np.random.default_rng(0), (4, 4, 4, 4), np.dtype(np.float32))
    assert weight.dtype == np.float32
    off_diagonal = ~np.eye(4, dtype=bool)
    assert not weight[off_diagonal].any()
    assert weight[1, 1].sum() == 4  # stride 2 both ways: each input pixel covers four output pixels' worth


@pytest.mark.parametrize(("outputs", "inputs"), [(5, 5), (6, 3), (4, 12), (6, 4)])
def test_identity_is_the_papers_equation(outputs: int, inputs: int) -> None:
    weight = identity(np.random.default_rng(0), (outputs, inputs, 3, 5), np.dtype(float))
    groups = int(np.gcd(outputs, inputs))
    for b, a, row, column in np.ndindex(*weight.shape):
        if (row, column) == (1, 2) and a * groups // inputs == b * groups // outputs:
            assert weight[b, a, row, column] == groups / outputs
        elif outputs == inputs:
            assert weight[b, a, row, column] == 0
        else:
            assert 0 < abs(weight[b, a, row, column]) < 0.006 * groups / outputs
