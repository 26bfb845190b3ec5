"""A network as a declared graph: named layers, each with the names of its inputs.

Declared once, as in Caffe, where FCN was born; from the one description follow the forward pass, the backward pass,
shapes, coordinates, files. The walk back meets the layers in reverse and sums the gradients where a map branched.
"""

import threading
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from npseg import buffers, checks
from npseg.checks import Array
from npseg.engines import running_network
from npseg.geometry import AffineMap, Size
from npseg.nn.initialisation import INITIALISERS
from npseg.nn.layers import LAYERS, C, Mode, ParameterSpec, Randomness, Shape, Wanted
from npseg.nn.steps import IMAGE, Node, Saved, Step, joined_steps
from npseg.randomness import generator

Watch = Callable[[str, Array], object]

_initialising = threading.RLock()
"""Threads that ask for a network's parameters at once get the same ones."""


class Graph:
    """A network: `model(x)` gives logits; `forward` and `backward` train it.

    Args:
        nodes: in an order in which every node comes after its inputs; the last one is the output.
        input_channels: of the image.
        frozen: names of parameters that training leaves alone.
        seed: of the initial weights; each parameter draws from a generator of its own name.
        dtype: of the parameters, float32 or float64.

    Attributes:
        parameters: dict of arrays, `<layer>.weight` and `<layer>.bias`; made when first asked for, changed in place.
        buffers: dict of arrays that a training pass updates: running statistics.

    Raises:
        ValueError: a name stands twice, an input is not there yet, or a frozen name is no parameter.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        *,
        input_channels: int = 3,
        frozen: Sequence[str] = (),
        seed: int = 0,
        dtype: DTypeLike = np.float32,
    ) -> None:
        if not isinstance(nodes, Sequence) or not all(isinstance(node, Node) for node in nodes):
            raise TypeError(f"nodes must be a list or tuple of Node, got {checks.describe(nodes)}")
        self.nodes = tuple(nodes)
        self.input_channels = checks.integer(input_channels, "input_channels", at_least=1)
        if not isinstance(frozen, (Sequence, Set)) or not all(isinstance(name, str) for name in frozen):
            raise TypeError(f"frozen must be names of parameters, got {checks.describe(frozen)}")
        self.frozen = frozenset(frozen)
        self.seed = checks.integer(seed, "seed", at_least=0)
        self.dtype = checks.float_dtype(dtype, "dtype")
        self._check()

    def _check(self) -> None:
        if not self.nodes:
            raise ValueError("nodes must hold at least one layer, got none")
        known = {IMAGE}
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in known]
            if missing:
                raise ValueError(
                    f"nodes must follow their inputs: {node.name!r} needs {missing}, which do not come before"
                )
            if node.name in known:
                raise ValueError(f"nodes must have names of their own, got {node.name!r} twice")
            known |= {node.name, *self._by_products(node)}
        unknown = sorted(self.frozen - set(self.parameter_specs))
        if unknown:
            raise ValueError(f"frozen must name parameters, got {unknown}")

    # ----------------------------------------------------------------------------------------- what it is made of

    @cached_property
    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """Shape and initialiser of every parameter; nothing is allocated."""
        return {f"{n.name}.{key}": spec for n in self.nodes for key, spec in n.layer.parameter_specs().items()}

    @cached_property
    def buffer_specs(self) -> dict[str, ParameterSpec]:
        """The same of every running statistic."""
        return {f"{n.name}.{key}": spec for n in self.nodes for key, spec in n.layer.buffer_specs().items()}

    @cached_property
    def parameters(self) -> dict[str, Array]:
        """Every learned array by name, initialised when first asked for."""
        return self._made_once("parameters", self.parameter_specs)

    @cached_property
    def buffers(self) -> dict[str, Array]:
        """Every running statistic by name."""
        return self._made_once("buffers", self.buffer_specs)

    def _made_once(self, name: str, specs: Mapping[str, ParameterSpec]) -> dict[str, Array]:
        """Arrays kept under a name, and the same ones for all threads: `cached_property` alone does not see to that."""
        with _initialising:
            if name not in vars(self):
                vars(self)[name] = self._initialised(specs)
            made: dict[str, Array] = vars(self)[name]
            return made

    @property
    def trainable(self) -> frozenset[str]:
        """The names of the parameters that training changes."""
        return frozenset(self.parameter_specs) - self.frozen

    def _initialised(self, specs: Mapping[str, ParameterSpec]) -> dict[str, Array]:
        for name, spec in specs.items():
            checks.fits_memory(spec.shape, self.dtype.itemsize, name, "the parameter")
        return {
            name: INITIALISERS[spec.initialiser](generator(self.seed, f"initialise {name}"), spec.shape, self.dtype)
            for name, spec in specs.items()
        }

    def node(self, name: str) -> Node:
        """The node of this name.

        Raises:
            ValueError: there is none.
        """
        for node in self.nodes:
            if isinstance(name, str) and node.name == name:
                return node
        raise ValueError(f"name must be one of {[node.name for node in self.nodes]}, got {checks.describe(name)}")

    def shapes(self, input_size: Size) -> dict[str, Shape]:
        """(C, H, W) of every map for an image of this size, without computing anything."""
        shapes: dict[str, Shape] = {IMAGE: (self.input_channels, *checks.size(input_size, "input_size"))}
        for node in self.nodes:
            shapes[node.name] = node.layer.output_shape(*(shapes[name] for name in node.inputs))
            shapes |= dict.fromkeys(self._by_products_taken[node.name], shapes[node.name])
        return shapes

    def coordinates(self, input_size: Size | None = None) -> dict[str, tuple[AffineMap, AffineMap]]:
        """Where the pixels of every map lie on the image, along its rows and its columns.

        Args:
            input_size: (H, W) of the image. Only layers that look at the whole map, resize it, or pad it to "same" at a
                stride need it; without it the first leave coordinates alone, and "same" is that of stride 1.

        Raises:
            ValueError: a map is resized to another's size, and input_size was left out.
        """
        shapes = None if input_size is None else self.shapes(input_size)
        return self.carried(AffineMap(), AffineMap(), shapes)

    def carried(self, rows: C, columns: C, shapes: Mapping[str, Shape] | None = None) -> dict[str, tuple[C, C]]:
        """What is known of the image's rows and columns, carried to every map along its first input."""
        carried = {IMAGE: (rows, columns)}
        for node in self.nodes:
            inputs = () if shapes is None else tuple(shapes[name] for name in node.inputs)
            carried[node.name] = node.layer.carry(*carried[node.inputs[0]], *inputs)
        return carried

    # ----------------------------------------------------------------------------------------------- running it

    def __call__(self, x: Array) -> Array:
        """The logits of a batch of images (N, C, H, W); nothing is kept."""
        return self._walk(x, Mode(), saved=None)

    def forward(
        self, x: Array, *, training: bool = False, rng: Randomness | None = None, watch: Watch | None = None
    ) -> tuple[Array, Saved]:
        """The logits, and what `backward` needs.

        Args:
            x: (N, C, H, W), of the parameters' dtype.
            training: switch on dropout, and the batch's own statistics in batch normalisation.
            rng: for dropout: one generator, or a sequence of one for each image.
            watch: called with the name of each layer that has run, and with its output, which it must not change. Of a
                convolution that is computed together with its ReLU, that is what both made.

        Returns:
            The logits and the saved maps, good for one backward pass.

        Raises:
            TypeError, ValueError: x is not of this form.
        """
        saved = Saved()
        logits = self._walk(x, Mode(checks.flag(training, "training"), rng), saved, watch)
        saved.output_shape = logits.shape
        return logits, saved

    @running_network()
    def _walk(self, x: Array, mode: Mode, saved: Saved | None, watch: Watch | None = None) -> Array:
        x = checks.floats(x, "x", "(N, C, H, W)")
        if x.shape[1] != self.input_channels:
            raise ValueError(f"x must have {self.input_channels} channels (N, C, H, W), got shape {x.shape}")
        if x.dtype != self.dtype:
            raise TypeError(f"x must be {self.dtype} as the parameters, got {x.dtype}")
        values = {IMAGE: x}
        for step in self._steps if saved is not None or watch is not None else self._steps_alone:
            inputs = [values[name] for name in step.node.inputs]
            values[step.output], kept = step.layer.forward(inputs, self._arrays_of(step.node), mode)
            for name, attribute in self._by_products_taken[step.output].items():
                values[name] = getattr(kept, attribute)
            if saved is not None:
                saved.keep(step.output, kept)
            if watch is not None:
                watch(step.node.name, values[step.output])
            del inputs, kept
            for name in self._last_uses[step.node.name]:
                del values[name]
        return values[self.nodes[-1].name]

    @running_network()
    def backward(self, grad: Array, saved: Saved) -> dict[str, Array]:
        """The gradients of all trainable parameters.

        The walk goes back only where a parameter still needs a gradient, so never to the image.

        Args:
            grad: (N, classes, H, W), the loss's gradient with respect to the logits.
            saved: from `forward`; used up.

        Returns:
            A dict of gradients by parameter name.

        Raises:
            TypeError, ValueError: grad has not the logits' shape and dtype, or saved has been used before.
        """
        if not isinstance(saved, Saved):
            raise TypeError(f"saved must come from forward, got {checks.describe(saved)}")
        grad = checks.array(grad, "grad")
        checks.shape(grad, "grad", saved.output_shape, "the logits'")
        if grad.dtype != self.dtype:
            raise TypeError(f"grad must be {self.dtype} as the parameters, got {grad.dtype}")
        saved.start_backward()
        pending = {self.nodes[-1].name: grad}
        gradients: dict[str, Array] = {}
        for step in reversed(self._steps):
            node, kept = step.node, saved.take(step.output)
            if step.output not in pending or step.output not in self._learning:
                continue
            own = self._own_trainable(node)
            wanted = Wanted(any(name in self._learning for name in node.inputs), bool(own))
            grad_inputs, grad_parameters = step.layer.backward(
                pending.pop(step.output), kept, self._arrays_of(node), wanted
            )
            gradients |= {f"{node.name}.{key}": grad_parameters[key] for key in own}
            for name, grad_input in zip(node.inputs, grad_inputs, strict=True):
                if grad_input is not None and name in self._learning:
                    pending[name] = _sum(pending[name], grad_input) if name in pending else grad_input
        saved.discard()
        return gradients

    def _arrays_of(self, node: Node) -> dict[str, Array]:
        """One layer's parameters and buffers by their short names."""
        parameters, buffers = self._own_names[node.name]
        own = {key: self.parameters[name] for key, name in parameters.items()}
        return own | {key: self.buffers[name] for key, name in buffers.items()}

    def _own_trainable(self, node: Node) -> list[str]:
        parameters, _ = self._own_names[node.name]
        return [key for key, name in parameters.items() if name not in self.frozen]

    @cached_property
    def _own_names(self) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
        """For each node, the full names of its parameters and of its buffers by their short ones."""
        return {
            node.name: (
                {key: f"{node.name}.{key}" for key in node.layer.parameter_specs()},
                {key: f"{node.name}.{key}" for key in node.layer.buffer_specs()},
            )
            for node in self.nodes
        }

    @staticmethod
    def _by_products(node: Node) -> dict[str, str]:
        """The names of a node's by-products, each with its short one."""
        return {f"{node.name}.{attribute}": attribute for attribute in node.layer.by_products}

    @cached_property
    def _by_products_taken(self) -> dict[str, dict[str, str]]:
        """For each node, those of its by-products that another node takes."""
        taken = {name for node in self.nodes for name in node.inputs}
        return {
            node.name: {name: key for name, key in self._by_products(node).items() if name in taken}
            for node in self.nodes
        }

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        """What is run, in its order."""
        return joined_steps(self.nodes, pools=False)

    @cached_property
    def _steps_alone(self) -> tuple[Step, ...]:
        """What is run where nothing is kept for a way back."""
        return joined_steps(self.nodes, pools=True)

    @cached_property
    def _learning(self) -> frozenset[str]:
        """The maps that depend on a trainable parameter."""
        learning: set[str] = set()
        for node in self.nodes:
            if self._own_trainable(node) or any(name in learning for name in node.inputs):
                learning.add(node.name)
        return frozenset(learning)

    @cached_property
    def _last_uses(self) -> dict[str, list[str]]:
        """For each node, the maps that no later node needs."""
        last = {name: node.name for node in self.nodes for name in node.inputs}
        uses: dict[str, list[str]] = {node.name: [] for node in self.nodes}
        for name, node_name in last.items():
            uses[node_name].append(name)
        return uses

    # ------------------------------------------------------------------------------------------------- in writing

    def describe(self) -> dict[str, Any]:
        """All but the arrays, as plain dicts, lists, strings and numbers that JSON can hold."""
        return {
            "input_channels": self.input_channels,
            "frozen": sorted(self.frozen),
            "seed": self.seed,
            "dtype": self.dtype.name,
            "nodes": [
                {
                    "name": node.name,
                    "type": type(node.layer).__name__,
                    "inputs": list(node.inputs),
                    "options": asdict(node.layer),
                }
                for node in self.nodes
            ],
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """The graph that `describe` described, with initial weights.

        Raises:
            TypeError: the description is no mapping.
            ValueError: it is not one of a graph, or names an unknown layer.
        """
        description = checks.mapping(description, "description", "options")
        try:
            nodes = [
                Node(node["name"], LAYERS[node["type"]](**_as_tuples(node["options"])), tuple(node["inputs"]))
                for node in description["nodes"]
            ]
            options = {key: description[key] for key in ("input_channels", "frozen", "seed", "dtype")}
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"description must be one made by Graph.describe, got {error!r}") from error
        return cls(nodes, **options)


def _sum(a: Array, b: Array) -> Array:
    """A new array: others may still hold the two."""
    return np.asarray(np.add(a, b, out=buffers.empty_like(a)))


def _as_tuples(value: Any) -> Any:
    """Undo what JSON does to tuples."""
    if isinstance(value, list):
        return tuple(_as_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _as_tuples(item) for key, item in value.items()}
    return value
