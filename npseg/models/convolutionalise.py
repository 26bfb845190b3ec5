"""FCN's central idea: a classifier is a fully convolutional network that looked at one place only."""

import numpy as np

from npseg import checks
from npseg.geometry import Padding, parse_padding
from npseg.models.fcn import SCORE
from npseg.nn import Conv2d, Flatten, GlobalAvgPool2d, Graph, Linear, Node


def convolutionalise(classifier: Graph, padding: Padding = 0, *, scores: bool = True) -> Graph:
    """Turn a classifier's fully connected layers into convolutions, so that it scores every place of any image.

        linear(x.flatten()) = conv2d(x, weight.reshape(C_out, C, H, W))      for a map x (C, H, W)

    The first dense layer becomes a convolution as large as the map that it saw, the others become 1x1 convolutions; the
    numbers in the weights stay the same, and flattening order is (C, H, W). Where the classifier takes a global average
    before it flattens, the average is left out, and the mean over all places is the classifier's score:

        linear(mean over places of x) = mean over places of conv2d(x, weight.reshape(C_out, C, 1, 1))

    Args:
        classifier: convolutions, one `Flatten`, and `Linear` layers, as `npseg.models.vgg_classifier` makes it, or
            `npseg.models.mobilenet_v1`.
        padding: of the first dense layer's convolution. With 0, an image of the classifier's size gives a 1x1 map that
            equals the classifier's scores; with "same", entry ((K_h - 1) // 2, (K_w - 1) // 2) of a larger map does.
        scores: whether to keep the last dense layer; FCNs whose classes are others than the classifier's do without.

    Returns:
        A graph from images of any size that leaves the kernel room to a map of scores, "score_fr", or without scores to
        the last hidden layer. `npseg.models.fcn` takes either as its start.

    Raises:
        TypeError, ValueError: the classifier is not of this form.

    Source: Long, Shelhamer, Darrell (2015), section 3.1; "net surgery" in Caffe. The average's scores by place are the
    "class activation maps" of Zhou et al. (2016).
    """
    scores = checks.flag(scores, "scores")
    nodes, renamed = convolutional_nodes(classifier, padding)
    network = Graph(
        nodes if scores else nodes[:-1],
        input_channels=classifier.input_channels,
        seed=classifier.seed,
        dtype=classifier.dtype,
    )
    targets = network.parameters | network.buffers
    for name, value in (classifier.parameters | classifier.buffers).items():
        layer_name, key = name.rsplit(".", 1)
        target = targets.get(f"{renamed.get(layer_name, layer_name)}.{key}")
        if target is not None:
            np.copyto(target, value.reshape(target.shape))
    return network


def convolutional_nodes(classifier: Graph, padding: Padding = 0) -> tuple[list[Node], dict[str, str]]:
    """The nodes of `convolutionalise`, without any weights, and the new names of those that got others."""
    checks.instance(classifier, "classifier", Graph)
    parse_padding(padding)
    if not is_classifier(classifier):
        raise ValueError(
            "classifier must flatten its map and end in a fully connected layer, "
            f"got {[f'{node.name}: {type(node.layer).__name__}' for node in classifier.nodes]}"
        )
    flattened = next(node for node in classifier.nodes if isinstance(node.layer, Flatten))
    source = flattened.inputs[0]
    average = [node for node in classifier.nodes if node.name == source and isinstance(node.layer, GlobalAvgPool2d)]
    left_out = [*average, flattened]
    first_dense = next(node for node in classifier.nodes if isinstance(node.layer, Linear))
    renamed = {node.name: left_out[0].inputs[0] for node in left_out} | {classifier.nodes[-1].name: SCORE}
    nodes = []
    for node in classifier.nodes:
        if node not in left_out:
            layer = node.layer
            if isinstance(layer, Linear):
                layer = _as_convolution(layer, flattened, node is first_dense, padding)
            inputs = tuple(renamed.get(name, name) for name in node.inputs)
            nodes.append(Node(renamed.get(node.name, node.name), layer, inputs))
    return nodes, renamed


def is_classifier(network: Graph) -> bool:
    """Whether a network is of the form that `convolutionalise` takes: it flattens its map and ends in a dense layer."""
    checks.instance(network, "network", Graph)
    flattens = any(isinstance(node.layer, Flatten) for node in network.nodes)
    return flattens and isinstance(network.nodes[-1].layer, Linear)


def _as_convolution(layer: Linear, flattened: Node, is_first: bool, padding: Padding) -> Conv2d:
    """The same weights as a kernel: as large as the map for the first dense layer, 1x1 for the others."""
    assert isinstance(flattened.layer, Flatten)
    channels, height, width = flattened.layer.shape
    if is_first:
        kernel_size = height if height == width else (height, width)
        return Conv2d(channels, layer.out_features, kernel_size, padding=padding, bias=layer.bias)
    return Conv2d(layer.in_features, layer.out_features, 1, bias=layer.bias)
