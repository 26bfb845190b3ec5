"""What is computed: the operations of semantic segmentation, each with its hand-written backward pass beside it.

Every operation is a function of NumPy arrays. Its file opens with the mathematics; the engines in `npseg.engines` say
how it is computed.
"""

from npseg.ops.activation import dropout, dropout_backward, relu, relu6, relu6_backward, relu_backward
from npseg.ops.classification import (
    cross_entropy2d,
    cross_entropy2d_backward,
    log_softmax,
    segmentation_map,
    softmax,
)
from npseg.ops.columns import col2im, im2col
from npseg.ops.convolution import conv2d, conv2d_backward, conv2d_grad_input, conv2d_grad_weight
from npseg.ops.cropping import crop2d, crop2d_backward
from npseg.ops.deconvolution import deconvolve2d
from npseg.ops.depthwise import (
    depthwise_conv2d,
    depthwise_conv2d_backward,
    separable_conv2d,
    separable_conv2d_backward,
)
from npseg.ops.interpolation import resize_bilinear, resize_bilinear_backward
from npseg.ops.linear import linear, linear_backward
from npseg.ops.normalisation import (
    BatchNormSaved,
    batch_norm2d,
    batch_norm2d_backward,
    local_response_norm,
    local_response_norm_backward,
)
from npseg.ops.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from npseg.ops.transposed import conv_transpose2d, conv_transpose2d_backward
from npseg.ops.unpooling import (
    bed_of_nails_unpool2d,
    bed_of_nails_unpool2d_backward,
    max_unpool2d,
    max_unpool2d_backward,
    nearest_unpool2d,
    nearest_unpool2d_backward,
)

__all__ = [
    "BatchNormSaved",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm2d",
    "batch_norm2d_backward",
    "bed_of_nails_unpool2d",
    "bed_of_nails_unpool2d_backward",
    "col2im",
    "conv2d",
    "conv2d_backward",
    "conv2d_grad_input",
    "conv2d_grad_weight",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "crop2d",
    "crop2d_backward",
    "cross_entropy2d",
    "cross_entropy2d_backward",
    "deconvolve2d",
    "depthwise_conv2d",
    "depthwise_conv2d_backward",
    "dropout",
    "dropout_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "im2col",
    "linear",
    "linear_backward",
    "local_response_norm",
    "local_response_norm_backward",
    "log_softmax",
    "max_pool2d",
    "max_pool2d_backward",
    "max_unpool2d",
    "max_unpool2d_backward",
    "nearest_unpool2d",
    "nearest_unpool2d_backward",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "resize_bilinear",
    "resize_bilinear_backward",
    "segmentation_map",
    "separable_conv2d",
    "separable_conv2d_backward",
    "softmax",
]
