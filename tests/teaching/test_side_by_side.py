"""Maps side by side show their own numbers, in one scale."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from npseg.teaching.figures import side_by_side


def drawn(figure):
    FigureCanvasAgg(figure).draw()
    return figure.axes


def test_small_maps_are_written_with_the_strongest_colour_for_the_largest():
    small = np.array([[1.0, -4.0, 0.0]])
    large = np.array([[8.0], [2.0]])
    first, second = drawn(side_by_side({"small": small, "large": large}, title="two maps"))
    assert [text.get_text() for text in first.texts] == ["1", "-4", "0"]
    assert [text.get_text() for text in second.texts] == ["8", "2"]
    darkness = [1 - min(patch.get_facecolor()[:3]) for patch in (*first.patches, *second.patches)]
    assert darkness[3] == max(darkness)
    assert darkness[2] == 0


def test_large_maps_are_pictures_in_one_scale():
    dark, light = np.zeros((20, 30)), np.full((17, 3), 5.0)
    colors = np.zeros((20, 20, 3), np.uint8)
    axes = drawn(side_by_side({"dark": dark, "light": light, "colours": colors}, columns=2))
    assert [a.images[0].get_clim() for a in axes[:2]] == [(0, 5), (0, 5)]
    assert axes[2].get_position().y1 < axes[0].get_position().y0  # the third begins a line of its own
    np.testing.assert_array_equal(axes[2].images[0].get_array(), colors)


@pytest.mark.parametrize(
    "maps", [{}, {"line": np.zeros(3)}, {"batch": np.zeros((1, 1, 3, 3))}, {"e": np.zeros((0, 3))}]
)
def test_other_shapes_are_refused(maps):
    with pytest.raises(ValueError, match=r"maps must hold|must be a map"):
        side_by_side(maps)
