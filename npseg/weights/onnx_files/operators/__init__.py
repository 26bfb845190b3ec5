"""What each operator of ONNX is in npseg: one function per operator, and the table that finds it.

A function reads one node, adds layers to the network and says what the node's results stand for. What npseg cannot say
it refuses by name; there is no "nearly".
"""

from collections.abc import Callable

from npseg.weights.onnx_files.nodes import OperatorNode
from npseg.weights.onnx_files.operators import dense, elementwise, joining, resizing, sizes, unpooling, windows

OPERATORS: dict[str, Callable[[OperatorNode], None]] = {
    "Add": elementwise.add,
    "AveragePool": windows.average_pool,
    "BatchNormalization": elementwise.batch_normalization,
    "Cast": sizes.cast,
    "Clip": elementwise.clip,
    "Col2Im": windows.col2im,
    "Concat": joining.concat,
    "Constant": sizes.constant,
    "ConstantOfShape": sizes.constant_of_shape,
    "Conv": windows.conv,
    "ConvTranspose": windows.conv_transpose,
    "Dropout": elementwise.dropout,
    "Flatten": dense.flatten,
    "Gather": sizes.gather,
    "Gemm": dense.gemm,
    "GlobalAveragePool": windows.global_average_pool,
    "Identity": elementwise.identity,
    "LRN": elementwise.lrn,
    "LogSoftmax": elementwise.log_softmax,
    "MatMul": dense.matmul,
    "MaxPool": windows.max_pool,
    "MaxUnpool": unpooling.max_unpool,
    "Mul": elementwise.mul,
    "ReduceMean": dense.reduce_mean,
    "ReduceProd": sizes.reduce_prod,
    "Relu": elementwise.relu,
    "Reshape": dense.reshape,
    "Resize": resizing.resize,
    "ScatterElements": unpooling.scatter_elements,
    "Shape": sizes.shape,
    "Slice": joining.slice_,
    "Softmax": elementwise.softmax,
    "Split": joining.split,
    "Squeeze": sizes.squeeze,
    "Sum": elementwise.sum_of_all,
    "Unsqueeze": sizes.unsqueeze,
    "Upsample": resizing.upsample,
}
"""From an operator's name to the function that reads it."""

_LOSS = "a loss is no part of a network, and its labels are whole numbers: npseg.nn.cross_entropy"

NO_PART_OF_NETWORKS = {
    "ArgMax": "whole numbers come out: npseg.ops.segmentation_map",
    "NegativeLogLikelihoodLoss": _LOSS,
    "SoftmaxCrossEntropyLoss": _LOSS,
}
"""What npseg computes outside its networks, and with what."""
