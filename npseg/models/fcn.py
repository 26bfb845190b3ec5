"""Fully convolutional networks: FCN-32s, FCN-16s and FCN-8s, one builder.

A classifier's last map has a score for every class at every 32nd pixel. FCN-32s enlarges it 32 times at once. FCN-16s
enlarges it twice, adds the scores of pool4, which sees finer detail, and enlarges the sum 16 times; FCN-8s adds pool3's
in between.

    32s   score_fr -> upscore (x32)
    16s   score_fr -> upscore2 (x2) + score_pool4 -> upscore16 (x16)
    8s    score_fr -> upscore2 (x2) + score_pool4 -> upscore_pool4 (x2) + score_pool3 -> upscore8 (x8)

What is summed are *scored* maps (1x1 convolutions to one channel a class), cut to lie on the same pixels. Source: Long,
Shelhamer, Darrell, "Fully convolutional networks for semantic segmentation" (2015), and the authors' released networks.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from npseg import checks
from npseg.geometry import AffineMap, Size, ceil_divide
from npseg.nn import (
    Add,
    AvgPool2d,
    Conv2d,
    ConvTranspose2d,
    Crop,
    Flatten,
    Graph,
    Layer,
    Linear,
    MaxPool2d,
    Node,
    Scale,
)
from npseg.nn.layers.layer import pair
from npseg.nn.steps import IMAGE

STRIDES = (32, 16, 8)
FORMS = ("same", "paper")
SKIPS = ("pool4", "pool3")
"""The maps of stride 16 and 8 that are scored and added, by VGG's names."""

TRAIN_UPSAMPLING = ("all", "intermediate", "none")
AT_ONCE_SCALES = (0.01, 0.0001)
"""What the maps of stride 16 and 8 are multiplied by before they are scored, where all skips are trained at once."""
SCORE = "score_fr"

ANY_SIZE: Size = (256, 256)
"""Of an image that is large enough for every form. Where it matters, alignment is exact for such multiples of 32."""


def fcn(
    backbone: Graph,
    classes: int,
    stride: int = 8,
    *,
    form: str = "same",
    train_upsampling: str | None = None,
    last_kernel_size: int | None = None,
    skips: tuple[str, str] = SKIPS,
    at_once: bool = False,
    seed: int | None = None,
) -> Graph:
    """A segmentation network on top of a classification network.

    Args:
        backbone: a graph up to its last hidden layer, such as `npseg.models.vgg` makes; or a classifier that
            `npseg.models.convolutionalise` converted, whose weights are kept, its score layer too where the classes
            fit. It must have the maps that `skips` names where the stride needs them.
        classes: channels of the result.
        stride: 32, 16 or 8: pixels from one score to the next before the last enlargement.
        form: "same" keeps sizes by padding (fc6 by 3, and what has a stride so that sizes are rounded up), crops a
            surplus at the bottom and right, and fits small images; "paper" pads conv1_1 by 100, leaves fc6 unpadded,
            and crops so that maps are aligned, as the authors did.
        train_upsampling: which of the bilinear upsamplers learn: "all" (the default of "same"), "intermediate" (all but
            the last, the paper's text), "none" (the default of "paper", as in the released networks).
        last_kernel_size: of the last upsampler; None is twice its factor or, where only that can align the maps, one
            less, as in the authors' FCN-AlexNet, 63 for 32.
        skips: the backbone's maps of stride 16 and 8.
        at_once: scale the maps of `skips` (pool4 by 0.01, pool3 by 0.0001) before they are scored. A pool's values are
            larger the earlier it comes; scaled, all skips learn at one rate from the beginning, as in the authors'
            `voc-fcn8s-atonce`, and not one after another, each from the coarser network.
        seed: of the new layers' weights; None is the backbone's.

    Returns:
        A graph from images (N, 3, H, W) to logits (N, classes, H, W), for any H and W.

    Raises:
        TypeError, ValueError: an argument is not of this form, or the backbone lacks a map.

    >>> from npseg.models import vgg
    >>> small = vgg((16, 32, 64, 128, 128), fc6=256)
    >>> sum(weight.size for weight in fcn(small, 11, 8).parameters.values())
    2632273
    """
    checks.instance(backbone, "backbone", Graph)
    classes = checks.integer(classes, "classes", at_least=1)
    stride = checks.integer(stride, "stride")
    if stride not in STRIDES:
        raise ValueError(f"stride must be one of {STRIDES}, got {stride}")
    form = checks.choice(form, "form", FORMS)
    if not isinstance(skips, (tuple, list)) or len(skips) != 2:
        raise ValueError(f"skips must name two maps of the backbone, of stride 16 and 8, got {skips!r}")
    if train_upsampling is None:
        train_upsampling = "all" if form == "same" else "none"
    train_upsampling = checks.choice(train_upsampling, "train_upsampling", TRAIN_UPSAMPLING)
    if last_kernel_size is not None:
        last_kernel_size = checks.integer(last_kernel_size, "last_kernel_size", at_least=stride)
    if checks.flag(at_once, "at_once") and stride == 32:
        raise ValueError("at_once scales the maps of skips, so it needs stride 16 or 8, got 32")

    scales = dict(zip(skips, AT_ONCE_SCALES, strict=True)) if at_once else {}
    builder = _Builder(_adapted(backbone, form), classes, form, backbone.input_channels, scales)
    map_name = builder.scored()
    if stride <= 16:
        map_name = builder.enlarged(map_name, "upscore2", 2, builder.known(skips[0]))
        map_name = builder.joined(map_name, skips[0])
    if stride == 8:
        map_name = builder.enlarged(map_name, f"upscore_{_short(skips[0])}", 2, builder.known(skips[1]))
        map_name = builder.joined(map_name, skips[1])
    name = "upscore" if stride == 32 else f"upscore{stride}"
    map_name = builder.enlarged(map_name, name, stride, IMAGE, last_kernel_size)
    builder.cropped(map_name, IMAGE, "score")

    model = Graph(
        builder.nodes,
        input_channels=backbone.input_channels,
        frozen=builder.frozen(train_upsampling),
        seed=backbone.seed if seed is None else seed,
        dtype=backbone.dtype,
    )
    if "parameters" in vars(backbone):
        initialise_from(model, backbone)
    return model


