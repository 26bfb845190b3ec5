"""What an operation costs, by formula: parameters, multiply-accumulates, FLOPs, output size, memory.

Each function bears the name of its operation in `npseg.ops`, takes the sizes instead of the arrays, and returns a
`Cost`, whose `explain()` writes the derivation line by line with the call's own numbers:

    >>> print(linear(25088, 4096, bias=False).explain())
    linear
    <BLANKLINE>
    C          = 25,088  (input features)
    M          = 4,096  (output features)
    parameters = C*M = 25,088*4,096 = 102,760,448
    MACs       = C*M = 25,088*4,096 = 102,760,448
                 each weight once
    FLOPs      = 2*MACs = 2*102,760,448 = 205,520,896
                 a multiplication and an addition for each MAC
    bytes      = M*4 = 4,096*4 = 16,384
                 of the output, 4 for each value of float32
    <BLANKLINE>
    A convolution whose kernel is as large as its input map has the same numbers, with C = channels*H*W:
    fc6 of VGG16 is a 7x7 convolution of 512 channels.
"""

from collections.abc import Callable

from npseg import checks
from npseg.analysis.formulas.convolution import conv2d, depthwise_conv2d, separable_conv2d
from npseg.analysis.formulas.cost import Cost
from npseg.analysis.formulas.dense import batch_norm2d, linear
from npseg.analysis.formulas.derivation import Derivation, Line, Term, explained
from npseg.analysis.formulas.pooling import avg_pool2d, global_avg_pool2d, max_pool2d
from npseg.analysis.formulas.transposed import conv_transpose2d
from npseg.analysis.formulas.upsampling import bed_of_nails_unpool2d, max_unpool2d, nearest_unpool2d, resize_bilinear

OPERATIONS: dict[str, Callable[..., Cost]] = {
    "conv2d": conv2d,
    "dilated": conv2d,
    "depthwise": depthwise_conv2d,
    "separable": separable_conv2d,
    "transposed": conv_transpose2d,
    "linear": linear,
    "max-pool": max_pool2d,
    "avg-pool": avg_pool2d,
    "global-avg-pool": global_avg_pool2d,
    "max-unpool": max_unpool2d,
    "nearest": nearest_unpool2d,
    "bed-of-nails": bed_of_nails_unpool2d,
    "bilinear": resize_bilinear,
    "batch-norm": batch_norm2d,
}
"""Every formula by its short name."""


def named(name: str) -> Callable[..., Cost]:
    """The formula of an operation, by its short name or by its name in `npseg.ops`; "-" and "_" are the same.

    Raises:
        TypeError, ValueError: there is none.

    >>> named("transposed") is named("conv_transpose2d") is conv_transpose2d
    True
    """
    known = OPERATIONS | {formula.__name__.replace("_", "-"): formula for formula in OPERATIONS.values()}
    spelled = name.replace("_", "-") if isinstance(name, str) else name
    return known[checks.choice(spelled, "operation", tuple(known))]


__all__ = [
    "OPERATIONS",
    "Cost",
    "Derivation",
    "Line",
    "Term",
    "avg_pool2d",
    "batch_norm2d",
    "bed_of_nails_unpool2d",
    "conv2d",
    "conv_transpose2d",
    "depthwise_conv2d",
    "explained",
    "global_avg_pool2d",
    "linear",
    "max_pool2d",
    "max_unpool2d",
    "named",
    "nearest_unpool2d",
    "resize_bilinear",
    "separable_conv2d",
]
