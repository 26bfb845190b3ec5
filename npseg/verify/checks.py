"""What every operation owes on every engine: one function for each kind of check.

A check takes a case and an engine's name, and returns what it found, or None where it has no meaning: not every
operation is linear, has a matrix or a backward pass. Errors are counted in roundings (see
`npseg.verify.comparisons.roundings`), unless a check's own text says otherwise.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from npseg import get_column_limit, matrices, set_column_limit, use_engine
from npseg.checks import Array
from npseg.verify import references
from npseg.verify.calls import OPERATIONS, arrays_in, backward, call, forward, has_backward, output
from npseg.verify.cases import EXACT, LINEAR, SELECTING, Case
from npseg.verify.comparisons import (
    Comparison,
    all_roundings,
    largest_difference,
    proves_nothing,
    relative,
    roundings,
)
from npseg.verify.joined import joined_forms

ROUNDINGS = 64.0
"""What sums of some hundred products, added up in any order, may be off by; a wrong term is off by billions."""

STEP = 1e-5
"""Of central differences: their own error is about STEP^2 by curvature and epsilon / STEP by rounding."""

DIFFERENCE = 1e-7
"""How far a derivative may be from central differences, as a part of what was added up for it."""

WINOGRAD = {"f2": 2e-6, "f4": 5e-5}
"""By how much of the largest result Winograd's algorithms may be off in float32."""

IN_COLUMNS = frozenset(
    {"conv2d", "conv2d_grad_input", "conv2d_grad_weight", "conv_transpose2d", "depthwise_conv2d", "separable_conv2d"}
)
"""What im2col computes in columns."""

SMALL_BLOCK = 4096
"""Bytes of im2col's columns: a row or two of most cases' outputs."""


def definition(case: Case, engine: str) -> Comparison | None:
    """The result, and the forms that networks use, against the definition in loops, in float64; dtypes are kept."""
    if case.large:
        return None
    joined = joined_forms(case, engine)
    results = [*case.results(engine), *(ours for ours, _, _ in joined)]
    expected = [*case.expected, *(theirs for _, theirs, _ in joined)]
    sizes = [*case.magnitudes, *(np.asarray(size) for _, _, size in joined)]
    wrong = [str(array.dtype) for array in results if array.dtype.kind == "f" and array.dtype != case.dtype]
    if wrong:
        return Comparison(math.inf, trouble=f"{wrong[0]} instead of {case.dtype}")
    return all_roundings(results, expected, sizes, epsilon(case))


def adjoint(case: Case, engine: str) -> Comparison | None:
    """<A x, g> = <x, A^T g> for each array x that the operation is linear in, and a random g."""
    if case.operation not in LINEAR | {"max_pool2d", "relu"}:
        return None
    case = case.with_arrays({n: np.zeros_like(a) if n == "bias" else a for n, a in case.arrays.items()})
    result = forward(case, case.arrays, engine)
    y, g = output(result), case.cotangent(output(result))
    back = _adjoints(case, result, g, engine)
    sizes = np.abs(y) if case.operation in SELECTING else output(forward(case, case.absolute().arrays, engine))
    scale = epsilon(case) * _pairing(sizes, np.abs(g))
    found = None
    for name in (name for name in back if name != "bias"):
        if back[name].shape != case.arrays[name].shape:
            return Comparison(math.inf, trouble=f"gradient of {name}: shape {back[name].shape}")
        difference = abs(_pairing(y, g) - _pairing(case.arrays[name], back[name]))
        found = Comparison(relative(difference, scale), proves_nothing(y)).joined(found)
    return found


def _pairing(a: Array, b: Array) -> float:
    """The scalar product, in float64."""
    return float(np.sum(a.astype(np.float64) * b))


def _adjoints(case: Case, result: Any, g: Array, engine: str) -> dict[str, Array]:
    """The adjoint in each array that there is one for."""
    if has_backward(case.operation):
        return backward(case, case.arrays, result, g, engine)
    arrays, arguments = case.arrays, dict(case.arguments)
    if case.operation == "im2col":
        return {"x": call("col2im", engine, columns=g, input_size=arrays["x"].shape[2:], **arguments)}
    if case.operation == "col2im":
        del arguments["input_size"]
        return {"columns": call("im2col", engine, x=g, **arguments)}
    if case.operation == "conv2d_grad_input":
        del arguments["input_size"]
        return {"grad": call("conv2d", engine, x=g, weight=arrays["weight"], **arguments)}
    if case.operation == "conv2d_grad_weight":
        del arguments["kernel_size"]
        return {"grad": call("conv2d", engine, x=arrays["x"], weight=g, **arguments)}
    return {}


