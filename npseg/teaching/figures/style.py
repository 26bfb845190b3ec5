"""What all figures look like: one palette, one set of fonts, figures of their own.

Figures never go through `matplotlib.pyplot`: no window, no state that another figure could share.
"""

import io
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from npseg.checks import Array

BLUE, ORANGE, GREEN, RED, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9"
"""Okabe and Ito's colours, which colour-blind readers can tell apart."""

ROLES = {"source": BLUE, "weight": ORANGE, "target": GREEN}
PADDING, INK, FAINT = "0.9", "0.15", "0.55"

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.labelsize": 10.0,
    "axes.edgecolor": "0.4",
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "text.parse_math": False,
    "figure.facecolor": "white",
}

DOTS_PER_INCH = 120

WIDTH = 9.0
"""Inches of a wide figure."""

Parameters = ParamSpec("Parameters")


class Picture(Figure):
    """A figure that a notebook shows by itself, without `matplotlib.pyplot`."""

    def _repr_png_(self) -> bytes:
        """What a notebook asks of a cell's value: the PNG in 256 colours, which is smaller by half or more."""
        memory = io.BytesIO()
        with Image.open(io.BytesIO(self.png())) as picture:
            few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(memory, format="PNG", optimize=True)
        return memory.getvalue()

    def png(self) -> bytes:
        """The figure as a PNG, with whatever reaches outside (a long name in a legend) included."""
        memory = io.BytesIO()
        self.savefig(memory, format="png", dpi=DOTS_PER_INCH, bbox_inches="tight")
        return memory.getvalue()


def styled(draw: Callable[Parameters, Picture]) -> Callable[Parameters, Picture]:
    """Let a function draw its figure in this style, whatever the user's own settings are."""

    @wraps(draw)
    def drawn(*arguments: Parameters.args, **keywords: Parameters.kwargs) -> Picture:
        with matplotlib.rc_context(STYLE):
            return draw(*arguments, **keywords)

    return drawn


def tint(color: str, strength: float = 0.35) -> tuple[float, float, float]:
    """A colour mixed with white."""
    red, green, blue = (1 - strength * (1 - part) for part in to_rgb(color))
    return red, green, blue


def darker(color: str) -> tuple[float, float, float]:
    """A colour mixed with black, so that text in it is easily read on white."""
    red, green, blue = (0.75 * part for part in to_rgb(color))
    return red, green, blue


def sequence(count: int) -> list[tuple[float, float, float]]:
    """So many colours from dark to light, which stay apart in grey and for colour-blind readers."""
    shades: Colormap = matplotlib.colormaps["viridis"]
    return [tint(to_hex(shades(place)), 0.85) for place in np.linspace(0.1, 1, max(count, 2))[:count]]


def ink_on(color: Any) -> str:
    """Black or white, whichever is read more easily on this colour."""
    red, green, blue = to_rgb(color)
    return "white" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else INK


def bare(axes: Axes) -> None:
    """No frame and no tick marks, whose labels stay."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def quiet(axes: Axes) -> None:
    """A faint grid behind the curves, and no frame above and to the right of them."""
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def heat(axes: Axes, values: Array, *, largest: float, digits: bool = True) -> None:
    """A small map of counts from 1 to `largest`, darker where there is more, white where there is nothing."""
    axes.imshow(np.where(values > 0, values, np.nan), cmap="viridis_r", vmin=0, vmax=largest, interpolation="nearest")
    if digits:
        shades = matplotlib.colormaps["viridis_r"]
        size = min(9.0, 150 / max(values.shape))
        for (row, column), value in np.ndenumerate(values):
            if value > 0:
                color = ink_on(shades(value / largest))
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=color, fontsize=size)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("0.8")
