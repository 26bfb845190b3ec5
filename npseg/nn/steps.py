"""What a graph is made of, and what it runs: nodes that are declared, steps that are computed, maps that are saved.

Mostly a node is a step; a convolution and the ReLU that alone reads it are two nodes and one step, and where nothing is
kept for a way back, so is the pool that alone reads these.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from npseg import checks
from npseg.nn.layers import Conv2d, Conv2dReLU, Conv2dReLUMaxPool2d, Layer, MaxPool2d, ReLU, Shape

IMAGE = "image"
"""The name of the graph's input."""


@dataclass(frozen=True)
class Node:
    """A layer's place in the graph: its name and the names of the maps it takes."""

    name: str
    layer: Layer
    inputs: tuple[str, ...]
    """Names of earlier nodes, of their by-products (`pool1.indices`), or `IMAGE`."""

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"name must be text, got {checks.describe(self.name)}")
        if not isinstance(self.layer, Layer):
            raise TypeError(f"layer must be a Layer, got {checks.describe(self.layer)}")
        if not isinstance(self.inputs, tuple) or not all(isinstance(name, str) for name in self.inputs):
            raise TypeError(f"inputs must be a tuple of names, got {checks.describe(self.inputs)}")
        if not self.inputs:
            raise ValueError(f"inputs must name at least one map, got none for {self.name!r}")


@dataclass(frozen=True)
class Step:
    """What a graph runs at once: a node's layer, or a convolution with what alone reads it."""

    node: Node
    """Where parameters and inputs come from."""
    layer: Layer
    output: str
    """The name of the map it makes."""


def joined_steps(nodes: Sequence[Node], *, pools: bool) -> tuple[Step, ...]:
    """The nodes in their order, each ReLU together with its convolution where it alone reads it.

    With `pools`, so is a max pool of 2x2 windows that alone reads both, if nobody asks where its maxima are.
    """
    readers = defaultdict[str, list[Node]](list)
    for node in nodes:
        for name in set(node.inputs):
            readers[name].append(node)

    def sole_reader(name: str) -> Node | None:
        return readers[name][0] if len(readers[name]) == 1 else None

    steps: list[Step] = []
    fused: set[str] = set()
    for node in nodes:
        if node.name in fused:
            continue
        step = Step(node, node.layer, node.name)
        relu = sole_reader(node.name)
        if type(node.layer) is Conv2d and relu is not None and type(relu.layer) is ReLU:
            step = Step(node, Conv2dReLU(node.layer), relu.name)
            fused.add(relu.name)
            pool = sole_reader(relu.name) if pools else None
            if pool is not None and type(pool.layer) is MaxPool2d and pool.layer.halves and not readers[_places(pool)]:
                step = Step(node, Conv2dReLUMaxPool2d(node.layer, pool.layer), pool.name)
                fused.add(pool.name)
        steps.append(step)
    return tuple(steps)


def _places(pool: Node) -> str:
    """The name of the map that says where a pool's maxima are."""
    return f"{pool.name}.indices"


class Saved:
    """What a forward pass keeps for the backward pass, which uses it up, map by map.

    Attributes:
        output_shape: of the logits, which is the shape that the backward pass is given.
    """

    def __init__(self) -> None:
        self.output_shape: Shape = ()
        self._by_step: dict[str, Any] = {}
        self._used = False

    def keep(self, name: str, value: Any) -> None:
        """Store what one step's backward pass will need."""
        self._by_step[name] = value

    def start_backward(self) -> None:
        """Mark as used.

        Raises:
            ValueError: a backward pass has used it before.
        """
        if self._used:
            raise ValueError("saved must come from a forward pass of its own, this one's maps are used up")
        self._used = True

    def take(self, name: str) -> Any:
        """Hand over one step's part and let go of it."""
        return self._by_step.pop(name)

    def discard(self) -> None:
        """Let go of all that is left."""
        self._by_step.clear()
