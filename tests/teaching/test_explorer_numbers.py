"""The explorer's arithmetic, which is its own, gives npseg's numbers: for every operation, with settings by chance."""

import numpy as np
import pytest

from npseg import matrices, ops

pytestmark = pytest.mark.browser

DRAWS = 10


def pair(rng, low, high, *, same=0.5):
    """One number for both axes, or two."""
    if rng.random() < same:
        return int(rng.integers(low, high + 1))
    return tuple(int(value) for value in rng.integers(low, high + 1, 2))


def size(rng, low=1, high=7):
    return pair(rng, low, high, same=0)


def padding(rng):
    return [
        "valid",
        "same",
        int(rng.integers(0, 3)),
        size(rng, 0, 2),
        (size(rng, 0, 2), size(rng, 0, 2)),
    ][rng.integers(5)]


def flag(rng):
    return bool(rng.integers(2))


def channels(rng):
    return int(rng.integers(1, 4))


WINDOW = {"kernel_size": lambda rng: pair(rng, 1, 3), "stride": lambda rng: pair(rng, 1, 3), "padding": padding}
DILATED = WINDOW | {"dilation": lambda rng: pair(rng, 1, 2)}
MAP = {"input_size": size, "in_channels": channels}
GROUPS = {"out_channels": channels, "groups": lambda rng: int(rng.choice([1, 1, 2, 3]))}

SETTINGS = {
    "conv2d": MAP | DILATED | GROUPS,
    "depthwise_conv2d": MAP | DILATED | {"multiplier": lambda rng: int(rng.integers(1, 3))},
    "separable_conv2d": MAP | DILATED | {"multiplier": lambda rng: int(rng.integers(1, 3)), "out_channels": channels},
    "conv_transpose2d": MAP
    | DILATED
    | GROUPS
    | {"input_size": lambda rng: size(rng, 1, 4), "output_padding": lambda rng: pair(rng, 0, 1)},
    "deconvolve2d": DILATED
    | {
        "input_size": lambda rng: size(rng, 1, 5),
        "stride": lambda rng: pair(rng, 1, 2),
        "regularization": lambda rng: float(rng.choice([0, 0.5])),
    },
    "max_pool2d": MAP | DILATED | {"ceil_mode": flag},
    "avg_pool2d": MAP | WINDOW | {"ceil_mode": flag, "count_include_pad": flag},
    "max_unpool2d": MAP | {"input_size": lambda rng: size(rng, 1, 4), "output_size": lambda rng: size(rng, 3, 9)},
    "nearest_unpool2d": MAP | {"input_size": lambda rng: size(rng, 1, 4), "scale": lambda rng: pair(rng, 1, 4)},
    "bed_of_nails_unpool2d": MAP | {"input_size": lambda rng: size(rng, 1, 4), "scale": lambda rng: pair(rng, 1, 4)},
    "resize_bilinear": MAP | {"output_size": lambda rng: size(rng, 1, 9), "align_corners": flag},
}

IN_SHAPES = ("input_size", "in_channels", "out_channels", "multiplier", "kernel_size")


def named(settings, *extra):
    """The settings that an operation takes as keyword arguments."""
    return {name: value for name, value in settings.items() if name not in IN_SHAPES + extra}


def words(settings):
    """The settings as they are typed into the fields."""
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in settings.items()}
    return texts | {"input_size": texts["input_size"].strip("()")}


class Shown:
    """The arrays of the page, as npseg takes them, forward and backward."""

    def __init__(self, page, operation, settings, seed):
        self.forward, self.backward = (
            self._visit(page, operation, settings, seed, direction) for direction in ("forward", "backward")
        )
        self.error = self.forward["error"]
        self._page = page

    @staticmethod
    def _visit(page, operation, settings, seed, direction):
        page.set(operation=operation, seed=seed, direction=direction, **words(settings))
        return page.read()

    def array(self, name):
        read = self.backward if name.startswith("gradient") else self.forward
        array = self._page.array(name, read)
        return array if name in ("matrix", "columns") or name.endswith("weight") or "kernel" in name else array[None]


# What npseg makes of the same arrays: a dictionary from grids to arrays, for each operation


