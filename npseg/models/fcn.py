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

from dataclasses import dataclass, field, replace

from npseg import checks
from npseg.nn import Add, Conv2d, ConvTranspose2d, Crop, Graph, Layer, Node
from npseg.nn.graph import IMAGE

STRIDES = (32, 16, 8)
FORMS = ("same", "paper")
TRAIN_UPSAMPLING = ("all", "intermediate", "none")
SCORE = "score_fr"


def fcn(
    backbone: Graph,
    classes: int,
    stride: int = 8,
    *,
    form: str = "same",
    train_upsampling: str | None = None,
    last_kernel_size: int | None = None,
    seed: int | None = None,
) -> Graph:
    """A segmentation network on top of a classification network.

    Args:
        backbone: a graph up to its last hidden layer, such as `npseg.models.vgg` makes; or a classifier that
            `npseg.models.convolutionalise` converted, whose weights are kept, its score layer too where the classes
            fit. It must have maps "pool4" and "pool3" where the stride needs them.
        classes: channels of the result.
        stride: 32, 16 or 8: pixels from one score to the next before the last enlargement.
        form: "same" keeps sizes by padding (fc6 by 3), crops a surplus at the bottom and right, and fits small images;
            "paper" pads conv1_1 by 100, leaves fc6 unpadded, and crops so that maps are aligned, as the authors did.
        train_upsampling: which of the bilinear upsamplers learn: "all" (the default of "same"), "intermediate" (all but
            the last, the paper's text), "none" (the default of "paper", as in the released networks).
        last_kernel_size: of the last upsampler; None is twice its factor. The authors' FCN-AlexNet has 63 for 32.
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
    if not isinstance(backbone, Graph):
        raise TypeError(f"backbone must be a Graph, got {checks.describe(backbone)}")
    classes = checks.integer(classes, "classes", at_least=1)
    stride = checks.integer(stride, "stride")
    if stride not in STRIDES:
        raise ValueError(f"stride must be one of {STRIDES}, got {stride}")
    form = checks.choice(form, "form", FORMS)
    if train_upsampling is None:
        train_upsampling = "all" if form == "same" else "none"
    train_upsampling = checks.choice(train_upsampling, "train_upsampling", TRAIN_UPSAMPLING)
    if last_kernel_size is not None:
        last_kernel_size = checks.integer(last_kernel_size, "last_kernel_size", at_least=stride)

    builder = _Builder(_adapted(backbone, form), classes, form, backbone.input_channels)
    map_name = builder.scored()
    if stride <= 16:
        map_name = builder.enlarged(map_name, "upscore2", 2)
        map_name = builder.joined(map_name, "pool4", stride * 2)
    if stride == 8:
        map_name = builder.enlarged(map_name, "upscore_pool4", 2)
        map_name = builder.joined(map_name, "pool3", stride * 2)
    map_name = builder.enlarged(map_name, "upscore" if stride == 32 else f"upscore{stride}", stride, last_kernel_size)
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

    def enlarged(self, source: str, name: str, factor: int, kernel_size: int | None = None) -> str:
        """A transposed convolution that starts as bilinear interpolation."""
        self.upsamplers.append(name)
        padding = factor // 2 if self.form == "same" else 0
        taps = 2 * factor if kernel_size is None else kernel_size
        return self.add(name, ConvTranspose2d(self.classes, self.classes, taps, factor, padding=padding), source)

    def joined(self, coarse: str, pool: str, stride: int) -> str:
        """The scores of a pool's map added to the coarser scores, both on the same pixels.

        In the paper's form the pool's map is the larger one, because of the image's padding; in the other the enlarged
        map is, by the pools' rounding up.
        """
        if pool not in {node.name for node in self.nodes}:
            raise ValueError(f"backbone must have a map {pool!r} for this stride, got {[n.name for n in self.nodes]}")
        scored = self.score(pool, f"score_{pool}")
        if self.form == "paper":
            scored = self.cropped(scored, coarse, f"score_{pool}c")
        else:
            coarse = self.cropped(coarse, scored, f"{coarse}c")
        return self.add(f"fuse_{pool}", Add(), coarse, scored)

    def cropped(self, source: str, reference: str, name: str) -> str:
        """The source cut to the reference's size: where the two align, or, with "same" sizes, from the top left."""
        offset: int | tuple[int, int] = 0
        if self.form == "paper":
            maps = self.graph().coordinates()
            rows, columns = (a.crop_to(b) for a, b in zip(maps[source], maps[reference], strict=True))
            offset = rows if rows == columns else (rows, columns)
        return self.add(name, Crop(offset), source, reference)

    def frozen(self, train_upsampling: str) -> list[str]:
        """The upsamplers that stay bilinear."""
        kept = {"all": [], "intermediate": self.upsamplers[-1:], "none": self.upsamplers}[train_upsampling]
        return [f"{name}.weight" for name in kept]

    def channels(self, name: str) -> int:
        """Channels of a map, whatever the image's size; this one is large enough for every form."""
        return self.graph().shapes((256, 256))[name][0]

    def graph(self) -> Graph:
        return Graph(self.nodes, input_channels=self.input_channels)


def _adapted(backbone: Graph, form: str) -> list[Node]:
    """The backbone's layers with the form's padding in conv1_1 (or whichever convolution comes first) and in fc6."""
    nodes = list(backbone.nodes)
    if form == "paper":
        first = next(i for i, node in enumerate(nodes) if isinstance(node.layer, Conv2d))
        nodes[first] = _padded(nodes[first], 100)
    return [_padded(node, "same" if form == "same" else 0) if node.name == "fc6" else node for node in nodes]


def _padded(node: Node, padding: int | str) -> Node:
    if not isinstance(node.layer, Conv2d):
        raise ValueError(
            f"backbone must be fully convolutional, but {node.name!r} is a {type(node.layer).__name__}; "
            f"npseg.models.convolutionalise converts a classifier"
        )
    return replace(node, layer=replace(node.layer, padding=padding))


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
        if not isinstance(graph, Graph):
            raise TypeError(f"{name} must be a Graph, got {checks.describe(graph)}")
    copied = []
    for mine, theirs in ((model.parameters, other.parameters), (model.buffers, other.buffers)):
        for name, value in mine.items():
            if name in theirs and theirs[name].shape == value.shape:
                value[...] = theirs[name]
                copied.append(name)
    if not copied:
        raise ValueError(f"other must share parameters with the model, got only {sorted(other.parameter_specs)}")
    return copied