def gradient(case: Case, engine: str) -> Comparison | None:
    """The backward pass, paired with random directions, against central differences in float64.

    The cotangent is random too. The error is a part of the sum of what both numbers are added up from.
    """
    if case.large or not has_backward(case.operation):
        return None
    case = case.in_float64()
    result = forward(case, case.arrays, engine)
    y = np.asarray(output(result))
    takes_cotangent = "grad" in inspect.signature(OPERATIONS[f"{case.operation}_backward"]).parameters
    cotangent = case.cotangent(y) if takes_cotangent else np.ones_like(y)
    gradients = backward(case, case.arrays, result, cotangent, engine)
    if list(gradients) != list(case.arrays):
        return Comparison(math.inf, trouble=f"gradients of {list(gradients)} instead of {list(case.arrays)}")
    found = None
    for name, array in case.arrays.items():
        if gradients[name].shape != array.shape:
            return Comparison(math.inf, trouble=f"gradient of {name}: shape {gradients[name].shape}")
        direction = case.random(array, f"direction {name}")
        ahead, behind = (
            np.asarray(output(forward(case, {**case.arrays, name: array + sign * STEP * direction}, engine)))
            for sign in (1, -1)
        )
        measured = float(np.sum((ahead - behind) * cotangent)) / (2 * STEP)
        computed = float(np.sum(gradients[name] * direction))
        scale = float(np.sum(np.abs(gradients[name] * direction)) + np.sum(np.abs(y * cotangent)))
        trouble = "" if math.isfinite(measured + computed) else "not a number"
        error = math.inf if trouble else relative(abs(measured - computed), scale)
        found = Comparison(error, computed == 0 and measured == 0, trouble).joined(found)
    return found


def matrix(case: Case, engine: str) -> Comparison | None:
    """The operation and its backward pass against its matrix from `npseg.matrices`, and the transpose."""
    make = getattr(matrices, f"{case.operation}_matrix", None)
    if make is None or case.large:
        return None
    case = case.with_arrays({n: np.zeros_like(a) if n == "bias" else a for n, a in case.arrays.items()})
    x = case.arrays["x"]
    result = forward(case, case.arrays, engine)
    g = case.cotangent(output(result))
    grad_x = backward(case, case.arrays, result, g, engine)["x"]
    written = _matrix_of(case, make, result)
    y = output(result)
    sizes = type(written)(np.abs(written.data), written.indices, written.indptr, written.shape)
    if written.shape != (y[0].size, x[0].size):
        return Comparison(math.inf, trouble=f"matrix of shape {written.shape}")
    return all_roundings(
        [y[0].ravel(), grad_x[0].ravel()],
        [written @ x[0].ravel(), written.T @ g[0].ravel()],
        [sizes @ np.abs(x[0].ravel()), sizes.T @ np.abs(g[0].ravel())],
        epsilon(case),
    )


def _matrix_of(case: Case, make: Callable[..., Any], result: Any) -> Any:
    """The matrix for the first image."""
    x, arguments = case.arrays["x"], case.arguments
    if case.operation == "max_pool2d":
        return make(result[1][0], x.shape[2:], dtype=case.dtype)
    if "weight" in case.arrays:
        return make(case.arrays["weight"], x.shape[2:], **arguments)
    return make(x.shape[1], x.shape[2:], **arguments, dtype=case.dtype)


def cross_engine(case: Case, engine: str) -> Comparison | None:
    """Forward and backward against the baseline engine, and back from the baseline's forward pass.

    The engine "im2col" makes its columns block by block here, as for large images, also where one block would do.
    """
    baseline = case.baseline
    if engine == baseline and not (engine == "im2col" and case.operation in IN_COLUMNS):
        return None
    expected = case.results(baseline)
    with _in_small_blocks():
        results = case.results(engine)
    found = all_roundings(results, expected, _magnitudes(case, expected), epsilon(case))
    if has_backward(case.operation):
        result = forward(case, case.arrays, baseline)
        g = case.cotangent(output(result))
        theirs = backward(case, case.arrays, result, g, baseline)
        with _in_small_blocks():
            ours = backward(case, case.arrays, result, g, engine)
        sizes = _gradient_magnitudes(case, theirs, result)
        found = found.joined(all_roundings([*ours.values()], [*theirs.values()], sizes, epsilon(case)))
    return found.joined(_winograd(case, expected) if engine == "numba" else None)


@contextmanager
def _in_small_blocks() -> Iterator[None]:
    """Let im2col's columns take so little memory that it needs several blocks."""
    limit = get_column_limit()
    set_column_limit(SMALL_BLOCK)
    try:
        yield
    finally:
        set_column_limit(limit)


def _magnitudes(case: Case, expected: Sequence[Array]) -> list[Array]:
    """How large the numbers are that the results are made of, without the definition's help."""
    return case.absolute().results(case.baseline) if case.operation in LINEAR else case.overall(expected)