def conv2d(shown, settings, name="conv2d", backward="conv2d_backward"):
    x, weight, grad = shown.array("input"), shown.array("kernel weight"), shown.array("gradient output")
    arguments = named(settings)
    grad_x, grad_weight, _ = getattr(ops, backward)(grad, x, weight, **arguments)
    window = {key: value for key, value in arguments.items() if key != "groups"}
    groups = arguments.get("groups", x.shape[1])
    return {
        "output": getattr(ops, name)(x, weight, **arguments),
        "columns": ops.im2col(x, weight.shape[2:], **window)[0],
        "matrix": matrices.conv2d_matrix(weight, x.shape[2:], **window, groups=groups).toarray(),
        "gradient input": grad_x,
        "gradient weight": grad_weight,
    }


def depthwise_conv2d(shown, settings):
    return conv2d(shown, settings, "depthwise_conv2d", "depthwise_conv2d_backward")


def separable_conv2d(shown, settings):
    x, grad = shown.array("input"), shown.array("gradient output")
    depthwise, pointwise = shown.array("kernel depthwise_weight"), shown.array("kernel pointwise_weight")
    arguments = named(settings)
    grad_x, grad_depthwise, grad_pointwise, _ = ops.separable_conv2d_backward(
        grad, x, depthwise, pointwise, **arguments
    )
    first = matrices.conv2d_matrix(depthwise, x.shape[2:], **arguments, groups=x.shape[1])
    second = matrices.conv2d_matrix(pointwise, grad.shape[2:])
    return {
        "middle": ops.depthwise_conv2d(x, depthwise, **arguments),
        "output": ops.separable_conv2d(x, depthwise, pointwise, **arguments),
        "columns": ops.im2col(x, depthwise.shape[2:], **arguments)[0],
        "matrix": second.toarray() @ first.toarray(),
        "gradient input": grad_x,
        "gradient depthwise_weight": grad_depthwise,
        "gradient pointwise_weight": grad_pointwise,
    }


def conv_transpose2d(shown, settings):
    x, weight, grad = shown.array("input"), shown.array("kernel weight"), shown.array("gradient output")
    arguments = named(settings)
    groups = arguments["groups"]
    grad_x, grad_weight, _ = ops.conv_transpose2d_backward(grad, x, weight, **arguments)
    stamps = np.einsum("gchw,gcokl->goklhw", *(array.reshape(groups, -1, *array.shape[1:]) for array in (x[0], weight)))
    return {
        "output": ops.conv_transpose2d(x, weight, **arguments),
        "columns": stamps.reshape(-1, x.shape[2] * x.shape[3]),
        "matrix": matrices.conv_transpose2d_matrix(weight, x.shape[2:], **arguments).toarray(),
        "gradient input": grad_x,
        "gradient weight": grad_weight,
    }


def deconvolve2d(shown, settings):
    y, kernel, grad = shown.array("input")[0, 0], shown.array("kernel kernel")[0, 0], shown.array("gradient output")
    arguments = named(settings)
    units = np.eye(y.size).reshape(y.size, *y.shape)
    inverse = np.stack([ops.deconvolve2d(unit, kernel, **arguments).ravel() for unit in units], axis=1)
    x = ops.deconvolve2d(y, kernel, **arguments)
    del arguments["regularization"]
    return {
        "output": x[None, None],
        "matrix": inverse,
        "check": ops.conv2d(x[None, None], kernel[None, None], **arguments),
        "gradient input": (inverse.T @ grad.ravel()).reshape(1, 1, *y.shape),
    }


def max_pool2d(shown, settings):
    x, grad, kernel_size = shown.array("input"), shown.array("gradient output"), settings["kernel_size"]
    arguments = named(settings)
    y, indices = ops.max_pool2d(x, kernel_size, **arguments)
    expected = {
        "output": y,
        "matrix": matrices.max_pool2d_matrix(indices[0], x.shape[2:]).toarray(),
        "gradient input": ops.max_pool2d_backward(grad, indices, x.shape[2:]),
    }
    if not arguments.pop("ceil_mode"):
        expected["columns"] = ops.im2col(x, kernel_size, **arguments)[0]
    return expected