@dataclass
class _Builder:
    """Appends FCN's decoder to a backbone's nodes."""

    nodes: list[Node]
    classes: int
    form: str
    input_channels: int
    scales: Mapping[str, float]
    upsamplers: list[str] = field(default_factory=list)

    def add(self, name: str, layer: Layer, *inputs: str) -> str:
        self.nodes.append(Node(name, layer, inputs))
        return name

    def scored(self) -> str:
        """The coarsest scores, from the backbone's own score layer where it fits."""
        last = self.nodes[-1]
        if last.name == SCORE and isinstance(last.layer, Conv2d) and last.layer.out_channels == self.classes:
            return SCORE
        if last.name == SCORE:
            self.nodes.pop()
        return self.score(self.nodes[-1].name, SCORE)

    def score(self, source: str, name: str) -> str:
        """One channel a class, by a 1x1 convolution that starts at zero."""
        return self.add(name, Conv2d(self.channels(source), self.classes, 1, initialiser="zeros"), source)

    def known(self, name: str) -> str:
        """The map of this name, if the backbone has it."""
        if name not in {node.name for node in self.nodes}:
            raise ValueError(f"backbone must have a map {name!r} for this stride, got {[n.name for n in self.nodes]}")
        return name

    def enlarged(self, source: str, name: str, factor: int, reference: str, kernel_size: int | None = None) -> str:
        """A transposed convolution that starts as bilinear interpolation, its result on the reference's pixels.

        In the paper's form a crop will bring it there; in the other its own padding does, and leaves `factor` times the
        source's size.
        """
        self.upsamplers.append(name)
        taps = self.taps(source, factor, reference) if kernel_size is None else kernel_size
        layer = ConvTranspose2d(self.classes, self.classes, taps, factor)
        self.add(name, layer, source)
        if self.form == "same":
            before = checks.pair(self.offset(name, reference), "offset", at_least=0)
            top_bottom, left_right = ((pixels, taps - factor - pixels) for pixels in before)
            same_sides = len({*top_bottom, *left_right}) == 1
            padding = before[0] if same_sides else (top_bottom, left_right)
            self.nodes[-1] = Node(name, replace(layer, padding=padding), (source,))
        return name

    def taps(self, source: str, factor: int, reference: str) -> int:
        """2 * factor, or one less where the maps lie half a pixel of the result apart otherwise.

        Windows of even size, as VGG's pools, put a map between the pixels of the one before, those of odd size on them.
        """
        maps = self.coordinates()
        (there, _), (here, _) = maps[reference], maps[source]
        distance = (here.offset - there.offset) / here.scale * factor - Fraction(factor * 2 - 1, 2)
        return 2 * factor if distance.denominator == 1 else 2 * factor - 1

    def joined(self, coarse: str, pool: str) -> str:
        """The scores of a pool's map added to the coarser scores, both on the same pixels.

        With VGG in the paper's form the pool's map begins earlier, because of the image's padding; else both begin
        together, and the enlarged map is the larger one, by the pools' rounding up.
        """
        name = _short(pool)
        source = self.add(f"scale_{name}", Scale(self.scales[pool]), pool) if pool in self.scales else pool
        scored = self.score(source, f"score_{name}")
        maps = self.coordinates()
        if maps[scored][0].offset < maps[coarse][0].offset:
            scored = self.cropped(scored, coarse, f"score_{name}c")
        else:
            coarse = self.cropped(coarse, scored, f"{coarse}c")
        return self.add(f"fuse_{name}", Add(), coarse, scored)

    def cropped(self, source: str, reference: str, name: str) -> str:
        """The source cut to the reference's size, where the two align."""
        return self.add(name, Crop(self.offset(source, reference)), source, reference)

    def offset(self, source: str, reference: str) -> int | tuple[int, int]:
        """How many pixels of a map lie before the reference's first."""
        maps = self.coordinates()
        rows, columns = (a.crop_to(b) for a, b in zip(maps[source], maps[reference], strict=True))
        return rows if rows == columns else (rows, columns)

    def frozen(self, train_upsampling: str) -> list[str]:
        """The upsamplers that stay bilinear."""
        kept = {"all": [], "intermediate": self.upsamplers[-1:], "none": self.upsamplers}[train_upsampling]
        return [f"{name}.weight" for name in kept]

    def channels(self, name: str) -> int:
        """Channels of a map, whatever the image's size."""
        return self.graph().shapes(ANY_SIZE)[name][0]

    def coordinates(self) -> dict[str, tuple[AffineMap, AffineMap]]:
        """Where the pixels of every map lie; only layers padded to "same" at a stride move them with the size."""
        return self.graph().coordinates(ANY_SIZE)

    def graph(self) -> Graph:
        return Graph(self.nodes, input_channels=self.input_channels)


