"""A network layer by layer: shapes, parameters, multiply-accumulates, memory and coordinates, from its declaration.

Nothing is computed and no weight is allocated: the graph says all of it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from npseg import checks
from npseg.analysis.conventions import CONVENTIONS, DEFAULT, Convention, convention_of
from npseg.analysis.memory import saved_bytes
from npseg.analysis.receptive_fields import receptive_fields
from npseg.geometry import AffineMap, Axis, Sides, Size, parse_padding
from npseg.nn import Flatten, Graph, Layer, Node
from npseg.nn.layers import Shape

Offsets: TypeAlias = tuple[Fraction, Fraction]


@dataclass(frozen=True)
class LayerSummary:
    """One layer of a network at one size of image. Pairs are (height, width); None is what a layer does not have.

    Attributes:
        name: in the graph.
        type: the layer's class.
        inputs: the names of the maps it takes.
        output_shape: (C, H, W), or (C,) of a vector.
        kernel_size: of the window.
        stride: of the window.
        padding: ((top, bottom), (left, right)), as declared, or what "same" comes to.
        dilation: of the window.
        groups: of a convolution.
        parameters: every stored weight and bias.
        trainable_parameters: those that are not frozen.
        macs: by the summary's convention.
        activation_bytes: of the output for one image, which a forward pass makes. The backward pass makes a gradient of
            the same size, and holds it until the layer's inputs have theirs.
        saved_bytes: what a training step keeps of the forward pass for this layer's backward pass, for one image and
            beyond what earlier layers keep already; see `npseg.analysis.memory`.
        receptive_field: pixels of the image that one value can depend on, from first to last, through all paths.
        receptive_field_range: for rows and for columns, the smallest and largest field of any single path and value.
        effective_stride: pixels of the image from one value to the next.
        offset: where on the image the first value is centred; value i is at effective_stride * i + offset.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    output_shape: Shape
    kernel_size: Size | None
    stride: Size | None
    padding: Sides | None
    dilation: Size | None
    groups: int | None
    parameters: int
    trainable_parameters: int
    macs: int
    activation_bytes: int
    saved_bytes: int
    receptive_field: Size
    receptive_field_range: tuple[tuple[int, int], tuple[int, int]]
    effective_stride: Offsets
    offset: Offsets


@dataclass(frozen=True)
class Summary:
    """A network at one size of image.

    Attributes:
        layers: in the graph's order.
        input_size: (H, W) of the image.
        convention: the name of the rule that `macs` follow.
        notes: what is wrong with the counts of a convention that has mistakes, with the numbers of both.
    """

    layers: tuple[LayerSummary, ...]
    input_size: Size
    convention: str
    notes: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """Every stored weight and bias, upsamplers included."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable_parameters(self) -> int:
        """Those that training changes."""
        return sum(layer.trainable_parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """For one image, by the convention."""
        return sum(layer.macs for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """Of all maps together for one image; a forward pass that keeps none holds only a few at once."""
        return sum(layer.activation_bytes for layer in self.layers)

    @property
    def saved_bytes(self) -> int:
        """What a training step keeps between its forward and its backward pass, for one image."""
        return sum(layer.saved_bytes for layer in self.layers)

    def layer(self, name: str) -> LayerSummary:
        """The layer of this name.

        Raises:
            ValueError: there is none.
        """
        names = [layer.name for layer in self.layers]
        return self.layers[names.index(checks.choice(name, "name", names))]


def summary(model: Graph, input_size: Size, *, convention: str = DEFAULT) -> Summary:
    """Count a network at one size of image.

    Args:
        model: the network; its weights are not touched and need not exist.
        input_size: (H, W) of the image.
        convention: a name of `npseg.analysis.CONVENTIONS`: what counts as a multiply-accumulate.

    Returns:
        Figures for each layer and in total; `npseg.analysis.tables` writes them down.

    Raises:
        TypeError, ValueError: an argument is not of this form, or the network does not fit an image of this size.

    >>> from npseg.models import vgg
    >>> counted = summary(vgg((16, 32, 64, 128, 128), fc6=256), (64, 64))
    >>> counted.parameters, counted.macs, counted.layer("fc6").receptive_field
    (2592464, 86310912, (404, 404))
    """
    checks.instance(model, "model", Graph)
    input_size = checks.size(input_size, "input_size")
    rule = convention_of(convention)
    shapes, layers = model.shapes(input_size), []
    saved, fields = saved_bytes(model, shapes), receptive_fields(model, shapes)
    coordinates = model.coordinates(input_size)
    for node in model.nodes:
        inputs, output = tuple(shapes[name] for name in node.inputs), shapes[node.name]
        macs = rule.count(node.layer, inputs, output)
        axes = None if isinstance(node.layer, Flatten) else node.layer.axes(*inputs)
        rows, columns = fields[node.name]
        layers.append(
            LayerSummary(
                name=node.name,
                type=type(node.layer).__name__,
                inputs=node.inputs,
                output_shape=output,
                kernel_size=axes and (axes[0].kernel_size, axes[1].kernel_size),
                stride=axes and (axes[0].stride, axes[1].stride),
                padding=axes and _padding(node.layer, axes),
                dilation=axes and (axes[0].dilation, axes[1].dilation),
                groups=getattr(node.layer, "groups", None),
                parameters=_parameters(node),
                trainable_parameters=_parameters(node, model.frozen),
                macs=macs,
                activation_bytes=math.prod(output) * model.dtype.itemsize,
                saved_bytes=saved[node.name],
                receptive_field=(rows.size, columns.size),
                receptive_field_range=(rows.range, columns.range),
                effective_stride=_both(coordinates[node.name], "scale"),
                offset=_both(coordinates[node.name], "offset"),
            )
        )
    return Summary(tuple(layers), input_size, convention, _notes(model, shapes, rule))


def _notes(model: Graph, shapes: Mapping[str, Shape], rule: Convention) -> tuple[str, ...]:
    """One for each type of layer that the convention counts wrongly, with both sums."""
    notes = []
    for layer_type, mistake in rule.mistakes.items():
        nodes = [node for node in model.nodes if type(node.layer) is layer_type]
        printed, nominal = (
            sum(r.count(n.layer, [shapes[name] for name in n.inputs], shapes[n.name]) for n in nodes)
            for r in (rule, CONVENTIONS[DEFAULT])
        )
        if printed:
            notes.append(
                f"{layer_type.__name__}: {rule.name} counts {printed:,}, {DEFAULT} {nominal:,}. {rule.name} {mistake}"
            )
    return tuple(notes)


def _parameters(node: Node, without: frozenset[str] = frozenset()) -> int:
    specs = node.layer.parameter_specs()
    return sum(math.prod(spec.shape) for key, spec in specs.items() if f"{node.name}.{key}" not in without)


def _padding(layer: Layer, axes: tuple[Axis, Axis]) -> Sides:
    """As declared: ceil mode's overhang and output padding, which the axes have taken in, are not padding."""
    declared = parse_padding(getattr(layer, "padding", 0))
    if isinstance(declared, str):
        return (axes[0].before, axes[0].after), (axes[1].before, axes[1].after)
    return declared


def _both(maps: tuple[AffineMap, AffineMap], key: str) -> Offsets:
    return getattr(maps[0], key), getattr(maps[1], key)
