"""The network that the flags of `npseg train` describe, and where its weights begin."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npseg.cli.shared import UsageError, flag_of
from npseg.flags.training import ARCHITECTURE_DEFAULTS, NETWORK_DEFAULTS, VGG_FLAGS

if TYPE_CHECKING:
    from npseg.data import Normalise
    from npseg.nn.graph import Graph

OF_BACKBONES = ("pretrained", "fixed_statistics")
OF_DECODERS = ("form", "train_upsampling", "at_once")
"""What `npseg.models.fcn` takes besides classes and stride."""


def describe(chosen: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The flags of the network, from all of them and from those that were given."""
    backbone = given.get("backbone")
    if backbone is not None and chosen["architecture"] != "fcn":
        raise UsageError(f"--backbone needs --architecture fcn, got {chosen['architecture']}")
    why = "needs --backbone" if backbone is None else "has no meaning with --backbone, which brings its own"
    for name in OF_BACKBONES if backbone is None else VGG_FLAGS:
        if name in given:
            raise UsageError(f"{flag_of(name)} {why}")
    names = [*NETWORK_DEFAULTS, *ARCHITECTURE_DEFAULTS[chosen["architecture"]]]
    if "at_once" in given and chosen["stride"] == 32:
        raise UsageError("--at-once scales the maps of skips, so it needs --stride 16 or 8, got 32")
    network = {name: chosen[name] for name in names} | {"init_from": given.get("init_from")}
    if _begins_as_classifier(network):
        return _without_backbone(network, given) | {"on_classifier": True}
    if backbone is None:
        return network
    pretrained = given.get("pretrained")
    return {name: value for name, value in network.items() if name not in VGG_FLAGS} | {
        "backbone": backbone,
        "pretrained": pretrained,
        "fixed_statistics": given.get("fixed_statistics", pretrained is not None),
    }


def _begins_as_classifier(network: Mapping[str, Any]) -> bool:
    """Whether the network is an FCN and `--init-from` names a classifier of `npseg pretrain` that it is built on."""
    from npseg.training.transfer import holds_classifier

    fcn_from_file = network["architecture"] == "fcn" and network["init_from"] is not None
    return fcn_from_file and holds_classifier(Path(network["init_from"]))


def _without_backbone(network: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that describe an FCN on a classifier, whose layers are as they are."""
    for name in (*VGG_FLAGS, "backbone"):
        if name in given:
            raise UsageError(
                f"{flag_of(name)} has no meaning with --init-from {network['init_from']}: the FCN takes the layers of "
                "this classifier"
            )
    return {name: value for name, value in network.items() if name not in VGG_FLAGS}


def build(classes: Sequence[str], network: Mapping[str, Any], seed: int) -> "tuple[Graph, Normalise | None]":
    """The network with its first weights, and how images are normalised for them; None is by the data's own pixels.

    Prints a line for each file that some weights came from.
    """
    if network.get("on_classifier"):
        return _on_classifier(classes, network, seed)
    make = _fcn if network["architecture"] == "fcn" else _system
    model = make(len(classes), network, seed)
    _initialise(model, network)
    return model, _normalisation(network)


def _on_classifier(classes: Sequence[str], network: Mapping[str, Any], seed: int) -> "tuple[Graph, Normalise]":
    """The FCN on the classifier that `--init-from` names, and how that one's images were normalised."""
    from npseg.training import checkpoints
    from npseg.training.transfer import fcn_on_classifier

    path = checkpoints.locate(Path(network["init_from"]))
    options = {name: network[name] for name in OF_DECODERS} | {"seed": seed}
    model, normalise = fcn_on_classifier(path, classes, network["stride"], **options)
    print(f"{path.name}: the classifier that the network is built on")
    return model, normalise


def _initialise(model: "Graph", network: Mapping[str, Any]) -> None:
    """Take weights from the files that `--pretrained` and `--init-from` name."""
    from npseg import weights
    from npseg.training import checkpoints

    if network.get("pretrained") is not None:
        path = weights.locate(network["pretrained"])
        report = weights.load_backbone(model, weights.read(path), network["backbone"])
        print(f"{path.name}: {len(report.loaded)} arrays, the whole backbone {network['backbone']}")
    if network["init_from"] is not None:
        path = checkpoints.locate(Path(network["init_from"]))
        report = weights.load_into(model, weights.read(path), strict=False)
        if not report.loaded:
            raise ValueError(f"{path}: shares no array with the network: {report}")
        print(f"{path.name}: {len(report.loaded)} arrays, {len(report.missing) + len(report.misshaped)} are new")


def _fcn(classes: int, network: Mapping[str, Any], seed: int) -> "Graph":
    from npseg.models import fcn, fcn_on, vgg

    options = {name: network[name] for name in OF_DECODERS} | {"seed": seed}
    if "backbone" in network:
        options["fixed_statistics"] = network["fixed_statistics"]
        return fcn_on(network["backbone"], classes, network["stride"], **options)
    start = vgg(*(network[name] for name in ("widths", "depths", "fc6")), dropout=network["dropout"], seed=seed)
    return fcn(start, classes, network["stride"], **options)


def _system(classes: int, network: Mapping[str, Any], seed: int) -> "Graph":
    from npseg.models import Proportions, system

    proportions = Proportions(**{name: network[name] for name in VGG_FLAGS if name in network})
    return system(network["architecture"], classes, proportions, seed=seed)


def _normalisation(network: Mapping[str, Any]) -> "Normalise | None":
    """How images are normalised: as the pretrained backbone knows them; None is by the data's own pixels."""
    from npseg.data import Normalise
    from npseg.models import BACKBONES

    if network.get("pretrained") is None:
        return None
    pixels = BACKBONES[network["backbone"]].pixels
    return None if pixels is None else Normalise(*pixels)
