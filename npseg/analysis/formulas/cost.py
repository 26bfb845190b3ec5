"""What every formula gives, and the lines that several operations write alike."""

from dataclasses import dataclass, fields, replace
from typing import Any

from npseg import checks
from npseg.analysis.formulas.derivation import Derivation, Line, Term, explained
from npseg.geometry import AXIS_NAMES, OUTPUT_FORMULA, Size, Window

IMAGE_SIZE: Size = (224, 224)
"""The image where none is given: ImageNet's usual crop."""

NONE = Term.of("0", 0)

_ONE_LESS = "one less than the formula says: the last window would start past the image and its first padding"
_FLOPS = "a multiplication and an addition for each MAC"


@dataclass(frozen=True)
class Cost:
    """What an operation costs for one image, and how one finds out.

    Attributes:
        operation: its name in `npseg.ops`.
        parameters: learned numbers.
        macs: multiply-accumulates of convolutions and linear maps, those with padding zeros included; no biases.
        exact_macs: without those that multiply a padding zero or whose product is cropped away.
        flops: all floating-point operations: 2 for each of `macs`, and each addition of a bias, comparison, addition
            or division of a pool, and so on, as the derivation's line says. Index arithmetic does not count.
        output_channels: of the result.
        output_size: (H, W) of the result; a vector is a map of (1, 1).
        activation_bytes: of the maps that it makes.
        lines: the derivation.
    """

    operation: str
    parameters: int
    macs: int
    exact_macs: int
    flops: int
    output_channels: int
    output_size: Size
    activation_bytes: int
    lines: tuple[Line, ...]

    def explain(self, width: int = 100) -> str:
        """The derivation line by line, with the numbers of this call in it.

        Args:
            width: characters that a line may have before it is broken at its equality signs.
        """
        return f"{self.operation}\n\n{explained(self.lines, width)}"

    def as_dict(self) -> dict[str, Any]:
        """All of it as dicts, lists, strings and numbers, for JSON."""
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "lines"}
        return plain | {
            "output_size": list(self.output_size),
            "derivation": [line.as_dict() for line in self.lines],
        }


@dataclass(frozen=True)
class Lesson:
    """How an operation's weights compare with another's."""

    symbol: str
    ratio: Term
    compared_with: str


def concluded(
    operation: str,
    work: Derivation,
    *,
    parameters: Term = NONE,
    macs: Term = NONE,
    exact: Term = NONE,
    flops: Term = NONE,
    memory: Term,
    channels: Term,
    output_size: Size,
) -> Cost:
    """What a finished derivation has shown."""
    return Cost(
        operation=operation,
        parameters=_whole(parameters),
        macs=_whole(macs),
        exact_macs=_whole(exact),
        flops=_whole(flops),
        output_channels=_whole(channels),
        output_size=output_size,
        activation_bytes=_whole(memory),
        lines=work.lines,
    )


def _whole(value: Term) -> int:
    """A term that is a number of things, hence whole."""
    assert isinstance(value.value, int), f"{value.formula} = {value.value} is not whole"
    return value.value


def kernel_area(work: Derivation, window: Window) -> Term:
    """K*K, or K_h*K_w where height and width differ."""
    height, width = window.kernel_size
    if height == width:
        K = work.given("K", height, "kernel size")
        return K * K
    return work.given("K_h", height, "kernel height") * work.given("K_w", width, "kernel width")


def given_size(work: Derivation, size: Size) -> tuple[Term, Term]:
    """H and W."""
    return work.given("H", size[0], "input height"), work.given("W", size[1], "input width")


def convolved_size(work: Derivation, window: Window, size: Size, asked: Window | None = None) -> Term:
    """H_out*W_out of a convolution or a pool, and the line of each.

    Args:
        work: where the lines go.
        window: on the input, ceil mode's overhang included.
        size: (H, W) of the input.
        asked: the window without that overhang, where the size is rounded up; else None.
    """
    rounding, plain = ("floor", window) if asked is None else ("ceil", asked)
    terms, fewer = [], False
    for axis, given, length in zip(window.axes, plain.axes, size, strict=True):
        outputs = axis.output_size(length)
        terms.append(Term(rounding + OUTPUT_FORMULA, given.output_formula(length, rounding), outputs))
        room = 0 if asked is None else given.stride - 1
        fewer |= replace(given, after=given.after + room).output_size(length) > outputs
    return size_lines(work, terms[0], terms[1], _ONE_LESS if fewer else "")


def size_lines(work: Derivation, rows: Term, columns: Term, remark: str = "") -> Term:
    """H_out*W_out, and the line of each; one line for both where their numbers are the same."""
    if rows == columns:
        both = work.derive("H_out, W_out", rows, remark).value
        return Term.of("H_out", both) * Term.of("W_out", both)
    return work.derive("H_out", rows) * work.derive("W_out", columns, remark)


def exact_macs(
    work: Derivation, window: Window, image: Size, windows: Size, taps: Term, pointwise: Term | None, others: str
) -> Term:
    """The multiplications by real pixels: fewer than the nominal ones where windows leave the image.

    Args:
        work: where the lines go, if there is a difference.
        window: of the convolution.
        image: (H, W) that the windows look at.
        windows: how many there are along each axis.
        taps: the multiplications that one tap takes part in: C*M/G.
        pointwise: those of a 1x1 convolution that follows, for each window.
        others: what becomes of the rest of the multiplications.
    """
    real = [axis.real_taps(n, m) for axis, n, m in zip(window.axes, image, windows, strict=True)]
    nominal = [axis.kernel_size * m for axis, m in zip(window.axes, windows, strict=True)]
    lines = work if real != nominal else Derivation()
    T_h, T_w = (
        lines.given(symbol, inside, f"taps inside the {name}, all windows together; {of:,} with those outside")
        for symbol, inside, of, name in zip(("T_h", "T_w"), real, nominal, AXIS_NAMES, strict=True)
    )
    exact = T_h * T_w * taps
    if pointwise is not None:
        exact += pointwise * Term.of("H_out", windows[0]) * Term.of("W_out", windows[1])
    return lines.derive("exact MACs", exact, others)


def activations(work: Derivation, values: Term, dtype: str, remark: str = "") -> Term:
    """The memory of maps of so many values of float32 or float64."""
    kind = checks.float_dtype(dtype, "dtype")
    return work.derive(
        "bytes", values * kind.itemsize, f"of the output, {kind.itemsize} for each value of {kind}{remark}"
    )


def and_bias(weights: Term, channels: Term, bias: bool) -> Term:
    """One more parameter for each output channel where there is a bias."""
    return weights + channels if checks.flag(bias, "bias") else weights


def arithmetic(work: Derivation, macs: Term, outputs: Term, bias: bool) -> Term:
    """The FLOPs of an operation that multiplies and accumulates, and adds a bias to each output."""
    if bias:
        return work.derive("FLOPs", 2 * macs + outputs, f"{_FLOPS}, an addition for each output's bias")
    return work.derive("FLOPs", 2 * macs, _FLOPS)


def divisible(groups: int, in_channels: int, out_channels: int) -> int:
    """The number of groups, which must divide both numbers of channels."""
    groups = checks.integer(groups, "groups", at_least=1)
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if checks.integer(channels, name, at_least=1) % groups:
            raise ValueError(
                f"groups must divide {name}, got {groups}: {name} / groups = {channels} / {groups} is not whole"
            )
    return groups
