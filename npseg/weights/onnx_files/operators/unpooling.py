"""Max unpooling: ONNX's operator, and the form in which npseg writes it, values scattered among zeros."""

from npseg.nn import MaxPool2d, MaxUnpool2d
from npseg.weights.onnx_files.nodes import OperatorNode
from npseg.weights.onnx_files.operators.windows import explicit_padding, pair_of
from npseg.weights.onnx_files.reading import RefusedError
from npseg.weights.onnx_files.values import Flat, Lengths, Map, PoolIndices, Scattered, Zeros, lengths_of, reference_of


def max_unpool(node: OperatorNode) -> None:
    """MaxUnpool with the indices of a pool of the same network, on a map of that pool's input's size.

    Those indices count from the start of the whole tensor, npseg's from the start of their plane; on maps of one size
    the two name the same pixels. Without an output shape the result is as large as the smallest map that gives this
    one; images of a size that leaves the pool more than that have no sensible result in ONNX.
    """
    x, indices = node.map(axes=(4,)), node.value(1)
    if not isinstance(indices, PoolIndices):
        raise RefusedError("max unpooling needs the indices of a pool of the same network")
    kernel, stride, sides = pair_of(node, "kernel_shape"), pair_of(node, "strides"), explicit_padding(node)
    if node.has(2):
        lengths = lengths_of(node.value(2))
        if lengths is None:
            raise RefusedError("output_shape must be a list of sizes")
        node.result(unpooled(node, Scattered(x, indices, lengths), lengths))
        return
    (source,) = node.network.sources[indices.pool]
    shapes = node.network.shapes[0]
    smallest = tuple((shapes[x.name][1 + a] - 1) * stride[a] + kernel[a] - sum(sides[a]) for a in (0, 1))
    if smallest != shapes[source][1:]:
        raise RefusedError("max unpooling to another size than that of the map that was pooled")
    node.result(_unpooled(node, x, indices, Map(source, 4)))


def scatter_elements(node: OperatorNode) -> None:
    """ScatterElements, where it is a part of max unpooling: values put to a pool's indices among zeros."""
    zeros, indices, values = (node.value(place) for place in range(3))
    node.attribute("axis", 0)  # of one
    if (
        not isinstance(zeros, Zeros)
        or not (isinstance(indices, Flat) and isinstance(indices.of, PoolIndices))
        or not (isinstance(values, Flat) and isinstance(values.of, Map))
    ):
        raise RefusedError("npseg puts values back where a pool found its maxima, and nowhere else")
    node.result(Scattered(values.of, indices.of, zeros.shape))


def unpooled(node: OperatorNode, scattered: Scattered, lengths: Lengths) -> Map:
    """The scattered values as a map of these sizes, which must be those of the map that was pooled."""
    x, indices = scattered.values, scattered.indices
    (source,) = node.network.sources[indices.pool]
    shape = node.network.known_shape(Map(source, 4))
    if len(lengths) == 4 and lengths == scattered.shape and node.keeps_batch_and_channels(x, *lengths[:2]):
        reference = reference_of(lengths[2:])
        if reference is not None and node.network.same_size(reference, Map(source, 4)):
            return _unpooled(node, x, indices, reference)
        if shape is not None and lengths[2:] == shape[1:]:
            return _unpooled(node, x, indices, Map(source, 4))
    raise RefusedError("max unpooling to another size than that of the map that was pooled")


def _unpooled(node: OperatorNode, x: Map, indices: PoolIndices, reference: Map) -> Map:
    pool = node.network.layer_of(Map(indices.pool, 4))
    assert isinstance(pool, MaxPool2d)
    layer = MaxUnpool2d(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)
    return node.layer(layer, x, indices, reference)
