"""The segmentation systems of the field in one size, so that they can be compared: same stages, small dilations.

Each is the description it has elsewhere in `npseg.models`, on encoders of the same widths and depths. The published
dilations are made for maps of 33 pixels and more; these are made for images of about 64 pixels, whose maps have 4 to 8.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from npseg import checks
from npseg.models.context import dilation8
from npseg.models.deeplab import deeplab_largefov, deeplab_pyramid
from npseg.models.fcn import fcn
from npseg.models.segnet import deconvnet, segnet
from npseg.models.vgg import five, vgg
from npseg.nn import Graph


@dataclass(frozen=True)
class Proportions:
    """What the systems have in common.

    Attributes:
        widths: channels of each of the five stages.
        depths: convolutions of each stage.
        fc6: channels of fc6 and fc7, where a system has them.
        dropout: probability after fc6 and fc7, where the authors have dropout there.
    """

    widths: Sequence[int] = (16, 32, 64, 128, 128)
    depths: Sequence[int] = (2, 2, 3, 3, 3)
    fc6: int = 256
    dropout: float = 0.5

    def __post_init__(self) -> None:
        """Check the arguments, whichever of them a system will use."""
        five(self.widths, "widths")
        five(self.depths, "depths")
        checks.integer(self.fc6, "fc6", at_least=1)
        checks.number(self.dropout, "dropout", at_least=0.0, below=1.0)


def _fcn(stride: int) -> Callable[[int, Proportions, int], Graph]:
    return lambda classes, p, seed: fcn(vgg(p.widths, p.depths, p.fc6, dropout=p.dropout, seed=seed), classes, stride)


def _pyramid(classes: int, p: Proportions, seed: int) -> Graph:
    """As many channels as the last stage has; in the paper 256 of 512, and 48 of the finer map."""
    channels = p.widths[-1]
    options = {"rates": (1, 2, 3), "low_level": max(1, channels * 48 // 256)}
    return deeplab_pyramid(classes, p.widths, p.depths, channels, **options, seed=seed)  # type: ignore[arg-type]


SYSTEMS: dict[str, Callable[[int, Proportions, int], Graph]] = {
    "fcn32s": _fcn(32),
    "fcn16s": _fcn(16),
    "fcn8s": _fcn(8),
    "segnet": lambda classes, p, seed: segnet(classes, p.widths, p.depths, seed=seed),
    "deconvnet": lambda classes, p, seed: deconvnet(classes, p.widths, p.depths, p.fc6, seed=seed),
    "deeplab-largefov": lambda classes, p, seed: deeplab_largefov(
        classes, p.widths, p.depths, p.fc6, rate=2, dropout=p.dropout, seed=seed
    ),
    "deeplab-pyramid": _pyramid,
    "dilation8": lambda classes, p, seed: dilation8(
        classes, p.widths, p.depths, p.fc6, rate=1, dropout=p.dropout, seed=seed
    ),
}
"""How each is built from its classes, proportions and seed."""


def system(name: str, classes: int, proportions: Proportions | None = None, *, seed: int = 0) -> Graph:
    """A segmentation system in small.

    Args:
        name: one of `SYSTEMS`.
        classes: channels of the result.
        proportions: None is the small default of `npseg train`.
        seed: of the initial weights.

    Returns:
        A graph from images (N, 3, H, W) to logits (N, classes, H, W), for any H and W.

    Raises:
        TypeError, ValueError: an argument is not of this form.

    >>> {name: system(name, 6).shapes((64, 64)).popitem()[1] for name in ("segnet", "dilation8")}
    {'segnet': (6, 64, 64), 'dilation8': (6, 64, 64)}
    """
    build = SYSTEMS[checks.choice(name, "name", tuple(SYSTEMS))]
    proportions = Proportions() if proportions is None else checks.instance(proportions, "proportions", Proportions)
    return build(classes, proportions, seed)
