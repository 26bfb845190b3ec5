"""The compiled engine: the seven kernels, by Numba, on all cores."""

from npseg.engines.numba.convolution import conv, conv_grad_input, conv_grad_weight, conv_relu_halved
from npseg.engines.numba.loss import cross_entropy, segmentation_map
from npseg.engines.numba.normalisation import batch_norm, batch_norm_backward
from npseg.engines.numba.pointwise import (
    bias_gradient,
    relu,
    relu6,
    relu6_backward,
    relu_and_bias_gradient,
    relu_backward,
)
from npseg.engines.numba.pooling import gather, max_pool, positions_distinct, positions_inside, scatter
from npseg.engines.numba.resize import resize
from npseg.engines.numba.updates import adam_update, sgd_update

__all__ = [
    "OPTIONS",
    "adam_update",
    "batch_norm",
    "batch_norm_backward",
    "bias_gradient",
    "conv",
    "conv_grad_input",
    "conv_grad_weight",
    "conv_relu_halved",
    "cross_entropy",
    "gather",
    "max_pool",
    "positions_distinct",
    "positions_inside",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_and_bias_gradient",
    "relu_backward",
    "resize",
    "scatter",
    "segmentation_map",
    "sgd_update",
]

OPTIONS: dict[str, tuple[str, ...]] = {"winograd": ("off", "f2", "f4")}
