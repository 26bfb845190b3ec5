"""PyTorch's form of each operation that `benchmarks.ops` measures, as directly as PyTorch can be called.

Operators of `torch.ops.aten` are what autograd itself calls, one for each pass, so nothing of autograd is timed. Each
is run in PyTorch's usual memory layout and in `channels_last`, and once more where the operator can write into the
arrays of the call before (`out=`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import BACKWARD, FORWARD, FORWARD_AND_BACKWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, Case
from benchmarks.sides import LAYOUTS, Run, Side, arrays_of, save_all

aten = torch.ops.aten

FORMATS = dict(zip(LAYOUTS, (torch.contiguous_format, torch.channels_last), strict=True))
REUSED = " reused"
"""Ends the name of a form that writes into the arrays of the call before."""

Tensors = Mapping[str, torch.Tensor]
Options = Mapping[str, Any]


class Call:
    """An operator and its arguments; `out` names the overload that writes into given tensors, if it has a true one."""

    def __init__(self, operator: Any, *arguments: Any, out: str | None = None) -> None:
        self.operator, self.arguments, self.out = operator, arguments, out

    def __call__(self) -> Any:
        return self.operator(*self.arguments)

    def reusing(self) -> Run | None:
        """The same, into the tensors of a first call."""
        if self.out is None:
            return None
        overload = getattr(self.operator, self.out)
        names = [argument.name for argument in overload._schema.arguments if argument.is_out]
        outputs = self()
        targets = dict(zip(names, outputs if isinstance(outputs, tuple) else (outputs,), strict=True))
        return lambda: overload(*self.arguments, **targets)


class PyTorch(Side):
    """PyTorch with so many threads."""

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def versions(self) -> dict[str, Any]:
        """What this is made of."""
        return {"torch": torch.__version__, "threads": torch.get_num_threads()} | {
            "instructions": torch.backends.cpu.get_cpu_capability()
        }

    @torch.inference_mode()
    def prepare(self, case: Case) -> Sequence[str]:
        tensors = {name: torch.from_numpy(array) for name, array in case.arrays().items()}
        exact = {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
        kind, options = KINDS[case.kind], dict(case.options)
        self._exact = kind(exact, options)
        self._runs: dict[tuple[str, str], Run | None] = {}
        for layout in LAYOUTS:
            calls = kind(_laid_out(tensors, layout), options)
            for pass_name, call in calls.items():
                self._runs[layout, pass_name] = call
                self._runs[layout + REUSED, pass_name] = call.reusing() if isinstance(call, Call) else None
        return [layout + reused for layout in LAYOUTS for reused in ("", REUSED)]

    def run_of(self, form: str, pass_name: str) -> Run | None:
        return self._runs[form, pass_name]

    @contextmanager
    def using(self, form: str) -> Iterator[None]:
        with torch.inference_mode():
            yield

    @torch.inference_mode()
    def reference(self, pass_name: str, folder: Path) -> list[Path]:
        """The pass in float64, which is what every contender is checked against: files of its results."""
        return save_all(arrays_of(self._exact[pass_name]()), folder)


def _laid_out(tensors: Tensors, layout: str) -> Tensors:
    form = FORMATS[layout]
    return {
        name: tensor.contiguous(memory_format=form) if tensor.ndim == 4 else tensor for name, tensor in tensors.items()
    }


def convolution(t: Tensors, options: Options) -> Mapping[str, Run]:
    window = tuple([options[name]] * 2 for name in ("stride", "padding", "dilation"))
    return _convolution(t, window, transposed=False, groups=options["groups"])


def transposed(t: Tensors, options: Options) -> Mapping[str, Run]:
    window = [options["stride"]] * 2, [options["padding"]] * 2, [1, 1]
    return _convolution(t, window, transposed=True, groups=1)


def _convolution(t: Tensors, window: tuple[list[int], ...], *, transposed: bool, groups: int) -> Mapping[str, Run]:
    rest = *window, transposed, [0, 0], groups

    def gradient(*wanted: bool) -> Run:
        position = wanted.index(True)
        call = Call(aten.convolution_backward.default, t["grad"], t["x"], t["weight"], None, *rest, wanted)
        return lambda: call()[position]

    return {
        FORWARD: Call(aten.convolution.default, t["x"], t["weight"], t.get("bias"), *rest),
        INPUT_GRADIENT: gradient(True, False, False),
        WEIGHT_GRADIENT: gradient(False, True, False),
    }


def max_pool(t: Tensors, options: Options) -> Mapping[str, Run]:
    kernel, stride, padding = ([options[name]] * 2 for name in ("kernel_size", "stride", "padding"))
    window = kernel, stride, padding, [1, 1], False
    forward = Call(aten.max_pool2d_with_indices, t["x"], *window, out="out")
    _, indices = forward()
    backward = aten.max_pool2d_with_indices_backward
    return {FORWARD: forward, BACKWARD: Call(backward, t["grad"], t["x"], *window, indices, out="grad_input")}


def average_pool(t: Tensors, options: Options) -> Mapping[str, Run]:
    kernel, stride, padding = ([options[name]] * 2 for name in ("kernel_size", "stride", "padding"))
    window = kernel, stride, padding, False, True
    return {
        FORWARD: Call(aten.avg_pool2d, t["x"], *window, out="out"),
        BACKWARD: Call(aten.avg_pool2d_backward, t["grad"], t["x"], *window, None, out="grad_input"),
    }


def max_unpooling(t: Tensors, options: Options) -> Mapping[str, Run]:
    """Backward as autograd does it: the gradient is gathered."""
    places, shape = t["indices"].flatten(2), t["x"].shape
    return {
        FORWARD: Call(aten.max_unpool2d, t["x"], t["indices"], t["grad"].shape[2:], out="out"),
        BACKWARD: lambda: t["grad"].flatten(2).gather(2, places).view(shape),
    }


def nearest_unpooling(t: Tensors, options: Options) -> Mapping[str, Run]:
    size = t["grad"].shape[2:]
    backward = aten.upsample_nearest2d_backward
    return {
        FORWARD: Call(aten.upsample_nearest2d, t["x"], size, out="out"),
        BACKWARD: Call(backward, t["grad"], size, t["x"].shape, out="grad_input"),
    }


def bed_of_nails(t: Tensors, options: Options) -> Mapping[str, Run]:
    """PyTorch has no operator for it: zeros, and a copy with strides."""
    step = options["scale"]

    def forward() -> torch.Tensor:
        y = torch.zeros_like(t["grad"])
        y[:, :, ::step, ::step] = t["x"]
        return y

    return {FORWARD: forward, BACKWARD: lambda: t["grad"][:, :, ::step, ::step].clone()}


def bilinear(t: Tensors, options: Options) -> Mapping[str, Run]:
    size = t["grad"].shape[2:]
    backward = aten.upsample_bilinear2d_backward
    return {
        FORWARD: Call(aten.upsample_bilinear2d, t["x"], size, False, out="out"),
        BACKWARD: Call(backward, t["grad"], size, t["x"].shape, False, out="grad_input"),
    }


def batch_norm(t: Tensors, options: Options) -> Mapping[str, Run]:
    mean, var = torch.zeros_like(t["gamma"]), torch.ones_like(t["gamma"])
    forward = Call(aten.native_batch_norm, t["x"], t["gamma"], t["beta"], mean, var, True, 0.1, 1e-5, out="out")
    _, batch_mean, inverse_std = forward()
    statistics = t["gamma"], mean, var, batch_mean, inverse_std
    backward = aten.native_batch_norm_backward
    return {
        FORWARD: forward,
        BACKWARD: Call(backward, t["grad"], t["x"], *statistics, True, 1e-5, [True] * 3),
    }


def cross_entropy(t: Tensors, options: Options) -> Mapping[str, Run]:
    """What autograd calls, forward and backward: both halves of the loss, log-softmax and the labels' mean."""
    labels = t["labels"]
    rest = None, 1, 255  # no class weights, mean, the label that is ignored
    one = torch.ones((), dtype=t["x"].dtype)

    def loss() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        logarithms = aten._log_softmax(t["x"], 1, False)
        value, weight = aten.nll_loss2d_forward(logarithms, labels, *rest)
        return value, logarithms, weight

    def loss_and_gradient() -> tuple[torch.Tensor, torch.Tensor]:
        value, logarithms, weight = loss()
        grad = aten.nll_loss2d_backward(one, logarithms, labels, *rest, weight)
        return value, aten._log_softmax_backward_data(grad, logarithms, 1, logarithms.dtype)

    return {FORWARD: lambda: loss()[0], FORWARD_AND_BACKWARD: loss_and_gradient}


KINDS: Mapping[str, Callable[[Tensors, Options], Mapping[str, Run]]] = {
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
