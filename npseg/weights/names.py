"""Other libraries' names for the layers that npseg has.

npseg's own are Caffe's (`conv1_1` ... `fc7`) and those of the authors' FCNs (`score_fr`, `score_pool4`, `score_pool3`,
`upscore2`, `upscore_pool4`, `upscore8`, `upscore16`, `upscore`), which PyTorch's FCNs kept: such files need no map.
"""

from npseg import checks
from npseg.models.vgg import VGG_DEPTHS

PARAMETERS = ("weight", "bias")


def torchvision_vgg(name: str) -> dict[str, str]:
    """torchvision's names of a VGG without batch normalisation to npseg's, those of `npseg.models.vgg_classifier`.

    torchvision numbers the layers of a `Sequential`: `features` counts convolutions, ReLUs and pools; in `classifier`
    0, 3 and 6 are the fully connected ones, between ReLU and dropout.

    Args:
        name: vgg11, vgg13, vgg16 or vgg19.

    Raises:
        TypeError, ValueError: another name.

    Source: `torchvision/models/vgg.py`.

    >>> names = torchvision_vgg("vgg16")
    >>> names["features.0.weight"], names["features.28.bias"], names["classifier.0.weight"]
    ('conv1_1.weight', 'conv5_3.bias', 'fc6.weight')
    """
    layers, position = {}, 0
    for stage, depth in enumerate(VGG_DEPTHS[checks.choice(name, "name", tuple(VGG_DEPTHS))], start=1):
        for number in range(1, depth + 1):
            layers[f"features.{position}"] = f"conv{stage}_{number}"
            position += 2
        position += 1
    layers |= {"classifier.0": "fc6", "classifier.3": "fc7", "classifier.6": "fc8"}
    return {f"{theirs}.{key}": f"{ours}.{key}" for theirs, ours in layers.items() for key in PARAMETERS}
