"""Small examples of every operation, with whole numbers drawn at random: what `npseg explain` explains."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from npseg import checks, ops
from npseg.checks import Array
from npseg.geometry import Size
from npseg.teaching.traces import AnyTrace, trace

ONE_WEIGHT = {"input_size": (4, 4), "kernel_size": 3, "channels": 1, "out_channels": 1}
UNPOOLED = {"input_size": (2, 2), "channels": 1, "scale": 2}

DEFAULTS: dict[str, dict[str, Any]] = {
    "conv2d": ONE_WEIGHT,
    "depthwise_conv2d": {"input_size": (4, 4), "kernel_size": 3, "channels": 2},
    "separable_conv2d": {**ONE_WEIGHT, "channels": 2},
    "conv_transpose2d": {**ONE_WEIGHT, "input_size": (2, 2)},
    "max_pool2d": {"input_size": (4, 4), "kernel_size": 2, "channels": 1},
    "avg_pool2d": {"input_size": (4, 4), "kernel_size": 2, "channels": 1},
    "max_unpool2d": UNPOOLED,
    "nearest_unpool2d": UNPOOLED,
    "bed_of_nails_unpool2d": UNPOOLED,
    "resize_bilinear": {"input_size": (2, 2), "channels": 1, "output_size": (4, 4)},
    "deconvolve2d": {"input_size": (3, 3), "kernel_size": 2},
    "cross_entropy2d": {"input_size": (2, 2), "channels": 3},
}
"""What each operation is shown on where nothing else is chosen. `channels` of the cross-entropy are its classes."""

OPTIONAL: dict[str, tuple[str, ...]] = {
    "conv2d": ("stride", "padding", "dilation", "groups"),
    "depthwise_conv2d": ("stride", "padding", "dilation"),
    "separable_conv2d": ("stride", "padding", "dilation"),
    "conv_transpose2d": ("stride", "padding", "output_padding", "dilation", "groups"),
    "max_pool2d": ("stride", "padding", "dilation", "ceil_mode"),
    "avg_pool2d": ("stride", "padding", "ceil_mode"),
    "resize_bilinear": ("align_corners",),
    "deconvolve2d": ("stride", "padding", "dilation", "regularization"),
}
"""What may be chosen beside these, as it is given to the operation."""

TWO_GRADIENTS = ("conv2d", "depthwise_conv2d", "conv_transpose2d")
WITHOUT_VIEW = ("separable_conv2d", "deconvolve2d", "cross_entropy2d")


def demonstrate(
    operation: str, *, backward: bool = False, view: str | None = None, seed: int = 0, **chosen: Any
) -> AnyTrace:
    """The trace of an operation, or of its backward pass, on small whole numbers.

    Args:
        operation: one of `DEFAULTS`.
        backward: trace the backward pass instead; `deconvolve2d` has none.
        view: "gather", "scatter" or "zero_stuffed", see `npseg.teaching.trace`; None is the operation's usual one.
        seed: of the numbers.
        chosen: the sizes of `DEFAULTS` and the arguments of `OPTIONAL`, by their names.

    Raises:
        TypeError, ValueError: a name has no meaning for this operation, or the operation refuses what was chosen.

    >>> len(demonstrate("conv2d", input_size=(4, 4), kernel_size=3))
    4
    """
    checks.choice(operation, "operation", tuple(DEFAULTS))
    checks.flag(backward, "backward")
    known = {**DEFAULTS[operation], **dict.fromkeys(OPTIONAL.get(operation, ()))}
    for name in chosen:
        if name not in known:
            raise ValueError(f"{name} has no meaning for {operation}, which takes {', '.join(known)}")
    sizes = {**DEFAULTS[operation], **{name: chosen[name] for name in chosen if name in DEFAULTS[operation]}}
    arguments = {name: value for name, value in chosen.items() if name not in sizes}
    if view is not None:
        if operation in WITHOUT_VIEW or (backward and operation in TWO_GRADIENTS):
            raise ValueError(f"view has no meaning for {operation}{' backward' * backward}")
        arguments["view"] = view
    numbers = _Numbers(seed)
    given = _given(operation, numbers, sizes, arguments)
    return _backward(operation, numbers, given, arguments) if backward else trace(operation, *given, **arguments)


class _Numbers:
    """Small whole numbers, no zeros among them, so that none looks like padding."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(checks.integer(seed, "seed", at_least=0))

    def __call__(self, *shape: int) -> Array:
        return self._rng.integers(1, 10, shape).astype(np.float64)

    def signed(self, *shape: int) -> Array:
        """From -2 to 2, for kernels and gradients."""
        return self._rng.choice([-2.0, -1.0, 1.0, 2.0], shape)

    def labels(self, classes: int, size: Size) -> Array:
        """Class ids; the last pixel is to be ignored."""
        labels = self._rng.integers(0, classes, (1, *size))
        labels[0, -1, -1] = 255
        return labels


