"""What the operations' argument checks have in common."""

from collections.abc import Callable
from typing import Any

from npseg import checks
from npseg.checks import Array
from npseg.engines import own_form
from npseg.geometry import Size, Window
from npseg.matrices import pooling

IMAGES = "(N, C, H, W)"


def images(value: Any, name: str = "x") -> Array:
    """A batch of images or maps (N, C, H, W)."""
    return checks.floats(value, name, IMAGES)


def size_of(x: Array) -> Size:
    """(H, W) of a batch."""
    return x.shape[2], x.shape[3]


def gradient(value: Any, shape: tuple[int, ...], reason: str | Callable[[], str]) -> Array:
    """The gradient with respect to an operation's result, of exactly the result's shape."""
    grad = images(value, "grad")
    checks.shape(grad, "grad", shape, reason)
    checks.fits_memory(shape, grad.itemsize, "grad", "its copy")
    return grad


def vector(value: Any, name: str, length: int, reason: str) -> Array:
    """One number a channel."""
    checked = checks.floats(value, name, "(C,)")
    checks.shape(checked, name, (length,), reason)
    return checked


def optional_bias(bias: Any, channels: int) -> Array | None:
    """No bias, or one number an output channel."""
    return None if bias is None else vector(bias, "bias", channels, "one for each output channel")


def check_positions(indices: Array, size: Size) -> None:
    """Every flat position h * W + w must lie in its plane; the engine's own check, if it has one, is the faster one."""
    checks.fits_memory(indices.shape, indices.itemsize, "indices", "their copy")
    inside = own_form("positions_inside")
    if inside is None or not inside(indices, size):
        pooling.check_positions(indices, size)


def result_fits(shape: tuple[int, ...], source: Array, name: str, enlarged_by: str | Callable[[], str]) -> None:
    """Refuse a result over 64 GiB, blaming the array it comes from where that is as large, else what enlarges it."""
    blamed = name if source.nbytes > checks.BYTES_LIMIT else enlarged_by
    checks.fits_memory(shape, source.itemsize, blamed)


def blamed(window: Window, size: Size, otherwise: str) -> str:
    """The argument that makes a windowed operation's result large."""
    return "padding" if window.mostly_padding(size) else otherwise
