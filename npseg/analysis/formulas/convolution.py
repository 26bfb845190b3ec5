"""The convolution: plain, dilated, grouped, depthwise, and depthwise separable."""

from npseg import checks
from npseg.analysis.formulas.cost import (
    IMAGE_SIZE,
    Cost,
    Lesson,
    activations,
    and_bias,
    arithmetic,
    concluded,
    convolved_size,
    divisible,
    exact_macs,
    given_size,
    kernel_area,
)
from npseg.analysis.formulas.derivation import Derivation, Term
from npseg.analysis.formulas.nearest import offering_what_works
from npseg.geometry import AXIS_NAMES, Padding, Pair, Size, Window, convolution_window


@offering_what_works
def conv2d(
    in_channels: int,
    out_channels: int,
    kernel_size: Pair,
    input_size: Size = IMAGE_SIZE,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    bias: bool = True,
    dtype: str = "float32",
) -> Cost:
    """What a convolution costs: K*K*C*M weights, each used once at each of H_out*W_out positions.

    Args:
        in_channels: C.
        out_channels: M.
        kernel_size, stride, padding, dilation: as in `npseg.ops.conv2d`.
        input_size: (H, W).
        groups: G, which divides both numbers of channels: each filter sees C/G of them.
        bias: whether each output channel has one.
        dtype: of the maps, float32 or float64.

    Returns:
        The counts for one image; `explain()` derives them.

    Raises:
        TypeError, ValueError: arguments are not of this form or do not fit together; where a nearby value of one
            argument would do, the error names it.

    Source: Dumoulin, Visin, "A guide to convolution arithmetic for deep learning" (2016), relationship 6 and section
    5.1, for the size; Howard et al., "MobileNets" (2017), equation 2, for the multiplications.

    >>> cost = conv2d(64, 128, 3, (56, 56), padding="same")
    >>> cost.parameters, cost.macs, cost.output_size
    (73856, 231211008, (56, 56))
    """
    input_size, window = _window(kernel_size, input_size, stride, padding, dilation)
    groups = divisible(groups, in_channels, out_channels)
    work = Derivation()
    C, M = work.given("C", in_channels, "input channels"), work.given("M", out_channels, "output channels")
    area = kernel_area(work, window)
    taps, lesson = C * M, None
    if groups > 1:
        G = work.given("G", groups, "groups; each filter sees C/G channels")
        taps, lesson = C * M / G, Lesson("grouped/full", 1 / G, "of a convolution whose filters see all C channels")
    return _counted("conv2d", work, window, input_size, area, taps, M, bias, dtype, lesson)


@offering_what_works
def depthwise_conv2d(
    in_channels: int,
    kernel_size: Pair,
    input_size: Size = IMAGE_SIZE,
    *,
    multiplier: int = 1,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    bias: bool = True,
    dtype: str = "float32",
) -> Cost:
    """What a depthwise convolution costs: K*K*C weights, since no filter sees more than one channel.

    Args:
        in_channels: C.
        kernel_size, input_size, stride, padding, dilation, bias, dtype: as in `conv2d`.
        multiplier: m, the filters of each channel; C*m channels come out.

    Returns:
        The counts for one image; `explain()` derives them.

    Raises:
        TypeError, ValueError: as `conv2d`.

    Source: Howard et al., "MobileNets" (2017), equation 4.

    >>> cost = depthwise_conv2d(64, 3, (56, 56), padding="same", bias=False)
    >>> cost.parameters, cost.macs
    (576, 1806336)
    """
    input_size, window = _window(kernel_size, input_size, stride, padding, dilation)
    work = Derivation()
    C = work.given("C", checks.integer(in_channels, "in_channels", at_least=1), "input channels")
    filters, _ = _filters(work, C, multiplier)
    area = kernel_area(work, window)
    lesson = Lesson("depthwise/full", 1 / C, "of a convolution whose filters see all C channels")
    return _counted("depthwise_conv2d", work, window, input_size, area, filters, filters, bias, dtype, lesson)


