"""An ONNX graph in the making: nodes and constants, appended one after another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npseg.checks import Array
from npseg.weights.onnx_files.library import onnx_library


@dataclass
class GraphWriter:
    """Collects the nodes and constants (ONNX calls them initialisers) of a graph whose maps are of this dtype."""

    dtype: np.dtype[Any]
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    def add(self, operator: str, inputs: Sequence[str], output: str, *more: str, **attributes: Any) -> str:
        """Append a node, and return the name of its (first) output, which is the node's as well."""
        make_node = onnx_library().helper.make_node
        self.nodes.append(make_node(operator, list(inputs), [output, *more], name=output, **attributes))
        return output

    def constant(self, name: str, value: Array) -> str:
        """Add a constant, and return its name."""
        self.constants[name] = value
        return name


@dataclass(frozen=True)
class Place:
    """Where a layer stands in the ONNX graph, and what its converter writes with.

    Attributes:
        name: the layer's node, and the map it makes.
        inputs: the maps it takes.
        parameters: the constants that hold its arrays, by the layer's short names for them.
        by_products: those of its by-products that other layers take, by their short names.
        graph: what is being written.
    """

    name: str
    inputs: tuple[str, ...]
    parameters: Mapping[str, str]
    by_products: Mapping[str, str]
    graph: GraphWriter

    def node(self, operator: str, inputs: Sequence[str], *by_products: str, **attributes: Any) -> str:
        """The node that makes the layer's map, and those by-products that are named."""
        return self.graph.add(operator, inputs, self.name, *by_products, **attributes)

    def helper(self, purpose: str, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node before it, such as one that computes a size."""
        return self.graph.add(operator, inputs, f"{self.name}:{purpose}", **attributes)

    def integers(self, purpose: str, values: Sequence[int]) -> str:
        """A constant list of integers, such as axes."""
        return self.graph.constant(f"{self.name}:{purpose}", np.array(values, np.int64))

    def number(self, purpose: str, value: float) -> str:
        """A constant number of the maps' dtype."""
        return self.graph.constant(f"{self.name}:{purpose}", np.array(value, self.graph.dtype))

    def scales(self, values: Sequence[int]) -> str:
        """A constant list of factors, which are of single precision whatever the maps are."""
        return self.graph.constant(f"{self.name}:scales", np.array(values, np.float32))

    def zero(self) -> Any:
        """Zero as an attribute, of the maps' dtype."""
        return onnx_library().numpy_helper.from_array(np.zeros(1, self.graph.dtype))
