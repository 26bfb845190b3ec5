"""The transposed convolution: what it costs is decided by its input, how large it gets by its stride."""

from npseg import checks
from npseg.analysis.formulas.cost import (
    IMAGE_SIZE,
    Cost,
    activations,
    and_bias,
    arithmetic,
    concluded,
    divisible,
    exact_macs,
    given_size,
    kernel_area,
    size_lines,
)
from npseg.analysis.formulas.derivation import Derivation, Term
from npseg.analysis.formulas.nearest import offering_what_works
from npseg.geometry import TRANSPOSED_FORMULA, Padding, Pair, Size, transposed_window


@offering_what_works
def conv_transpose2d(
    in_channels: int,
    out_channels: int,
    kernel_size: Pair,
    input_size: Size = IMAGE_SIZE,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    bias: bool = True,
    dtype: str = "float32",
) -> Cost:
    """What a transposed convolution costs: K*K*C*M weights, each used once at each of H*W *input* positions.

    Every input pixel stamps the kernel into the output once, however far apart the stamps lie; so the stride changes
    the size and not the count.

    Args:
        in_channels: C.
        out_channels: M.
        kernel_size, stride, padding, output_padding, dilation: as in `npseg.ops.conv_transpose2d`.
        input_size: (H, W) of the map that is enlarged.
        groups, bias, dtype: as in `conv2d`.

    Returns:
        The counts for one image; `explain()` derives them, and what counting by output positions would make of them.

    Raises:
        TypeError, ValueError: as `conv2d`.

    Source: Dumoulin, Visin (2016), relationship 14, for the size.

    >>> cost = conv_transpose2d(21, 21, 64, (7, 7), stride=32, padding=16, bias=False)
    >>> cost.macs, cost.exact_macs, cost.output_size
    (88510464, 76317696, (224, 224))
    """
    input_size = checks.size(input_size, "input_size")
    groups = divisible(groups, in_channels, out_channels)
    window = transposed_window(
        kernel_size, input_size, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation
    )
    work = Derivation()
    C, M = work.given("C", in_channels, "input channels"), work.given("M", out_channels, "output channels")
    area = kernel_area(work, window)
    taps = C * M / work.given("G", groups, "groups; each filter sees C/G channels") if groups > 1 else C * M
    H, W = given_size(work, input_size)
    rows, columns = (
        Term(TRANSPOSED_FORMULA, axis.input_formula(length), axis.input_size(length))
        for axis, length in zip(window.axes, input_size, strict=True)
    )
    positions = size_lines(work, rows, columns)
    output_size = window.input_size(input_size)

    parameters = work.derive("parameters", and_bias(area * taps, M, bias))
    macs = work.derive("MACs", area * taps * H * W, "each weight once at each input position, where a stamp is put")
    exact = exact_macs(
        work, window, output_size, input_size, taps, None, "the other products fall outside and are cropped"
    )
    flops = arithmetic(work, macs, M * positions, bias)
    memory = activations(work, M * positions, dtype)
    work.derive(
        "wrong/right",
        positions / (H * W),
        "how many times too many MACs one gets by counting each weight at each output position, as some tools do",
    )
    return concluded(
        "conv_transpose2d",
        work,
        parameters=parameters,
        macs=macs,
        exact=exact,
        flops=flops,
        memory=memory,
        channels=M,
        output_size=output_size,
    )