@offering_what_works
def separable_conv2d(
    in_channels: int,
    out_channels: int,
    kernel_size: Pair,
    input_size: Size = IMAGE_SIZE,
    *,
    multiplier: int = 1,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    bias: bool = True,
    dtype: str = "float32",
) -> Cost:
    """What a depthwise separable convolution costs: K*K*C weights that look around, and C*M that mix channels.

    Args:
        in_channels: C.
        out_channels: M.
        kernel_size, input_size, stride, padding, dilation, bias, dtype: as in `conv2d`; the bias comes after the
            pointwise convolution, and the map between the two is counted among the activations.
        multiplier: m, the depthwise filters of each channel.

    Returns:
        The counts for one image; `explain()` derives them, up to separable/full = 1/M + 1/(K*K).

    Raises:
        TypeError, ValueError: as `conv2d`.

    Source: Howard et al., "MobileNets" (2017), equation 5.

    >>> cost = separable_conv2d(64, 128, 3, (56, 56), padding="same", bias=False)
    >>> cost.parameters, cost.macs
    (8768, 27496448)
    >>> cost.lines[-1].formula, cost.lines[-1].value
    ('1/M + 1/(K*K)', Fraction(137, 1152))
    """
    input_size, window = _window(kernel_size, input_size, stride, padding, dilation)
    work = Derivation()
    C = work.given("C", checks.integer(in_channels, "in_channels", at_least=1), "input channels")
    M = work.given("M", checks.integer(out_channels, "out_channels", at_least=1), "output channels")
    filters, m = _filters(work, C, multiplier)
    area = kernel_area(work, window)
    lesson = Lesson("separable/full", m / M + m / area, "of a convolution whose filters see all C channels")
    return _counted(
        "separable_conv2d", work, window, input_size, area, filters, M, bias, dtype, lesson, pointwise=filters * M
    )


def _window(kernel_size: Pair, input_size: Size, stride: Pair, padding: Padding, dilation: Pair) -> tuple[Size, Window]:
    """The checked size, and the window on it."""
    input_size = checks.size(input_size, "input_size")
    return input_size, convolution_window(kernel_size, input_size, stride=stride, padding=padding, dilation=dilation)


def _filters(work: Derivation, C: Term, multiplier: int) -> tuple[Term, Term | int]:
    """All depthwise filters, C*m, and m; where m is 1, nobody writes it."""
    if checks.integer(multiplier, "multiplier", at_least=1) == 1:
        return C, 1
    m = work.given("m", multiplier, "multiplier: filters of each channel")
    return C * m, m


def _counted(
    operation: str,
    work: Derivation,
    window: Window,
    input_size: Size,
    area: Term,
    taps: Term,
    M: Term,
    bias: bool,
    dtype: str,
    lesson: Lesson | None,
    *,
    pointwise: Term | None = None,
) -> Cost:
    """What all convolutions have in common, once their weights are known.

    Args:
        area: the taps of the window: K*K.
        taps: the multiplications that one tap of the window takes part in: C*M/G.
        M: the output's channels.
        lesson: how the weights compare with those of a full convolution.
        pointwise: the weights of a 1x1 convolution that follows on a map of `taps` channels.
    """
    given_size(work, input_size)
    positions = convolved_size(work, window, input_size)
    output_size = window.output_size(input_size)
    weights = area * taps if pointwise is None else area * taps + pointwise
    parameters = work.derive("parameters", and_bias(weights, M, bias))
    macs = work.derive("MACs", weights * positions, "each weight once at each output position")
    exact = exact_macs(work, window, input_size, output_size, taps, pointwise, "the other MACs multiply padding zeros")
    flops = arithmetic(work, macs, M * positions, bias)
    values = M * positions if pointwise is None else (taps + M) * positions
    memory = activations(work, values, dtype, "" if pointwise is None else ", the map between the two parts included")
    if lesson is not None:
        work.derive(lesson.symbol, lesson.ratio, f"weights and MACs, to those {lesson.compared_with}")
    if max(axis.dilation for axis in window.axes) > 1:
        _explain_dilation(work, window, area)
    return concluded(
        operation,
        work,
        parameters=parameters,
        macs=macs,
        exact=exact,
        flops=flops,
        memory=memory,
        channels=M,
        output_size=output_size,
    )


def _explain_dilation(work: Derivation, window: Window, area: Term) -> None:
    """Dilation changes no count: it spreads the same taps over more pixels."""
    E_h, E_w = (
        work.given(symbol, axis.extent, f"dilation * (kernel_size - 1) + 1, the {name} that the kernel spans")
        for symbol, axis, name in zip(("E_h", "E_w"), window.axes, AXIS_NAMES, strict=True)
    )
    work.derive("dilated/dense", area / (E_h * E_w), "weights, to those of a kernel without gaps that spans as much")
    work.remark("Dilation occurs in no count: it spreads the same taps over more pixels.")
