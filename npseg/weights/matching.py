"""Arrays from a file put into a network, by name."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from npseg import checks
from npseg.checks import Array
from npseg.nn import Graph


@dataclass(frozen=True)
class Report:
    """What came of it: names of the network's, except that `unexpected` are the file's."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    """The network's, which the file lacks."""
    unexpected: tuple[str, ...]
    """The file's, which the network has no place for."""
    misshaped: tuple[str, ...]
    """Names with what was needed and what was found, one line each."""

    @property
    def complete(self) -> bool:
        """Whether every array found its place, and every place its array."""
        return not (self.missing or self.unexpected or self.misshaped)

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} arrays fit"]
        for title in ("missing", "unexpected", "misshaped"):
            if names := getattr(self, title):
                lines.append(f"{len(names)} {title}: {', '.join(names)}")
        return "; ".join(lines)


def load_into(
    model: Graph, arrays: Mapping[str, Array], names: Mapping[str, str] | None = None, strict: bool = True
) -> Report:
    """Copy arrays into the parameters and buffers that have their names.

    Floating-point numbers take the network's dtype. The weight of a fully connected layer, (C_out, C_in * K_h * K_w),
    fits a convolution's (C_out, C_in, K_h, K_w): they are the same numbers in the same order
    (`npseg.models.convolutionalise` says why). Otherwise shapes must be equal.

    Args:
        model: the network to change.
        arrays: by name, as `npseg.weights.read` returns them.
        names: the file's names to the network's; a name that is not in it stays as it is.
        strict: whether anything missing, unexpected or misshaped is an error, before the network is changed; otherwise
            what fits is loaded.

    Returns:
        What was loaded and what was not.

    Raises:
        ValueError: two arrays get one name, or, with `strict`, not everything fits; all of it is listed.
        TypeError: an argument is not of this form.

    >>> from npseg.nn import Linear, Node
    >>> model = Graph([Node("fc6", Linear(2, 3), ("image",))])
    >>> arrays = {"classifier.0.weight": np.ones((3, 2)), "classifier.3.bias": np.ones(3)}
    >>> print(load_into(model, arrays, {"classifier.0.weight": "fc6.weight"}, strict=False))
    1 arrays fit; 1 missing: fc6.bias; 1 unexpected: classifier.3.bias
    """
    checks.instance(model, "model", Graph)
    strict = checks.flag(strict, "strict")
    checks.mapping(arrays, "arrays", "arrays")
    renamed = _renamed(arrays, {} if names is None else checks.mapping(names, "names", "names"))
    targets = model.parameters | model.buffers
    common = [name for name in targets if name in renamed]
    fitting = {name: fitted for name in common if (fitted := _fitted(arrays[renamed[name]], targets[name])) is not None}
    report = Report(
        loaded=tuple(fitting),
        missing=tuple(name for name in targets if name not in renamed),
        unexpected=tuple(source for name, source in renamed.items() if name not in targets),
        misshaped=tuple(
            f"{name} needs {checks.describe(targets[name])}, got {checks.describe(arrays[renamed[name]])}"
            for name in common
            if name not in fitting
        ),
    )
    if strict and not report.complete:
        raise ValueError(f"the arrays do not fit the network: {report}")
    for name, fitted in fitting.items():
        np.copyto(targets[name], fitted, casting="same_kind")
    return report


def _renamed(arrays: Mapping[str, Array], names: Mapping[str, str]) -> dict[str, str]:
    """The file's names by the network's."""
    renamed: dict[str, str] = {}
    for source in arrays:
        checks.array(arrays[source], f"arrays[{source!r}]")
        name = names.get(source, source)
        if name in renamed:
            raise ValueError(f"names must give each array a name of its own: {renamed[name]} and {source} get {name}")
        renamed[name] = source
    return renamed


def _fitted(array: Array, target: Array) -> Array | None:
    """The array in the target's shape, if it is the same one or a fully connected layer's."""
    if not np.issubdtype(array.dtype, np.floating):
        return None
    flat = (target.shape[0], target[0].size) if target.ndim == 4 else None
    return array.reshape(target.shape) if array.shape in (target.shape, flat) else None