def _gradient_magnitudes(case: Case, gradients: Mapping[str, Array], result: Any) -> list[Array]:
    """The same of the gradients for the case's cotangent, whose backward pass starts from `result`."""
    if case.operation in LINEAR | SELECTING:
        g = np.abs(case.cotangent(output(result)))
        return [*backward(case, case.absolute().arrays, result, g, case.baseline).values()]
    return case.overall([*gradients.values()])


def _winograd(case: Case, expected: list[Array]) -> Comparison | None:
    """The compiled engine's Winograd algorithms, forward and back: what they are off by, at ROUNDINGS where allowed."""
    if case.operation != "conv2d" or case.arrays["weight"].shape[2:] != (3, 3) or case.dtype != np.float32:
        return None
    g = case.cotangent(expected[0])
    others = backward(case, case.arrays, expected[0], g, case.baseline)
    found = None
    for algorithm, allowed in WINOGRAD.items():
        with use_engine("numba", winograd=algorithm):
            ours = [forward(case, case.arrays), *backward(case, case.arrays, expected[0], g).values()]
        for one, other in zip(ours, [expected[0], *others.values()], strict=False):
            size = np.asarray(allowed / ROUNDINGS * np.abs(other).max())
            found = roundings(one, other.astype(np.float64), size, 1.0).joined(found)
    return found


def bit_equality(case: Case, engine: str) -> Comparison | None:
    """On small whole numbers every bit agrees: with the definition, with the baseline engine, and <Ax, g> = <x, A^T g>.

    The error is the largest difference; none is allowed.
    """
    if case.operation not in EXACT:
        return None
    if case.large and engine == case.baseline:
        return None
    result = forward(case, case.arrays, engine)
    expected = case.results(case.baseline) if case.large else case.expected
    found = largest_difference(arrays_in(result), expected)
    if not has_backward(case.operation) or math.isinf(found.worst):
        return found
    g = np.round(2 * case.cotangent(output(result)))
    ours = backward(case, case.arrays, result, g, engine)
    theirs = backward(case, case.arrays, forward(case, case.arrays, case.baseline), g, case.baseline)
    found = found.joined(largest_difference([*ours.values()], [*theirs.values()]))
    parts = dict.fromkeys(ours, output(result).astype(np.float64))
    if "bias" in case.arrays:  # what the bias adds is a part by itself
        added = np.broadcast_to(case.arrays["bias"].reshape(-1, *[1] * (g.ndim - 2)), g.shape)
        parts = dict.fromkeys(ours, parts["bias"] - added) | {"bias": added}
    pairings = [abs(_pairing(parts[name], g) - _pairing(case.arrays[name], ours[name])) for name in ours]
    return found.joined(Comparison(max(pairings)))


def reference(case: Case, engine: str) -> Comparison | None:
    """The result, and the gradients where it has them, against SciPy, PyTorch and ONNX, whichever are installed."""
    found = None
    for theirs in references.results(case):
        result = forward(case, case.arrays, engine)
        ours = arrays_in(result)[: len(theirs.outputs)]
        sizes = _largest(_magnitudes(case, ours)[: len(ours)])
        compared = all_roundings(ours, theirs.outputs, sizes, epsilon(case))
        if theirs.gradients and math.isfinite(compared.worst):
            gradients = backward(case, case.arrays, result, case.cotangent(output(result)), engine)
            sizes = _largest(_gradient_magnitudes(case, gradients, result))
            given = [gradients[name] for name in theirs.gradients]
            compared = compared.joined(all_roundings(given, [*theirs.gradients.values()], sizes, epsilon(case)))
        if compared.worst > ROUNDINGS:
            compared = Comparison(compared.worst, compared.vacuous, compared.trouble or f"differs from {theirs.name}")
        found = compared.joined(found)
    return found


def _largest(sizes: Sequence[Array]) -> list[Array]:
    """One size for each array as a whole: others may place their samples a rounding beside ours."""
    return [np.asarray(np.max(size)) for size in sizes]


def epsilon(case: Case) -> float:
    """Of the case's dtype."""
    return float(np.finfo(case.dtype).eps)


@dataclass(frozen=True)
class Check:
    """A kind of check: what finds the error, the error that it allows, and whether its cases are of whole numbers."""

    find: Callable[[Case, str], Comparison | None]
    bound: float
    exact: bool = False


CHECKS = {
    "definition": Check(definition, ROUNDINGS),
    "adjoint": Check(adjoint, ROUNDINGS),
    "gradient": Check(gradient, DIFFERENCE),
    "matrix": Check(matrix, ROUNDINGS),
    "cross-engine": Check(cross_engine, ROUNDINGS),
    "bit-equality": Check(bit_equality, 0.0, exact=True),
    "reference": Check(reference, ROUNDINGS),
}
