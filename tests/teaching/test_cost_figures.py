"""The figures of costs and fields show the numbers that formulas, graphs and gradients give."""

import numpy as np
import pytest
from PIL import Image

from npseg.teaching.figures import costs, effective


def curves(axes):
    return {line.get_label(): (line.get_xdata(), line.get_ydata()) for line in axes.get_lines()}


def test_costs_are_the_textbooks():
    parameters_of_channels, parameters_of_kernel, macs_of_channels, macs_of_kernel = costs._costs_figure().axes
    pixels = 56 * 56
    expected = {
        "full": lambda c, k: k * k * c * c,
        "separable": lambda c, k: k * k * c + c * c,
        "depthwise": lambda c, k: k * k * c,
    }
    for name, count in expected.items():
        for axes, factor in ((parameters_of_channels, 1), (macs_of_channels, pixels)):
            channels, values = curves(axes)[name]
            np.testing.assert_array_equal(values, [factor * count(c, 3) for c in channels])
        for axes, factor in ((parameters_of_kernel, 1), (macs_of_kernel, pixels)):
            kernels, values = curves(axes)[name]
            np.testing.assert_array_equal(values, [factor * count(256, k) for k in kernels])


def test_the_same_field_costs_less_in_layers_and_least_dilated():
    (axes,) = effective._parameters_figure().axes
    (fields, dense), (others, stacked), (more, dilated) = curves(axes).values()
    assert list(fields) == list(others) == list(more) == [3, 7, 15, 31, 63, 127]
    np.testing.assert_array_equal(dense, [64 * 64 * k * k + 64 for k in fields])
    np.testing.assert_array_equal(stacked, [(64 * 64 * 9 + 64) * (k - 1) / 2 for k in fields])
    np.testing.assert_array_equal(dilated, [(64 * 64 * 9 + 64) * n for n in range(1, 7)])


def test_effective_fields_are_framed_by_the_theoretical_ones():
    *panels, _ = effective._effective_figure(samples=2).axes
    for axes, pixels in zip(panels, (33, 33, 40), strict=True):
        (frame,) = axes.patches
        assert (frame.get_width(), frame.get_height()) == (pixels, pixels)
        assert axes.get_xlabel().startswith(f"theoretical {pixels} x {pixels}\neffective ")
        field = axes.images[0].get_array()
        assert field.max() == 1
        top, left = round(frame.get_y() + 0.5), round(frame.get_x() + 0.5)
        outside = np.ones(field.shape, bool)
        outside[top : top + pixels, left : left + pixels] = False
        assert not field[outside].any()


@pytest.mark.parametrize(
    "draw",
    [
        costs.costs,
        effective.parameters_against_field,
        lambda path: effective.effective_fields(path, samples=1),
    ],
)
def test_the_pictures_are_whole(draw, tmp_path):
    draw(tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.format == "PNG"
        assert 900 < picture.width < 1500
        assert np.array(picture.convert("L")).std() > 1
    with pytest.raises(OSError, match="missing"):
        draw(tmp_path / "missing" / "figure.png")
