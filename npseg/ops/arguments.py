"""What the operations' argument checks have in common."""

from typing import Any

from npseg import checks
from npseg.checks import Array
from npseg.geometry import Size, Window

IMAGES = "(N, C, H, W)"


def images(value: Any, name: str = "x") -> Array:
    """A batch of images or maps (N, C, H, W)."""
    return checks.floats(value, name, IMAGES)


def size_of(x: Array) -> Size:
    """(H, W) of a batch."""
    return x.shape[2], x.shape[3]


def gradient(value: Any, shape: tuple[int, ...], reason: str) -> Array:
    """The gradient with respect to an operation's result, of exactly the result's shape."""
    grad = images(value, "grad")
    checks.shape(grad, "grad", shape, reason)
    return grad


def vector(value: Any, name: str, length: int, reason: str) -> Array:
    """One number a channel."""
    checked = checks.floats(value, name, "(C,)")
    checks.shape(checked, name, (length,), reason)
    return checked


def optional_bias(bias: Any, channels: int) -> Array | None:
    """No bias, or one number an output channel."""
    return None if bias is None else vector(bias, "bias", channels, "one for each output channel")


def blamed(window: Window, size: Size) -> str:
    """The argument that makes a windowed operation's result large: the padding, where it outgrows the image."""
    outgrown = any(axis.before + axis.after > length for axis, length in zip(window.axes, size, strict=True))
    return "padding" if outgrown else "x"
