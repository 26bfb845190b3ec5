"""npseg's form of each operation that `benchmarks.ops` measures; an engine in its worker."""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

import npseg
from benchmarks.cases import BACKWARD, FORWARD, FORWARD_AND_BACKWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, Case
from benchmarks.sides import Passes, Run, Side
from npseg import buffers, ops
from npseg.checks import Array
from npseg.nn import cross_entropy as loss_and_gradient

Arrays = Mapping[str, Array]
Options = Mapping[str, Any]

WINOGRAD, DIRECT = "f4", "off"
"""The two forms of the compiled engine: what networks use, and what single operations use unless told otherwise."""


class Npseg(Side):
    """One engine, its memory used again from repetition to repetition as in training.

    Args:
        engine: one of `npseg.engines()`.
    """

    def __init__(self, engine: str) -> None:
        self.engine = engine

    def versions(self) -> dict[str, Any]:
        """What this is made of."""
        with npseg.use_engine(self.engine):
            return {"python": platform.python_version()} | npseg.engine_info()

    def roof(self) -> tuple[float, float]:
        """Operations and bytes a second that the machine can do at best, with this worker's threads."""
        from benchmarks import roof

        return roof.peak_operations(), roof.peak_traffic()

    def prepare(self, case: Case) -> Sequence[str]:
        with self.using(DIRECT):
            self._passes = KINDS[case.kind](case.arrays(), dict(case.options))
        return forms_of(self.engine, case)

    def run_of(self, form: str, pass_name: str) -> Run | None:
        return self._passes[pass_name]

    @contextmanager
    def using(self, form: str) -> Iterator[None]:
        with using(self.engine, form):
            yield


def forms_of(engine: str, case: Case) -> Sequence[str]:
    """In which forms an engine computes a case, the one for networks first."""
    return (WINOGRAD, DIRECT) if engine == "numba" and case.for_winograd else (DIRECT,)


@contextmanager
def using(engine: str, form: str) -> Iterator[None]:
    """Use an engine, the compiled one in this form, in memory that is used again as in training."""
    with npseg.use_engine(engine, **({"winograd": form} if engine == "numba" else {})), buffers.reused():
        yield


def convolution(a: Arrays, options: Options) -> Passes:
    window = dict(options)
    kernel = (window.pop("kernel_size"),) * 2
    return {
        FORWARD: lambda: ops.conv2d(a["x"], a["weight"], a["bias"], **window),
        INPUT_GRADIENT: lambda: ops.conv2d_grad_input(a["grad"], a["weight"], a["x"].shape[2:], **window),
        WEIGHT_GRADIENT: lambda: ops.conv2d_grad_weight(a["grad"], a["x"], kernel, **window),
    }


def transposed(a: Arrays, options: Options) -> Passes:
    """The adjoint of a convolution: its gradients are that convolution and its weight gradient."""
    window = dict(options)
    kernel = (window.pop("kernel_size"),) * 2
    return {
        FORWARD: lambda: ops.conv_transpose2d(a["x"], a["weight"], **window),
        INPUT_GRADIENT: lambda: ops.conv2d(a["grad"], a["weight"], **window),
        WEIGHT_GRADIENT: lambda: ops.conv2d_grad_weight(a["x"], a["grad"], kernel, **window),
    }


def max_pool(a: Arrays, options: Options) -> Passes:
    _, indices = ops.max_pool2d(a["x"], **options)
    return {
        FORWARD: lambda: ops.max_pool2d(a["x"], **options),
        BACKWARD: lambda: ops.max_pool2d_backward(a["grad"], indices, a["x"].shape[2:]),
    }


def average_pool(a: Arrays, options: Options) -> Passes:
    return {
        FORWARD: lambda: ops.avg_pool2d(a["x"], **options),
        BACKWARD: lambda: ops.avg_pool2d_backward(a["grad"], a["x"].shape[2:], **options),
    }


def max_unpooling(a: Arrays, options: Options) -> Passes:
    return {
        FORWARD: lambda: ops.max_unpool2d(a["x"], a["indices"], a["grad"].shape[2:]),
        BACKWARD: lambda: ops.max_unpool2d_backward(a["grad"], a["indices"]),
    }


def nearest_unpooling(a: Arrays, options: Options) -> Passes:
    return {
        FORWARD: lambda: ops.nearest_unpool2d(a["x"], **options),
        BACKWARD: lambda: ops.nearest_unpool2d_backward(a["grad"], **options),
    }


def bed_of_nails(a: Arrays, options: Options) -> Passes:
    return {
        FORWARD: lambda: ops.bed_of_nails_unpool2d(a["x"], **options),
        BACKWARD: lambda: ops.bed_of_nails_unpool2d_backward(a["grad"], **options),
    }


def bilinear(a: Arrays, options: Options) -> Passes:
    return {
        FORWARD: lambda: ops.resize_bilinear(a["x"], a["grad"].shape[2:]),
        BACKWARD: lambda: ops.resize_bilinear_backward(a["grad"], a["x"].shape[2:]),
    }


def batch_norm(a: Arrays, options: Options) -> Passes:
    mean, var = np.zeros_like(a["gamma"]), np.ones_like(a["gamma"])

    def forward() -> tuple[Array, ops.BatchNormSaved]:
        return ops.batch_norm2d(a["x"], a["gamma"], a["beta"], mean, var, training=True)

    def forward_as_arrays() -> tuple[Array, Array, Array]:
        y, saved = forward()
        return y, saved.mean, saved.inverse_std

    _, saved = forward()
    return {
        FORWARD: forward_as_arrays,
        BACKWARD: lambda: ops.batch_norm2d_backward(a["grad"], a["x"], a["gamma"], saved),
    }


def cross_entropy(a: Arrays, options: Options) -> Passes:
    return {
        FORWARD: lambda: ops.cross_entropy2d(a["x"], a["labels"]),
        FORWARD_AND_BACKWARD: lambda: loss_and_gradient(a["x"], a["labels"]),
    }


KINDS: Mapping[str, Callable[[Arrays, Options], Passes]] = {
    "convolution": convolution,
    "transposed": transposed,
    "max pool": max_pool,
    "average pool": average_pool,
    "max unpooling": max_unpooling,
    "nearest unpooling": nearest_unpooling,
    "bed of nails": bed_of_nails,
    "bilinear": bilinear,
    "batch norm": batch_norm,
    "cross-entropy": cross_entropy,
}
