"""Pooling: no parameters, no multiply-accumulates, but comparisons or additions in every window."""

from npseg import checks
from npseg.analysis.formulas.cost import (
    IMAGE_SIZE,
    NONE,
    Cost,
    activations,
    concluded,
    convolved_size,
    given_size,
    kernel_area,
)
from npseg.analysis.formulas.derivation import Derivation, Term
from npseg.analysis.formulas.nearest import offering_what_works
from npseg.geometry import Padding, Pair, Size, Window, check_real_pixels, parse_padding, pooling_window

INDEX_BYTES = 8


@offering_what_works
def max_pool2d(
    channels: int,
    kernel_size: Pair,
    input_size: Size = IMAGE_SIZE,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    dtype: str = "float32",
) -> Cost:
    """What max pooling costs: K*K - 1 comparisons for each window of each channel.

    Args:
        channels: C.
        kernel_size, stride, padding, dilation, ceil_mode: as in `npseg.ops.max_pool2d`.
        input_size: (H, W).
        dtype: of the maps, float32 or float64.

    Returns:
        The counts for one image; comparisons are FLOPs. `activation_bytes` is the map alone, not the winners'
        positions, which a training step keeps too.

    Raises:
        TypeError, ValueError: as `npseg.analysis.formulas.conv2d`.

    >>> cost = max_pool2d(64, 2, (56, 56))
    >>> cost.parameters, cost.flops, cost.output_size
    (0, 150528, (28, 28))
    """
    input_size = checks.size(input_size, "input_size")
    asked, window = pooling_window(
        kernel_size, input_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    check_real_pixels(window, input_size)
    work = Derivation()
    C = work.given("C", checks.integer(channels, "channels", at_least=1), "channels")
    area = kernel_area(work, window)
    positions = _windows(work, asked, window, input_size, rounded_up=ceil_mode and parse_padding(padding) != "same")
    _nothing_learned(work)
    flops = work.derive(
        "FLOPs", (area - 1) * C * positions, "comparisons: the largest of n numbers takes n - 1; no multiplications"
    )
    memory = activations(work, C * positions, dtype)
    work.remark(
        f"A training step also keeps the position of each winner, {INDEX_BYTES} bytes for each output: this is what "
        "max unpooling needs, and the way back."
    )
    output_size = window.output_size(input_size)
    return concluded("max_pool2d", work, flops=flops, memory=memory, channels=C, output_size=output_size)


@offering_what_works
def avg_pool2d(
    channels: int,
    kernel_size: Pair,
    input_size: Size = IMAGE_SIZE,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    dtype: str = "float32",
) -> Cost:
    """What average pooling costs: K*K - 1 additions and a division for each window of each channel.

    Args:
        channels: C.
        kernel_size, stride, padding, ceil_mode: as in `npseg.ops.avg_pool2d`.
        input_size: (H, W).
        dtype: of the maps, float32 or float64.

    Returns:
        The counts for one image.

    Raises:
        TypeError, ValueError: as `npseg.analysis.formulas.conv2d`.

    >>> avg_pool2d(64, 2, (56, 56)).flops
    200704
    """
    input_size = checks.size(input_size, "input_size")
    asked, window = pooling_window(kernel_size, input_size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    work = Derivation()
    C = work.given("C", checks.integer(channels, "channels", at_least=1), "channels")
    area = kernel_area(work, window)
    positions = _windows(work, asked, window, input_size, rounded_up=ceil_mode and parse_padding(padding) != "same")
    _nothing_learned(work)
    flops = work.derive("FLOPs", area * C * positions, "K*K - 1 additions and a division for each output")
    memory = activations(work, C * positions, dtype)
    work.remark("As a depthwise convolution with all weights 1/(K*K) it would have as many MACs as it has FLOPs here.")
    output_size = window.output_size(input_size)
    return concluded("avg_pool2d", work, flops=flops, memory=memory, channels=C, output_size=output_size)


def global_avg_pool2d(channels: int, input_size: Size = IMAGE_SIZE, *, dtype: str = "float32") -> Cost:
    """What global average pooling costs: H*W - 1 additions and a division for each channel.

    Args:
        channels: C.
        input_size: (H, W), all of it one window.
        dtype: of the maps, float32 or float64.

    Returns:
        The counts for one image.

    Raises:
        TypeError, ValueError: arguments are not of this form.

    >>> cost = global_avg_pool2d(1024, (7, 7))
    >>> cost.flops, cost.output_size
    (50176, (1, 1))
    """
    work = Derivation()
    C = work.given("C", checks.integer(channels, "channels", at_least=1), "channels")
    H, W = given_size(work, checks.size(input_size, "input_size"))
    _nothing_learned(work)
    flops = work.derive("FLOPs", H * W * C, "H*W - 1 additions and a division for each channel")
    memory = activations(work, C, dtype)
    return concluded("global_avg_pool2d", work, flops=flops, memory=memory, channels=C, output_size=(1, 1))


def _windows(work: Derivation, asked: Window, window: Window, size: Size, *, rounded_up: bool) -> Term:
    """H_out*W_out."""
    given_size(work, size)
    return convolved_size(work, window, size, asked if rounded_up else None)


def _nothing_learned(work: Derivation) -> None:
    work.derive("parameters", NONE, "a pool has nothing to learn")
    work.derive("MACs", NONE)
