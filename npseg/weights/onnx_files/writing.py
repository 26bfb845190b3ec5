"""An ONNX graph in the making: nodes and constants, appended one after another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npseg.checks import Array
from npseg.weights.onnx_files.library import onnx_library


@dataclass
class GraphWriter:
    """Collects the nodes and constants (ONNX calls them initialisers) of a graph."""

    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append a node with one output, and return the output's name, which is the node's as well."""
        make_node = onnx_library().helper.make_node
        self.nodes.append(make_node(operator, list(inputs), [output], name=output, **attributes))
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
        graph: what is being written.
    """

    name: str
    inputs: tuple[str, ...]
    parameters: Mapping[str, str]
    graph: GraphWriter

    def node(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """The node that makes the layer's map."""
        return self.graph.add(operator, inputs, self.name, **attributes)

    def helper(self, purpose: str, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node before it, such as one that computes a size."""
        return self.graph.add(operator, inputs, f"{self.name}:{purpose}", **attributes)

    def integers(self, purpose: str, values: Sequence[int]) -> str:
        """A constant list of integers, such as axes."""
        return self.graph.constant(f"{self.name}:{purpose}", np.array(values, np.int64))