def avg_pool2d(shown, settings):
    x, grad, kernel_size = shown.array("input"), shown.array("gradient output"), settings["kernel_size"]
    arguments = named(settings)
    channels, input_size = x.shape[1], x.shape[2:]
    return {
        "output": ops.avg_pool2d(x, kernel_size, **arguments),
        "matrix": matrices.avg_pool2d_matrix(channels, input_size, kernel_size, **arguments).toarray(),
        "gradient input": ops.avg_pool2d_backward(grad, input_size, kernel_size, **arguments),
    }


def max_unpool2d(shown, settings):
    x, grad, output_size = shown.array("input"), shown.array("gradient output"), settings["output_size"]
    indices = shown.array("indices").astype(np.int64)
    return {
        "output": ops.max_unpool2d(x, indices, output_size),
        "matrix": matrices.max_pool2d_matrix(indices[0], output_size).toarray().T,
        "gradient input": ops.max_unpool2d_backward(grad, indices),
    }


def nearest_unpool2d(shown, settings, name="nearest_unpool2d"):
    x, grad, scale = shown.array("input"), shown.array("gradient output"), settings["scale"]
    return {
        "output": getattr(ops, name)(x, scale),
        "matrix": getattr(matrices, f"{name}_matrix")(x.shape[1], x.shape[2:], scale).toarray(),
        "gradient input": getattr(ops, f"{name}_backward")(grad, scale),
    }


def bed_of_nails_unpool2d(shown, settings):
    return nearest_unpool2d(shown, settings, "bed_of_nails_unpool2d")


def resize_bilinear(shown, settings):
    x, grad, output_size = shown.array("input"), shown.array("gradient output"), settings["output_size"]
    aligned = {"align_corners": settings["align_corners"]}
    return {
        "output": ops.resize_bilinear(x, output_size, **aligned),
        "matrix": matrices.resize_bilinear_matrix(x.shape[1], x.shape[2:], output_size, **aligned).toarray(),
        "gradient input": ops.resize_bilinear_backward(grad, x.shape[2:], **aligned),
    }


EXPECTED = {name: globals()[name] for name in SETTINGS}


def refuses(operation, settings):
    """Whether npseg refuses the settings, asked with arrays of zeros."""
    in_channels, out_channels = settings.get("in_channels", 1), settings.get("out_channels", 1)
    x = np.zeros((1, in_channels, *settings["input_size"]))
    kernel_size = settings.get("kernel_size", 1)
    kernel = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
    groups, multiplier = settings.get("groups", 1), settings.get("multiplier", 1)
    if in_channels % groups or out_channels % groups:
        return True
    depthwise = np.zeros((in_channels * multiplier, 1, *kernel))
    arrays = {
        "conv2d": (x, np.zeros((out_channels, in_channels // groups, *kernel))),
        "depthwise_conv2d": (x, depthwise),
        "separable_conv2d": (x, depthwise, np.zeros((out_channels, len(depthwise), 1, 1))),
        "conv_transpose2d": (x, np.zeros((in_channels, out_channels // groups, *kernel))),
        "deconvolve2d": (x[0, 0], np.zeros(kernel)),
        "max_pool2d": (x, kernel_size),
        "avg_pool2d": (x, kernel_size),
        "nearest_unpool2d": (x,),
        "bed_of_nails_unpool2d": (x,),
        "resize_bilinear": (x,),
    }
    if operation == "max_unpool2d":  # each value needs a place of its own
        return np.prod(settings["input_size"]) > np.prod(settings["output_size"])
    try:
        getattr(ops, operation)(*arrays[operation], **named(settings))
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("operation", SETTINGS)
def test_the_page_computes_what_npseg_computes(page, operation):
    rng = np.random.default_rng(list(operation.encode()))
    compared = 0
    for seed in range(1, DRAWS + 1):
        settings = {name: draw(rng) for name, draw in SETTINGS[operation].items()}
        shown = Shown(page, operation, settings, seed)
        assert (shown.error is not None) == refuses(operation, settings), (settings, shown.error)
        if shown.error is not None:
            continue
        compared += 1
        for grid, expected in EXPECTED[operation](shown, settings).items():
            found = shown.array(grid)
            assert found.shape == expected.shape, (grid, settings)
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9, err_msg=f"{grid} {settings}")
        output = " × ".join(map(str, shown.array("output").shape[1:]))
        assert shown.forward["facts"]["output"] == output
    assert compared >= DRAWS // 4
