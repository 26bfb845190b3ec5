"""The operations as ONNX nodes, computed by ONNX's reference evaluator in float64.

Left out is ceil mode, and what the evaluator (1.23) does wrong or not at all: transposed convolutions in groups or with
output padding; the positions of max pools of stride and dilation 1, which it counts by the output's width; response
norms, whose span it cuts off at the batch size; interpolation, where a position that should be a whole number but is
rounded gets the wrong neighbours.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from npseg.checks import Array
from npseg.verify.cases import Case
from npseg.verify.definitions import both, padding_sides


class Node(NamedTuple):
    """An ONNX operator, its inputs in their order (None leaves one out), its attributes, the number of its outputs."""

    operator: str
    inputs: Sequence[Array | None]
    attributes: Mapping[str, Any]
    outputs: int = 1


def version() -> str:
    """Of the library."""
    return str(onnx.__version__)


def results(case: Case) -> tuple[list[Array], dict[str, Array]] | None:
    """What ONNX computes; None where it has no such operation, or its evaluator does it wrong."""
    case = case.in_float64()
    node = NODES[case.operation](case.arrays, case.arguments) if case.operation in NODES else None
    if node is None:
        return None
    outputs = run(node)
    if case.operation == "max_pool2d":  # ONNX counts through the whole tensor
        x = case.arrays["x"]
        outputs[1] = outputs[1] % (x.shape[2] * x.shape[3])
    return outputs, {}


def run(node: Node) -> list[Array]:
    """The outputs of a model of this node alone."""
    names = [f"input {place}" if array is not None else "" for place, array in enumerate(node.inputs)]
    outputs = [f"output {place}" for place in range(node.outputs)]
    made = helper.make_node(node.operator, names, outputs, **node.attributes)
    given = {name: array for name, array in zip(names, node.inputs, strict=True) if array is not None}
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in given.items()
    ]
    results = [helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None) for name in outputs]
    model = helper.make_model(
        helper.make_graph([made], "case", infos, results), opset_imports=[helper.make_opsetid("", OPSET)]
    )
    return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, given)]


OPSET = 20
"""Of the operators as they are meant here."""


def _window(kernel: Any, size: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Strides, pads and dilations of a window, in ONNX's words."""
    kernel = both(kernel)
    stride = both(kernel if arguments.get("stride") is None else arguments["stride"])
    dilation = both(arguments.get("dilation", 1))
    (top, bottom), (left, right) = padding_sides(arguments.get("padding", 0), size, kernel, stride, dilation)
    return {
        "kernel_shape": list(kernel),
        "strides": list(stride),
        "pads": [top, left, bottom, right],
        "dilations": list(dilation),
    }


def _conv2d(arrays: Mapping[str, Array], arguments: Mapping[str, Any]) -> Node:
    x, weight = arrays["x"], arrays["weight"]
    attributes = _window(weight.shape[2:], x.shape[2:], {"stride": 1, **arguments})
    return Node("Conv", [x, weight, arrays.get("bias")], {**attributes, "group": arguments.get("groups", 1)})


def _depthwise_conv2d(arrays: Mapping[str, Array], arguments: Mapping[str, Any]) -> Node:
    return _conv2d(arrays, {**arguments, "groups": arrays["x"].shape[1]})


def _conv_transpose2d(arrays: Mapping[str, Array], arguments: Mapping[str, Any]) -> Node | None:
    if arguments["padding"] == "same" or arguments["groups"] > 1 or any(both(arguments["output_padding"])):
        return None
    attributes = _window(arrays["weight"].shape[2:], None, {"stride": 1, **arguments})
    return Node("ConvTranspose", [arrays["x"], arrays["weight"], arrays.get("bias")], attributes)


def _max_pool2d(arrays: Mapping[str, Array], arguments: Mapping[str, Any]) -> Node | None:
    if arguments.get("ceil_mode"):
        return None
    x = arrays["x"]
    attributes = _window(arguments["kernel_size"], x.shape[2:], arguments)
    if max(attributes["strides"] + attributes["dilations"]) == 1:
        return None
    return Node("MaxPool", [x], attributes, outputs=2)


def _avg_pool2d(arrays: Mapping[str, Array], arguments: Mapping[str, Any]) -> Node | None:
    if arguments.get("ceil_mode"):
        return None
    x = arrays["x"]
    counted = int(arguments.get("count_include_pad", True))
    attributes = _window(arguments["kernel_size"], x.shape[2:], arguments)
    return Node("AveragePool", [x], {**attributes, "count_include_pad": counted})


def _col2im(arrays: Mapping[str, Array], arguments: Mapping[str, Any]) -> Node:
    attributes = _window(arguments["kernel_size"], arguments["input_size"], {"stride": 1, **arguments})
    kernel = np.array(attributes.pop("kernel_shape"), np.int64)
    return Node("Col2Im", [arrays["columns"], np.array(arguments["input_size"], np.int64), kernel], attributes)


def _batch_norm2d(arrays: Mapping[str, Array], arguments: Mapping[str, Any]) -> Node | None:
    if arguments["training"]:
        return None
    inputs = [arrays["x"], arrays["gamma"], arrays["beta"], arguments["running_mean"], arguments["running_var"]]
    return Node("BatchNormalization", inputs, {"epsilon": arguments.get("eps", 1e-5)})


def _crop2d(arrays: Mapping[str, Array], arguments: Mapping[str, Any]) -> Node:
    start = np.array(both(arguments["offset"]), np.int64)
    return Node("Slice", [arrays["x"], start, start + np.array(arguments["size"]), np.array([2, 3])], {})


def _cross_entropy2d(arrays: Mapping[str, Array], arguments: Mapping[str, Any]) -> Node:
    inputs = [arrays["logits"], arguments["labels"].astype(np.int64), arguments.get("class_weight")]
    attributes = {"ignore_index": arguments["ignore_index"], "reduction": arguments["reduction"]}
    return Node("SoftmaxCrossEntropyLoss", inputs, attributes)


def _relu6(arrays: Mapping[str, Array], arguments: Mapping[str, Any]) -> Node:
    x = arrays["x"]
    return Node("Clip", [x, np.array(0, x.dtype), np.array(6, x.dtype)], {})


def _linear(arrays: Mapping[str, Array], arguments: Mapping[str, Any]) -> Node:
    return Node("Gemm", [arrays["x"], arrays["weight"], arrays.get("bias")], {"transB": 1})


NODES: dict[str, Callable[[Mapping[str, Array], Mapping[str, Any]], Node | None]] = {
    "avg_pool2d": _avg_pool2d,
    "batch_norm2d": _batch_norm2d,
    "col2im": _col2im,
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "crop2d": _crop2d,
    "cross_entropy2d": _cross_entropy2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "global_avg_pool2d": lambda arrays, arguments: Node("GlobalAveragePool", [arrays["x"]], {}),
    "linear": _linear,
    "log_softmax": lambda arrays, arguments: Node("LogSoftmax", [arrays["x"]], {"axis": arguments["axis"]}),
    "max_pool2d": _max_pool2d,
    "relu": lambda arrays, arguments: Node("Relu", [arrays["x"]], {}),
    "relu6": _relu6,
    "segmentation_map": lambda arrays, arguments: Node("ArgMax", [arrays["logits"]], {"axis": 1, "keepdims": 0}),
    "softmax": lambda arrays, arguments: Node("Softmax", [arrays["x"]], {"axis": arguments["axis"]}),
}
