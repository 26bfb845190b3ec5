"""The operations in PyTorch, with its own gradients.

PyTorch pads evenly; uneven and "same" padding is put around the image beforehand. What it cannot express (uneven
padding together with ceil mode, or left out of the count) raises `NotComparableError`.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from npseg.checks import Array
from npseg.verify.calls import output
from npseg.verify.cases import Case
from npseg.verify.definitions import both, padding_sides


class NotComparableError(ValueError):
    """PyTorch has no such call."""


def version() -> str:
    """Of the library."""
    return str(torch.__version__)


def results(case: Case) -> tuple[list[Array], dict[str, Array]] | None:
    """What PyTorch computes in float64, forward and back; None where it has no such operation."""
    if case.operation not in TORCH:
        return None
    try:
        exact = case.in_float64()
        return forward_and_backward(
            case.operation, exact.arrays, exact.arguments, lambda y: case.cotangent(y).astype(np.float64)
        )
    except NotComparableError:
        return None


def forward_and_backward(
    operation: str, arrays: Any, arguments: Any, cotangent: Callable[[Array], Array]
) -> tuple[list[Array], dict[str, Array]]:
    """The results and, where the operation has a backward pass, each array's gradient.

    Args:
        operation: one of `TORCH`.
        arrays, arguments: of the operation.
        cotangent: from the result to the gradient that comes back to it; a result of one number gets 1.

    Raises:
        NotComparableError: PyTorch has no such call.
    """
    tensors = {name: tensor(array) for name, array in arrays.items()}
    theirs = TORCH[operation](**tensors, **copy.deepcopy(dict(arguments)))
    y = output(theirs)
    outputs = [np.asarray(one.detach()) for one in (theirs if isinstance(theirs, tuple) else (theirs,))]
    if operation in WITHOUT_BACKWARD:
        return outputs, {}
    if "labels" in arguments:
        y.sum().backward()
    else:
        y.backward(torch.tensor(cotangent(outputs[0])))
    return outputs, {name: np.asarray(given.grad) for name, given in tensors.items()}


def tensor(array: Array) -> Any:
    """A copy in PyTorch, which collects its gradient."""
    return torch.tensor(np.ascontiguousarray(array), requires_grad=array.dtype.kind == "f")


def pad(x: Any, sides: Any, value: float = 0.0) -> Any:
    """`value` around the images."""
    (top, bottom), (left, right) = sides
    return functional.pad(x, (left, right, top, bottom), value=value)


def _conv2d(
    x: Any, weight: Any, bias: Any = None, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    sides = padding_sides(padding, x.shape[2:], weight.shape[2:], both(stride), both(dilation))
    return functional.conv2d(pad(x, sides), weight, bias, both(stride), 0, both(dilation), groups)


def _depthwise_conv2d(x: Any, weight: Any, bias: Any = None, **arguments: Any) -> Any:
    return _conv2d(x, weight, bias, groups=x.shape[1], **arguments)


def _separable_conv2d(x: Any, depthwise_weight: Any, pointwise_weight: Any, bias: Any = None, **arguments: Any) -> Any:
    return functional.conv2d(_depthwise_conv2d(x, depthwise_weight, **arguments), pointwise_weight, bias)


def _conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """PyTorch crops evenly; uneven crops and appended zeros are a (negative) padding of the uncropped result."""
    stride, dilation, extra = both(stride), both(dilation), both(output_padding)
    full = functional.conv_transpose2d(x, weight, None, stride, 0, 0, groups, dilation)
    if padding == "same":
        surplus = [n - m * s for n, m, s in zip(full.shape[2:], x.shape[2:], stride, strict=True)]
        sides: Any = [(max(0, n) // 2, n - max(0, n) // 2) for n in surplus]
    else:
        sides = padding_sides(padding, None, None, None, None)
    y = pad(full, [(-first, more - last) for (first, last), more in zip(sides, extra, strict=True)])
    return y if bias is None else y + bias[:, None, None]


def _im2col(x: Any, kernel_size: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Any:
    sides = padding_sides(padding, x.shape[2:], both(kernel_size), both(stride), both(dilation))
    return functional.unfold(pad(x, sides), both(kernel_size), both(dilation), 0, both(stride))


def _col2im(
    columns: Any, input_size: Any, kernel_size: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> Any:
    """Onto a padded image, whose padding is cut off."""
    sides = padding_sides(padding, input_size, both(kernel_size), both(stride), both(dilation))
    size = [n + sum(side) for n, side in zip(input_size, sides, strict=True)]
    x = functional.fold(columns, size, both(kernel_size), both(dilation), 0, both(stride))
    return pad(x, [(-first, -last) for first, last in sides])


def _is_even(padding: Any) -> bool:
    return isinstance(padding, (int, tuple)) and np.ndim(padding) < 2


def _avg_pool2d(
    x: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    stride = kernel_size if stride is None else stride
    if _is_even(padding) and all(2 * p <= k for p, k in zip(both(padding), both(kernel_size), strict=True)):
        return functional.avg_pool2d(x, kernel_size, stride, padding, ceil_mode, count_include_pad)
    if ceil_mode or not count_include_pad:
        raise NotComparableError("uneven padding")
    sides = padding_sides(padding, x.shape[2:], both(kernel_size), both(stride), (1, 1))
    return functional.avg_pool2d(pad(x, sides), kernel_size, stride)


def _max_pool2d(
    x: Any, kernel_size: Any, *, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    stride = kernel_size if stride is None else stride
    if _is_even(padding):
        return functional.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices=True)
    if ceil_mode:
        raise NotComparableError("uneven padding in ceil mode")
    height, width = x.shape[2:]
    sides = padding_sides(padding, (height, width), both(kernel_size), both(stride), both(dilation))
    padded = pad(x, sides, value=-np.inf)
    y, indices = functional.max_pool2d(padded, kernel_size, stride, 0, dilation, return_indices=True)
    row = torch.div(indices, padded.shape[3], rounding_mode="floor") - sides[0][0]
    return y, row * width + indices % padded.shape[3] - sides[1][0]


def _max_unpool2d(x: Any, indices: Any, output_size: Any) -> Any:
    return torch.ops.aten.max_unpool2d(x, torch.tensor(indices), list(output_size))


def _crop2d(x: Any, size: Any, offset: Any) -> Any:
    top, left = both(offset)
    return x[:, :, top : top + size[0], left : left + size[1]]


def _resize_bilinear(x: Any, output_size: Any, *, align_corners: bool = False) -> Any:
    return functional.interpolate(x, output_size, mode="bilinear", align_corners=align_corners)


def _bed_of_nails_unpool2d(x: Any, scale: Any) -> Any:
    nail = torch.zeros(1, 1, *both(scale), dtype=x.dtype)
    nail[..., 0, 0] = 1
    return functional.conv_transpose2d(x, nail.repeat(x.shape[1], 1, 1, 1), stride=both(scale), groups=x.shape[1])


def _batch_norm2d(x: Any, gamma: Any, beta: Any, running_mean: Any, running_var: Any, **arguments: Any) -> Any:
    return functional.batch_norm(x, torch.tensor(running_mean), torch.tensor(running_var), gamma, beta, **arguments)


def _cross_entropy2d(
    logits: Any, labels: Any, *, ignore_index: int = 255, class_weight: Any = None, reduction: str = "mean"
) -> Any:
    weight = None if class_weight is None else torch.tensor(class_weight)
    given = torch.tensor(labels.astype(np.int64))
    return functional.cross_entropy(logits, given, weight=weight, ignore_index=ignore_index, reduction=reduction)


TORCH: dict[str, Callable[..., Any]] = {
    "avg_pool2d": _avg_pool2d,
    "batch_norm2d": _batch_norm2d,
    "bed_of_nails_unpool2d": _bed_of_nails_unpool2d,
    "col2im": _col2im,
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "crop2d": _crop2d,
    "cross_entropy2d": _cross_entropy2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "global_avg_pool2d": lambda x: functional.adaptive_avg_pool2d(x, 1),
    "im2col": _im2col,
    "linear": lambda x, weight, bias=None: functional.linear(x, weight, bias),
    "local_response_norm": lambda x, size, **arguments: functional.local_response_norm(x, size, **arguments),
    "log_softmax": lambda x, axis=1: functional.log_softmax(x, axis),
    "max_pool2d": _max_pool2d,
    "max_unpool2d": _max_unpool2d,
    "nearest_unpool2d": lambda x, scale: functional.interpolate(x, scale_factor=both(scale), mode="nearest"),
    "relu": lambda x: functional.relu(x),
    "relu6": lambda x: functional.relu6(x),
    "resize_bilinear": _resize_bilinear,
    "segmentation_map": lambda logits: torch.argmax(logits, dim=1),
    "separable_conv2d": _separable_conv2d,
    "softmax": lambda x, axis=1: functional.softmax(x, axis),
}

WITHOUT_BACKWARD = {"col2im", "im2col", "log_softmax", "segmentation_map", "softmax"}
"""What `npseg.ops` has no backward pass of by this name."""
