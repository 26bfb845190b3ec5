"""One node of an ONNX graph as the functions that read it see it: inputs, attributes, and where its results go.

What a function has asked for is remembered. An attribute that it never asked for would be ignored in silence, so that
is an error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from npseg.checks import Array
from npseg.nn import Layer
from npseg.weights.onnx_files.library import onnx_library
from npseg.weights.onnx_files.network import Network
from npseg.weights.onnx_files.reading import RefusedError, as_array
from npseg.weights.onnx_files.values import Length, Map, PoolIndices, Value, whole_numbers

T = TypeVar("T")

KINDS = {2: "vector", 3: "1-D map", 4: "2-D map"}
"""What a result of so many axes is, batch and channels included."""


@dataclass
class OperatorNode:
    """A node.

    Attributes:
        proto: the node in ONNX's own terms.
        opset: the version of its operator.
        values: what all names before it stand for; its results are added.
        network: where its layers go.
        uses: how often the graph takes each name.
    """

    proto: Any
    opset: int
    values: dict[str, Value]
    network: Network
    uses: Mapping[str, int]
    _asked: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """What the layer shall be called: the node's name, or its result's."""
        return str(self.proto.name or self.proto.output[0])

    # ------------------------------------------------------------------------------------------------- attributes

    def attribute(self, name: str, default: T) -> T:
        """An attribute; floats as the shortest decimal number that is the same in single precision."""
        self._asked.add(name)
        for attribute in self.proto.attribute:
            if attribute.name == name:
                return _attribute_value(attribute)  # type: ignore[no-any-return]
        return default

    def check_all_asked(self) -> None:
        """Nothing was overlooked."""
        for attribute in self.proto.attribute:
            if attribute.name not in self._asked:
                raise RefusedError(f"its attribute {attribute.name} is not understood")

    def numbers(self, name: str, place: int) -> list[int] | None:
        """Integers given as an attribute by older versions and as a constant input by newer ones; None if missing."""
        given = self.attribute(name, None)
        if given is None and self.has(place):
            given = whole_numbers(self.value(place))
            if given is None:
                raise RefusedError(f"{name} must be constant")
        return given

    # ----------------------------------------------------------------------------------------------------- inputs

    def has(self, place: int) -> bool:
        """Whether the input is given."""
        return len(self.proto.input) > place and self.proto.input[place] != ""

    def value(self, place: int) -> Value:
        """What an input stands for."""
        name = self.proto.input[place] if len(self.proto.input) > place else ""
        if name not in self.values:
            raise RefusedError(f"its input {place}, {name!r}, stands for nothing")
        return self.values[name]

    def all_values(self) -> list[Value]:
        """What all inputs stand for."""
        return [self.value(place) for place in range(len(self.proto.input)) if self.has(place)]

    def map(self, place: int = 0, *, axes: Sequence[int] = (2, 3, 4)) -> Map:
        """An input that the network computes, with so many axes."""
        value = self.value(place)
        if not isinstance(value, Map):
            raise RefusedError(
                f"input {self.proto.input[place]!r} must be a map that the network computes, not a constant"
            )
        if value.axes not in axes:
            wanted = " and ".join(f"{KINDS[number]}s" for number in axes)
            raise RefusedError(f"npseg does this to {wanted} alone, got a {KINDS[value.axes]}")
        return value

    def array(self, place: int, what: str) -> Array:
        """A constant input."""
        value = self.value(place)
        if not isinstance(value, np.ndarray):
            raise RefusedError(f"{what} must be constant")
        return value

    def scalar(self, name: str, place: int, default: float | None) -> float | None:
        """A number given as an attribute by older versions and as a constant input by newer ones."""
        given = self.attribute(name, None)
        if given is None and self.has(place):
            array = self.array(place, name)
            if array.size != 1:
                raise RefusedError(f"{name} must be one number, got shape {array.shape}")
            given = float(array.ravel()[0])
        return default if given is None else float(given)

    def axis(self, number: int, x: Map) -> int:
        """An axis of a map, counted from the start."""
        if not -x.axes <= number < x.axes:
            raise RefusedError(f"a {KINDS[x.axes]} has no axis {number}")
        return number % x.axes

    def keeps_batch_and_channels(self, x: Map, batch: int | Length | None, channels: int | Length | None) -> bool:
        """Whether these two sizes are the map's own; None where the file leaves them alone."""
        is_batch = isinstance(batch, Length) and (batch.axis, batch.plus) == (0, 0)
        return (is_batch or batch in (None, self.network.batch)) and channels in (None, self.network.channels_of(x))

    def readers(self, value: Map) -> int:
        """How often the graph takes a map, by whichever name."""
        names = (name for name, known in self.values.items() if isinstance(known, Map) and known == value)
        return sum(self.uses.get(name, 0) for name in names)

    # ---------------------------------------------------------------------------------------------------- results

    def result(self, value: Value, place: int = 0) -> None:
        """Let an output stand for this."""
        self.values[self.proto.output[place]] = value

    def layer(
        self,
        layer: Layer,
        *inputs: Map | PoolIndices,
        arrays: Mapping[str, Array] | None = None,
        axes: int | None = None,
        suffix: str = "",
    ) -> Map:
        """Add a layer, whose map has as many axes as its first input unless told otherwise."""
        first = inputs[0]
        assert isinstance(first, Map)
        return self.network.add(self.name + suffix, layer, inputs, axes or first.axes, arrays or {})

    def is_used(self, place: int) -> bool:
        """Whether anything takes this output."""
        return len(self.proto.output) > place and self.uses.get(self.proto.output[place], 0) > 0


def _attribute_value(attribute: Any) -> Any:
    kinds = onnx_library().AttributeProto
    if attribute.type == kinds.FLOAT:
        return shortest(attribute.f)
    if attribute.type == kinds.FLOATS:
        return [shortest(value) for value in attribute.floats]
    if attribute.type == kinds.STRING:
        return attribute.s.decode("utf-8", "replace")
    if attribute.type == kinds.TENSOR:
        return as_array(attribute.t)
    if attribute.type == kinds.INT:
        return int(attribute.i)
    if attribute.type == kinds.INTS:
        return [int(value) for value in attribute.ints]
    raise RefusedError(f"its attribute {attribute.name} is of a kind that is not read")


def shortest(value: float) -> float:
    """The shortest decimal number that is this one in single precision, which is what files hold.

    >>> shortest(float(np.float32(1e-5)))
    1e-05
    """
    return float(np.format_float_scientific(np.float32(value), unique=True)) if np.isfinite(value) else value
