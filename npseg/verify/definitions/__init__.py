"""The operations written a second time, straight from their definitions: plain loops, none of npseg's code.

Each takes what its namesake in `npseg.ops` takes, and gives float64. Images are padded for real here; the library never
pads.
"""

from npseg.verify.definitions.convolutions import (
    col2im,
    conv2d,
    conv2d_grad_input,
    conv2d_grad_weight,
    conv_transpose2d,
    deconvolution_matrix,
    deconvolve2d,
    depthwise_conv2d,
    im2col,
    separable_conv2d,
)
from npseg.verify.definitions.resampling import (
    avg_pool2d,
    bed_of_nails_unpool2d,
    crop2d,
    global_avg_pool2d,
    max_pool2d,
    max_unpool2d,
    nearest_unpool2d,
    resize_bilinear,
)
from npseg.verify.definitions.values import (
    batch_norm2d,
    cross_entropy2d,
    dropout,
    linear,
    local_response_norm,
    log_softmax,
    relu,
    relu6,
    segmentation_map,
    softmax,
)
from npseg.verify.definitions.windows import (
    both,
    padded,
    padding_sides,
)

__all__ = [
    "avg_pool2d",
    "batch_norm2d",
    "bed_of_nails_unpool2d",
    "both",
    "col2im",
    "conv2d",
    "conv2d_grad_input",
    "conv2d_grad_weight",
    "conv_transpose2d",
    "crop2d",
    "cross_entropy2d",
    "deconvolution_matrix",
    "deconvolve2d",
    "depthwise_conv2d",
    "dropout",
    "global_avg_pool2d",
    "im2col",
    "linear",
    "local_response_norm",
    "log_softmax",
    "max_pool2d",
    "max_unpool2d",
    "nearest_unpool2d",
    "padded",
    "padding_sides",
    "relu",
    "relu6",
    "resize_bilinear",
    "segmentation_map",
    "separable_conv2d",
    "softmax",
]
