"""What all figures share: colours that colour-blind readers can tell apart, quiet axes, files written whole."""

import os

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from npseg.files import write_whole

BLUE, SKY, ORANGE, VERMILION, GREEN = "#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#009E73"
"""Okabe and Ito's colours."""

WIDTH = 9.0
"""Inches of a figure's width."""


def quiet(axes: Axes) -> None:
    """A faint grid behind the curves, and no frame above and to the right of them."""
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the figure as a PNG with whatever reaches outside (a long name in a legend) included."""
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=120, bbox_inches="tight"))