def _given(operation: str, numbers: _Numbers, sizes: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[Any]:
    """The arrays and sizes that the operation takes by position."""
    size = checks.size(sizes["input_size"], "input_size")
    channels = checks.integer(sizes.get("channels", 1), "channels", at_least=1)
    out = checks.integer(sizes.get("out_channels", 1), "out_channels", at_least=1)
    kernel = checks.pair(sizes.get("kernel_size", 1), "kernel_size", at_least=1)
    scale = checks.pair(sizes.get("scale", 1), "scale", at_least=1)
    groups = checks.integer(arguments.get("groups", 1), "groups", at_least=1)
    if channels % groups or out % groups:
        raise ValueError(f"groups must divide {channels} channels and {out} out_channels, got {groups}")
    x = numbers(1, channels, *size)
    match operation:
        case "conv2d":
            return [x, numbers.signed(out, channels // groups, *kernel)]
        case "depthwise_conv2d":
            return [x, numbers.signed(channels, 1, *kernel)]
        case "separable_conv2d":
            return [x, numbers.signed(channels, 1, *kernel), numbers.signed(out, channels, 1, 1)]
        case "conv_transpose2d":
            return [x, numbers.signed(channels, out // groups, *kernel)]
        case "max_pool2d" | "avg_pool2d":
            return [x, kernel]
        case "max_unpool2d":
            large = size[0] * scale[0], size[1] * scale[1]
            _, indices = ops.max_pool2d(numbers(1, channels, *large), scale)
            return [x, indices, large]
        case "resize_bilinear":
            return [x, sizes["output_size"]]
        case "deconvolve2d":
            return [x[0, 0], numbers.signed(*kernel)]
        case "cross_entropy2d":
            return [np.log2(x).round(), numbers.labels(channels, size)]
        case _:
            return [x, scale]


def _backward(operation: str, numbers: _Numbers, given: list[Any], arguments: dict[str, Any]) -> AnyTrace:
    """The backward pass for a gradient of small whole numbers."""
    name = f"{operation}_backward"
    if operation == "deconvolve2d":
        raise ValueError("deconvolve2d has no backward pass")
    if operation == "cross_entropy2d":
        return trace(name, *given, **arguments)
    forward = {name: value for name, value in arguments.items() if name != "view"}
    result = getattr(ops, operation)(*given, **forward)
    y, *saved = result if isinstance(result, tuple) else (result,)
    grad = numbers.signed(*y.shape)
    x, *others = given
    size = x.shape[2:]
    match operation:
        case "max_pool2d":
            return trace(name, grad, *saved, size, **{n: arguments[n] for n in arguments if n == "view"})
        case "avg_pool2d":
            return trace(name, grad, size, *others, **arguments)
        case "resize_bilinear":
            return trace(name, grad, size, **arguments)
        case "max_unpool2d":
            indices, _ = others
            return trace(name, grad, indices, **arguments)
        case "nearest_unpool2d" | "bed_of_nails_unpool2d":
            return trace(name, grad, *others, **arguments)
        case _:
            return trace(name, grad, *given, **arguments)
