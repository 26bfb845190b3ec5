"""The network in the making while an ONNX graph is read: npseg's nodes, their arrays, and the shapes of their maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from npseg.checks import Array
from npseg.geometry import Size
from npseg.nn import Conv2d, Graph, Layer, Linear, Node
from npseg.nn.layers import Shape
from npseg.nn.steps import IMAGE
from npseg.weights.onnx_files.reading import RefusedError
from npseg.weights.onnx_files.values import Map, PoolIndices

UNLIKE_SIZES: tuple[Size, ...] = ((512, 512), (1031, 779))
"""Where a network takes images of any size, its maps are followed for these two: what is equal for both is known."""


@dataclass
class Network:
    """Collects nodes.

    Attributes:
        dtype: of the image and of all arrays.
        channels: of the image.
        image_size: (H, W), or None for any.
        batch: how many images at once the file fixes; None for any number.
        described: how many numbers the file has described instead of holding them.
    """

    dtype: np.dtype[Any]
    channels: int
    image_size: Size | None
    batch: int | None
    described: int = 0
    nodes: list[Node] = field(default_factory=list)
    arrays: dict[str, Array] = field(default_factory=dict)
    shapes: list[dict[str, Shape]] = field(init=False)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """The image's shape, or two."""
        sizes = UNLIKE_SIZES if self.image_size is None else (self.image_size,)
        self.shapes = [{IMAGE: (self.channels, *size)} for size in sizes]

    def add(
        self, name: str, layer: Layer, inputs: Sequence[Map | PoolIndices], axes: int, arrays: Mapping[str, Array]
    ) -> Map:
        """Append a node with its parameters and buffers; a name that is taken gets a number."""
        name = self._free(name)
        specs = layer.parameter_specs() | layer.buffer_specs()
        for key, spec in specs.items():
            array = arrays[key]
            self._check_dtype(key, array)
            if array.shape != spec.shape:
                raise RefusedError(f"{key} must have shape {spec.shape}, got {array.shape}")
        sources = tuple(value.name if isinstance(value, Map) else value.pool for value in inputs)
        for shapes in self.shapes:
            shapes[name] = layer.output_shape(*(shapes[source] for source in sources))
        self.arrays |= {f"{name}.{key}": arrays[key] for key in specs}
        names = (value.name if isinstance(value, Map) else f"{value.pool}.indices" for value in inputs)
        self.nodes.append(Node(name, layer, tuple(names)))
        self.sources[name] = sources
        return Map(name, axes)

    def _check_dtype(self, key: str, array: Array) -> None:
        if array.dtype != self.dtype:
            raise RefusedError(f"all numbers must be of the image's type, {self.dtype}, {key} is {array.dtype}")

    def _free(self, name: str) -> str:
        taken = {IMAGE} | {taken for node in self.nodes for taken in (node.name, f"{node.name}.indices")}
        number, free = 1, name
        while free in taken:
            number += 1
            free = f"{name}_{number}"
        return free

    def layer_of(self, value: Map) -> Layer | None:
        """The layer that makes a map; None for the image."""
        return next((node.layer for node in self.nodes if node.name == value.name), None)

    def give_bias(self, value: Map, bias: Array) -> None:
        """Let the convolution or dense layer that makes a map have a bias."""
        place = next(place for place, node in enumerate(self.nodes) if node.name == value.name)
        node = self.nodes[place]
        assert isinstance(node.layer, Conv2d | Linear)
        self._check_dtype("bias", bias)
        self.nodes[place] = replace(node, layer=replace(node.layer, bias=True))
        self.arrays[f"{value.name}.bias"] = bias

    def channels_of(self, value: Map) -> int:
        """C of (N, C, H, W) or (N, C)."""
        return self.shapes[0][value.name][0]

    def known_shape(self, value: Map) -> Shape | None:
        """(C, H, W) where it does not depend on the image, otherwise None."""
        found = {shapes[value.name] for shapes in self.shapes}
        return found.pop() if len(found) == 1 else None

    def same_size(self, first: Map, second: Map) -> bool:
        """Whether two maps (N, C, H, W) have as many rows and columns, whatever the image."""
        return all(shapes[first.name][1:] == shapes[second.name][1:] for shapes in self.shapes)

    def same_shapes(self, first: Map, second: Map) -> bool:
        """Whether two maps are of one shape, whatever the image."""
        return first.axes == second.axes and all(shapes[first.name] == shapes[second.name] for shapes in self.shapes)

    def graph(self, output: Map) -> Graph:
        """The network that ends in this map, without the nodes that it does not need."""
        needed = {output.name}
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(self.sources[node.name])
        nodes = [node for node in self.nodes if node.name in needed]
        if not nodes:
            raise RefusedError("its output is its input: there is no network")
        graph = Graph(nodes, input_channels=self.channels, dtype=self.dtype)
        for name, target in (graph.parameters | graph.buffers).items():
            target[...] = self.arrays[name]
        return graph
