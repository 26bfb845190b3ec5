"""The forms in which networks run some operations: two at once, or one gradient alone. They must give the same."""

from typing import Any

import numpy as np

from npseg import ops, use_engine
from npseg.checks import Array
from npseg.verify.cases import Case

Compared = tuple[Array, Array, Array]
"""A result, what it should be, and the size of what it is made of."""


def joined_forms(case: Case, engine: str) -> list[Compared]:
    """What networks would compute for this case, beside what the definition says; nothing for most operations."""
    form = FORMS.get(case.operation)
    if form is None:
        return []
    with use_engine(engine):
        return form(case)


def _convolution_and_relu(case: Case) -> list[Compared]:
    given: dict[str, Any] = {**case.arrays, **case.arguments}
    y = ops.convolution.conv2d_relu(**given)
    return [(y, np.maximum(case.expected[0], 0), case.magnitudes[0])]


def _relu_and_bias_gradient(case: Case) -> list[Compared]:
    """On the way back: through the ReLU, and summed up for the bias before it."""
    x = case.arrays["x"]
    if x.ndim != 4:
        return []
    g = case.cotangent(x)
    ours = ops.convolution.relu_and_bias_gradient(g, ops.relu(x))
    passed = np.where(x > 0, g.astype(np.float64), 0)
    return [
        (ours[0], passed, np.abs(passed)),
        (ours[1], passed.sum(axis=(0, 2, 3)), np.abs(passed).sum(axis=(0, 2, 3))),
    ]


def _input_gradient_alone(case: Case) -> list[Compared]:
    """Of a transposed convolution that is not trained, held against all of its gradients."""
    x, weight = case.arrays["x"], case.arrays["weight"]
    g = case.cotangent(case.expected[0])
    ours = ops.transposed.conv_transpose2d_grad_input(g, weight, x.shape[2:], **case.arguments)
    expected, _, _ = ops.conv_transpose2d_backward(g, x, weight, **case.arguments)
    size, _, _ = ops.conv_transpose2d_backward(np.abs(g), x, np.abs(weight), **case.arguments)
    return [(ours, expected, size)]


def _loss_and_gradient(case: Case) -> list[Compared]:
    given: dict[str, Any] = {**case.arrays, **case.arguments}
    loss, grad = ops.classification.cross_entropy2d_and_gradient(**given)
    expected = ops.cross_entropy2d_backward(**given)
    return [(np.asarray(loss), case.expected[0], case.magnitudes[0]), (grad, expected, np.abs(expected).max())]


FORMS = {
    "conv2d": _convolution_and_relu,
    "conv_transpose2d": _input_gradient_alone,
    "cross_entropy2d": _loss_and_gradient,
    "relu": _relu_and_bias_gradient,
}