def _adapted(backbone: Graph, form: str) -> list[Node]:
    """The backbone's layers with the form's padding.

    In the paper's form it is that of conv1_1 (or whichever convolution comes first) and of fc6, and of what pads to
    "same" at a stride; in the other that of fc6 and of every layer that would round its size down, as the first of
    AlexNet does.
    """
    nodes = list(backbone.nodes)
    for node in nodes:
        if isinstance(node.layer, (Flatten, Linear)):
            raise ValueError(
                f"backbone must be fully convolutional, but {node.name!r} is a {type(node.layer).__name__}; "
                f"npseg.models.convolutionalise converts a classifier"
            )
    if form == "same":
        nodes = [node if _rounds_up(node.layer) else _padded_by_half(node) for node in nodes]
    else:
        first = next(i for i, node in enumerate(nodes) if isinstance(node.layer, Conv2d))
        nodes[first] = _padded(nodes[first], 100)
        nodes = [_padded_by_half(node) if _moves(node.layer) else node for node in nodes]
    return [_padded(node, "same" if form == "same" else 0) if node.name == "fc6" else node for node in nodes]


def _short(pool: str) -> str:
    """What the layers on a pool's map are named after: "pool3" of Caffe's "pool3/3x3_s2"."""
    return pool.split("/")[0]


def _rounds_up(layer: Layer) -> bool:
    """Whether the layer has no stride, or turns n pixels into ceil(n / stride), whatever n."""
    if not isinstance(layer, (Conv2d, MaxPool2d, AvgPool2d)):
        return True
    kernel_size, strides = max(pair(layer.kernel_size)), pair(layer.stride or layer.kernel_size)
    if strides == (1, 1):
        return True
    channels = layer.in_channels if isinstance(layer, Conv2d) else 1
    return all(
        layer.output_shape((channels, n, n))[1:] == tuple(ceil_divide(n, stride) for stride in strides)
        for n in range(kernel_size, kernel_size + math.lcm(*strides))
    )


def _moves(layer: Layer) -> bool:
    """Whether the layer's padding, and with it the place of its pixels, depends on the size of its map."""
    return (
        isinstance(layer, (Conv2d, MaxPool2d, AvgPool2d))
        and layer.padding == "same"
        and pair(layer.stride or layer.kernel_size) != (1, 1)
    )


def _padded_by_half(node: Node) -> Node:
    """Padded by half the window on each side, so that n pixels become ceil(n / stride) and always lie at one place."""
    assert isinstance(node.layer, (Conv2d, MaxPool2d, AvgPool2d))
    half = {(taps - 1) // 2 for taps in pair(node.layer.kernel_size)}
    layer = node.layer if isinstance(node.layer, Conv2d) else replace(node.layer, ceil_mode=False)
    return _padded(replace(node, layer=layer), half.pop() if len(half) == 1 else "same")


def _padded(node: Node, padding: int | str) -> Node:
    assert isinstance(node.layer, (Conv2d, MaxPool2d, AvgPool2d))
    return replace(node, layer=replace(node.layer, padding=padding))


def backbone_nodes(model: Graph) -> tuple[Node, ...]:
    """The nodes of the network that an FCN was built on: all before its first scores.

    Raises:
        ValueError: the model is no FCN.
    """
    names = [node.name for node in model.nodes]
    if SCORE not in names:
        raise ValueError(f"model must be an FCN with a layer {SCORE!r}, got {names}")
    return model.nodes[: names.index(SCORE)]


def initialise_from(model: Graph, other: Graph) -> list[str]:
    """Copy every parameter and buffer that both networks have by the same name and shape.

    So FCN-16s starts from FCN-32s, and FCN-8s from FCN-16s, as in the paper.

    Args:
        model: the network to change.
        other: where the values come from.

    Returns:
        The names that were copied.

    Raises:
        TypeError, ValueError: they are no networks, or have nothing in common.
    """
    for name, graph in (("model", model), ("other", other)):
        checks.instance(graph, name, Graph)
    copied = []
    for mine, theirs in ((model.parameters, other.parameters), (model.buffers, other.buffers)):
        for name, value in mine.items():
            if name in theirs and theirs[name].shape == value.shape:
                value[...] = theirs[name]
                copied.append(name)
    if not copied:
        raise ValueError(f"other must share parameters with the model, got only {sorted(other.parameter_specs)}")
    return copied
