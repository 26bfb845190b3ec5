"""Upsampling without parameters: the three unpoolings move values, bilinear interpolation mixes four of them."""

from npseg import checks
from npseg.analysis.formulas.cost import IMAGE_SIZE, NONE, Cost, activations, concluded, given_size
from npseg.analysis.formulas.derivation import Derivation, Term
from npseg.geometry import Pair, Size


def max_unpool2d(
    channels: int,
    scale: Pair | None = None,
    input_size: Size = IMAGE_SIZE,
    *,
    output_size: Size | None = None,
    dtype: str = "float32",
) -> Cost:
    """What max unpooling costs: nothing is computed, each value is put where its maximum was.

    Args:
        channels: C.
        scale: an int or (h, w): output size over input size; or else output_size.
        input_size: (H, W) of the pooled map.
        output_size: (H_out, W_out), where scale is not given.
        dtype: of the maps, float32 or float64.

    Returns:
        The counts for one image.

    Raises:
        TypeError, ValueError: arguments are not of this form; scale and output_size are given both, or neither.

    >>> cost = max_unpool2d(64, 2, (28, 28))
    >>> cost.flops, cost.output_size, cost.activation_bytes
    (0, (56, 56), 802816)
    """
    return _moved("max_unpool2d", channels, scale, input_size, output_size, dtype, "the places come from max pooling")


def nearest_unpool2d(channels: int, scale: Pair, input_size: Size = IMAGE_SIZE, *, dtype: str = "float32") -> Cost:
    """What nearest unpooling costs: nothing is computed, each value is copied into its whole cell.

    Args:
        channels: C.
        scale: the cell's size, an int or (h, w).
        input_size: (H, W).
        dtype: of the maps, float32 or float64.

    Returns:
        The counts for one image.

    Raises:
        TypeError, ValueError: arguments are not of this form.

    >>> nearest_unpool2d(64, (2, 3), (28, 28)).output_size
    (56, 84)
    """
    return _moved("nearest_unpool2d", channels, scale, input_size, None, dtype, "each value fills its cell")


def bed_of_nails_unpool2d(channels: int, scale: Pair, input_size: Size = IMAGE_SIZE, *, dtype: str = "float32") -> Cost:
    """What bed-of-nails unpooling costs: nothing is computed, each value stands at the top left of its cell.

    Args:
        channels: C.
        scale: the cell's size, an int or (h, w).
        input_size: (H, W).
        dtype: of the maps, float32 or float64.

    Returns:
        The counts for one image.

    Raises:
        TypeError, ValueError: arguments are not of this form.

    >>> bed_of_nails_unpool2d(64, 2, (28, 28)).macs
    0
    """
    remark = "each value stands at the top left of its cell, zeros elsewhere"
    return _moved("bed_of_nails_unpool2d", channels, scale, input_size, None, dtype, remark)


def resize_bilinear(
    channels: int,
    scale: Pair | None = None,
    input_size: Size = IMAGE_SIZE,
    *,
    output_size: Size | None = None,
    dtype: str = "float32",
) -> Cost:
    """What bilinear interpolation costs: the weighted sum of four neighbours for each output.

    Args:
        channels: C.
        scale: an int or (h, w): output size over input size; or else output_size.
        input_size: (H, W).
        output_size: (H_out, W_out), where scale is not given.
        dtype: of the maps, float32 or float64.

    Returns:
        The counts for one image.

    Raises:
        TypeError, ValueError: arguments are not of this form; scale and output_size are given both, or neither.

    >>> resize_bilinear(21, 2, (28, 28)).flops
    460992
    """
    work = Derivation()
    C, positions, enlarged = _enlarged(work, channels, scale, input_size, output_size)
    work.derive("parameters", NONE, "the weights follow from the position")
    work.derive(
        "MACs", NONE, "only those of convolutions and linear maps are counted; some tools count 4 or 11 an output"
    )
    flops = work.derive(
        "FLOPs",
        (Term.of("4", 4) + 3) * C * positions,
        "4 multiplications by the neighbours' weights and 3 additions for each output",
    )
    memory = activations(work, C * positions, dtype)
    work.remark(
        "At the border, and where an output falls onto an input pixel, fewer neighbours count. As a transposed "
        "convolution of stride s, the same needs a kernel of size 2*s, and with C classes (2*s)*(2*s)*C*C weights, of "
        "which all are zero but those from a class to itself."
    )
    return concluded("resize_bilinear", work, flops=flops, memory=memory, channels=C, output_size=enlarged)


def _moved(
    operation: str,
    channels: int,
    scale: Pair | None,
    input_size: Size,
    output_size: Size | None,
    dtype: str,
    remark: str,
) -> Cost:
    """An unpooling: values change place, nothing is computed."""
    work = Derivation()
    C, positions, enlarged = _enlarged(work, channels, scale, input_size, output_size)
    work.derive("parameters", NONE, "an unpooling has nothing to learn")
    work.derive("MACs", NONE)
    work.derive("FLOPs", NONE, f"values are moved, not computed with: {remark}")
    memory = activations(work, C * positions, dtype)
    return concluded(operation, work, memory=memory, channels=C, output_size=enlarged)


def _enlarged(
    work: Derivation, channels: int, scale: Pair | None, input_size: Size, output_size: Size | None
) -> tuple[Term, Term, Size]:
    """C, H_out*W_out, and the output's size."""
    C = work.given("C", checks.integer(channels, "channels", at_least=1), "channels")
    H, W = given_size(work, checks.size(input_size, "input_size"))
    if (scale is None) == (output_size is None):
        raise ValueError(
            f"scale or output_size must be given, and not both, got scale {scale}, output_size {output_size}"
        )
    if output_size is not None:
        output_size = checks.size(output_size, "output_size")
        H_out = work.given("H_out", output_size[0], "output height")
        W_out = work.given("W_out", output_size[1], "output width")
        return C, H_out * W_out, output_size
    scales = checks.pair(scale, "scale", at_least=1)
    s_h, s_w = work.given("s_h", scales[0], "vertical scale"), work.given("s_w", scales[1], "horizontal scale")
    H_out, W_out = work.derive("H_out", H * s_h), work.derive("W_out", W * s_w)
    return C, H_out * W_out, (input_size[0] * scales[0], input_size[1] * scales[1])
