"""Fine-tuning starts from a published classifier: where its file is, and how it fills an FCN's backbone."""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from npseg import checks
from npseg.checks import Array
from npseg.models import BACKBONES, initialise_from
from npseg.models.fcn import backbone_nodes
from npseg.nn import Graph
from npseg.weights.files import FORMATS
from npseg.weights.matching import Report, load_into
from npseg.weights.names import PUBLISHED


def locate(source: str) -> Path:
    """The file of weights that is meant: a path, or the only such file of an installed Python package.

    The package's list of files is read; nothing of it is imported.

    Raises:
        FileNotFoundError: neither a file nor an installed package has this name.
        ValueError: the package holds no file of weights, or several; the message lists them.
    """
    path = checks.path(source, "source")
    if path.is_file():
        return path
    try:
        package = metadata.distribution(source)
    except (metadata.PackageNotFoundError, ValueError):
        raise FileNotFoundError(f"{source}: neither a file nor an installed Python package") from None
    found = [Path(str(file.locate())) for file in package.files or () if file.suffix.lower() in FORMATS]
    if len(found) != 1:
        raise ValueError(
            f"{source}: a package must hold one file of weights, got {sorted(file.name for file in found)}"
        )
    return found[0]


def load_backbone(model: Graph, arrays: Mapping[str, Array], name: str) -> Report:
    """Fill the backbone of an FCN from a classifier's arrays; the decoder keeps its initial weights.

    The classifier's own scores find no place, as they are for other classes.

    Args:
        model: from `npseg.models.fcn_on` or `npseg.models.fcn`.
        arrays: by the names of the classifier's published file, or by npseg's own.
        name: of the classifier, one of `npseg.models.BACKBONES`.

    Returns:
        What was loaded and what was not.

    Raises:
        TypeError, ValueError: an argument is not of this form, or not all of the backbone is there; what is missing or
            misshaped is listed, and the network is unchanged.
    """
    checks.instance(model, "model", Graph)
    checks.mapping(arrays, "arrays", "arrays")
    name = checks.choice(name, "name", tuple(BACKBONES))
    names = PUBLISHED[name]() if name in PUBLISHED else {}
    start = Graph(backbone_nodes(model), input_channels=model.input_channels, dtype=model.dtype)
    layers = {node.name for node in start.nodes}
    its_own = {key: array for key, array in arrays.items() if names.get(key, key).rpartition(".")[0] in layers}
    report = load_into(start, its_own, names)
    initialise_from(model, start)
    return report
