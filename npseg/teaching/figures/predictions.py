"""What networks make of an image, side by side."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from npseg import checks
from npseg.checks import Array
from npseg.data.dataset import VOID_COLOR, rgb_image
from npseg.data.pictures import class_colors, paint
from npseg.teaching.figures.legend import draw_legend, legend_entries, legend_height
from npseg.teaching.figures.style import Picture, styled

Network = Callable[[NDArray[np.uint8]], Array]
"""From an image (H, W, 3) to a label map (H, W)."""

PLACE = 2.6
"""Inches of a picture's width."""


@styled
def fcn_predictions(
    image: NDArray[np.uint8],
    networks: Mapping[str, Network | Array],
    classes: Sequence[str],
    colors: NDArray[np.uint8],
    *,
    labels: Array | None = None,
) -> Picture:
    """One image, its labels if known, and what FCN-32s, FCN-16s and FCN-8s make of it.

    Args:
        image: uint8 (H, W, 3).
        networks: by name, such as "FCN-32s": a label map (H, W), or a function from the image to one.
        classes: the names of the C classes, by id.
        colors: uint8 (C, 3), their colours.
        labels: (H, W), the true label map.

    Raises:
        ValueError: there is no network, names and colours differ in number, or a label map has another size.
    """
    image, colors = rgb_image(image, "image"), class_colors(colors)
    if not isinstance(classes, (tuple, list)) or not all(isinstance(name, str) for name in classes):
        raise TypeError(f"classes must be names, got {checks.describe(classes)}")
    if not checks.mapping(networks, "networks", "label maps or functions"):
        raise ValueError("networks must hold at least one label map or function, got none")
    maps = {} if labels is None else {"labels": labels}
    maps |= {name: found(image) if callable(found) else found for name, found in networks.items()}
    for name, found in maps.items():
        if checks.array(found, "labels" if name == "labels" else f"networks[{name!r}]").shape != image.shape[:2]:
            raise ValueError(f"{name} must have the image's size {image.shape[:2]}, got shape {found.shape}")
    entries = legend_entries(classes, colors, maps.values())
    width = PLACE * (1 + len(maps))
    height = PLACE * image.shape[0] / image.shape[1]
    figure = Picture(figsize=(width, height + 0.7 + legend_height(entries, width)), layout="constrained")
    drawn = {"image": image} | {name: paint(found, colors, VOID_COLOR) for name, found in maps.items()}
    for axes, (name, picture) in zip(figure.subplots(1, len(drawn)), drawn.items(), strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set(title=name, xticks=[], yticks=[])
    draw_legend(figure, entries, width)
    return figure
