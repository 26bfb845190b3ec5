"""The fully connected layer and batch normalisation."""

from npseg import checks
from npseg.analysis.formulas.cost import (
    IMAGE_SIZE,
    NONE,
    Cost,
    activations,
    and_bias,
    arithmetic,
    concluded,
    given_size,
)
from npseg.analysis.formulas.derivation import Derivation
from npseg.geometry import Size


def linear(in_features: int, out_features: int, *, bias: bool = True, dtype: str = "float32") -> Cost:
    """What a fully connected layer costs: C*M weights, each used once.

    Args:
        in_features: C.
        out_features: M.
        bias: whether each output has one.
        dtype: of the vectors, float32 or float64.

    Returns:
        The counts for one vector, which is a map of one pixel: output_size is (1, 1).

    Raises:
        TypeError, ValueError: arguments are not of this form.

    >>> linear(25088, 4096).parameters
    102764544
    """
    work = Derivation()
    C = work.given("C", checks.integer(in_features, "in_features", at_least=1), "input features")
    M = work.given("M", checks.integer(out_features, "out_features", at_least=1), "output features")
    parameters = work.derive("parameters", and_bias(C * M, M, bias))
    macs = work.derive("MACs", C * M, "each weight once")
    flops = arithmetic(work, macs, M, bias)
    memory = activations(work, M, dtype)
    work.remark(
        "A convolution whose kernel is as large as its input map has the same numbers, with C = channels*H*W: fc6 of "
        "VGG16 is a 7x7 convolution of 512 channels."
    )
    return concluded(
        "linear",
        work,
        parameters=parameters,
        macs=macs,
        exact=macs,
        flops=flops,
        memory=memory,
        channels=M,
        output_size=(1, 1),
    )


def batch_norm2d(channels: int, input_size: Size = IMAGE_SIZE, *, dtype: str = "float32") -> Cost:
    """What batch normalisation costs once a network is trained: a multiplication and an addition for each value.

    Args:
        channels: C.
        input_size: (H, W).
        dtype: of the maps, float32 or float64.

    Returns:
        The counts for one image, with running statistics.

    Raises:
        TypeError, ValueError: arguments are not of this form.

    Source: Ioffe, Szegedy, "Batch normalization" (2015), algorithm 2, step 11.

    >>> batch_norm2d(64, (56, 56)).parameters
    128
    """
    work = Derivation()
    C = work.given("C", checks.integer(channels, "channels", at_least=1), "channels")
    input_size = checks.size(input_size, "input_size")
    H, W = given_size(work, input_size)
    parameters = work.derive(
        "parameters", 2 * C, "gamma and beta; the running mean and variance, 2*C numbers more, are not learned"
    )
    work.derive("MACs", NONE, "only those of convolutions and linear maps are counted; some tools count 2 or 4 a value")
    flops = work.derive(
        "FLOPs",
        2 * C * H * W,
        "y = a*x + b with a = gamma / sqrt(variance + eps), b = beta - a*mean, which are the same for all pixels",
    )
    memory = activations(work, C * H * W, dtype)
    work.remark(
        "Since a and b are constants, they can be multiplied into the convolution before: then it costs nothing."
    )
    return concluded(
        "batch_norm2d",
        work,
        parameters=parameters,
        flops=flops,
        memory=memory,
        channels=C,
        output_size=input_size,
    )
