"""The networks that `benchmarks.models` and `benchmarks.scaling` time, as npseg and as PyTorch run them, in workers."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measuring
from benchmarks.machine import peak_memory, resident
from benchmarks.npseg_side import DIRECT, Npseg, using
from benchmarks.sides import Run, save_all
from npseg.checks import Array
from npseg.models import fcn, vgg
from npseg.models.vgg import VGG16_DEPTHS, VGG16_WIDTHS
from npseg.nn import Graph, cross_entropy
from npseg.training.optimisers import Adam

RATE = 1e-3

TRAINING, INFERENCE = "training step", "inference"
WORK = TRAINING, INFERENCE

OUTPUTS, GRADIENTS = "logits and loss", "gradients"


@dataclass(frozen=True)
class Network:
    """An FCN-8s of a VGG with VGG16's depths, and the batch that it is given."""

    name: str
    widths: tuple[int, ...]
    fc6: int
    classes: int
    size: int
    batch: int

    def describe(self) -> str:
        """In words."""
        widths = "/".join(map(str, self.widths))
        return (
            f"{self.name}: FCN-8s, widths {widths}, fc6 {self.fc6}, {self.classes} classes, "
            f"{self.size}x{self.size}, batch {self.batch}"
        )

    def graph(self) -> Graph:
        """npseg's form. What starts at zero, so that nothing would flow back through it, gets small random numbers."""
        graph = fcn(vgg(self.widths, VGG16_DEPTHS, self.fc6), self.classes, 8)
        rng = np.random.default_rng(1)
        for value in graph.parameters.values():
            if not value.any():
                value += rng.standard_normal(value.shape, dtype=np.float32) * np.float32(0.02)
        return graph

    def data(self) -> tuple[Array, Array]:
        """Images and labels."""
        rng = np.random.default_rng(0)
        images = rng.standard_normal((self.batch, 3, self.size, self.size), dtype=np.float32)
        return images, rng.integers(0, self.classes, (self.batch, self.size, self.size))


SMALL = Network("small", (16, 32, 64, 128, 128), 256, 11, 128, 4)
VGG16 = Network("vgg16", VGG16_WIDTHS, 4096, 21, 224, 1)
NETWORKS = {network.name: network for network in (SMALL, VGG16)}
QUICK = Network("tiny", (2, 3, 4, 4, 4), 8, 3, 32, 1)


class NetworkSide(ABC):
    """One library with one network: it is checked, then its memory is measured, then it is timed."""

    def __init__(self, network: Network) -> None:
        self._make(QUICK)  # what a library loads with its first step shall not count as the network's memory
        with self.using(DIRECT):
            self.run_of(TRAINING)()
        self.libraries = resident()
        """Bytes of the process when it has its libraries, and no network worth mentioning."""
        self._make(network)

    @abstractmethod
    def versions(self) -> dict[str, Any]:
        """What this is made of."""

    @abstractmethod
    def _make(self, network: Network) -> None:
        """Make the network, its optimiser and its data."""

    @abstractmethod
    def results(self) -> Sequence[Any]:
        """The logits, the loss, and every gradient by the parameters' sorted names, without dropout."""

    @abstractmethod
    def run_of(self, work: str) -> Run:
        """What makes one training step, or one inference."""

    @contextmanager
    def using(self, form: str) -> Iterator[None]:
        """The settings of a form."""
        yield

    def deviations(self, form: str, references: Sequence[Path]) -> dict[str, float]:
        """How far the outputs and the gradients are from their references, each as `measuring.deviation`."""
        with self.using(form):
            results, exact = self.results(), [np.load(path, mmap_mode="r") for path in references]
        return {
            OUTPUTS: measuring.deviation(results[:2], exact[:2]),
            GRADIENTS: measuring.deviation(results[2:], exact[2:]),
        }

    def memory(self, form: str) -> tuple[int, int]:
        """Bytes at the peak of a training step: of the process, and what this is more than its libraries need."""
        step = self.run_of(TRAINING)
        peaks: list[int] = []
        with self.using(form):
            step()  # the first one makes the optimiser's memory
            with peak_memory(peaks):
                step()
                step()
        return peaks[0], peaks[0] - self.libraries

    def turn(self, form: str, work: str, seconds: float) -> list[float]:
        """Seconds of each repetition."""
        with self.using(form):
            return measuring.repeat(self.run_of(work), seconds)


class NpsegNetwork(NetworkSide):
    """npseg on one engine, in memory that is used again, as `npseg train` works."""

    def __init__(self, network: Network, engine: str) -> None:
        self._engine = engine
        super().__init__(network)

    def versions(self) -> dict[str, Any]:
        return Npseg(self._engine).versions()

    def _make(self, network: Network) -> None:
        self._model, self._optimiser = network.graph(), Adam()
        self._images, self._labels = network.data()

    @contextmanager
    def using(self, form: str) -> Iterator[None]:
        with using(self._engine, form):
            yield

    def results(self) -> Sequence[Any]:
        logits, saved = self._model.forward(self._images)
        loss, grad = cross_entropy(logits, self._labels)
        gradients = self._model.backward(grad, saved)
        return [logits, loss, *(gradients[name] for name in sorted(gradients))]

    def run_of(self, work: str) -> Run:
        return self._training_step if work == TRAINING else lambda: self._model(self._images)

    def _training_step(self) -> None:
        logits, saved = self._model.forward(self._images, training=True, rng=np.random.default_rng(0))
        _, grad = cross_entropy(logits, self._labels)
        self._optimiser.update(self._model.parameters, self._model.backward(grad, saved), RATE)


class PyTorchNetwork(NetworkSide):
    """PyTorch in one memory layout, with its fused Adam."""

    def __init__(self, network: Network, layout: str, threads: int) -> None:
        from benchmarks import pytorch_side

        self._pytorch = pytorch_side.PyTorch(threads)
        self._format = pytorch_side.FORMATS[layout]
        super().__init__(network)

    def versions(self) -> dict[str, Any]:
        return self._pytorch.versions()

    def _make(self, network: Network) -> None:
        import torch

        images, labels = network.data()
        self._images, self._labels = self._laid_out(torch.from_numpy(images)), torch.from_numpy(labels)
        self._parameters = {
            name: self._laid_out(torch.from_numpy(value)).requires_grad_()
            for name, value in network.graph().parameters.items()
        }
        self._optimiser = torch.optim.Adam(self._parameters.values(), RATE, fused=True)

    def _laid_out(self, tensor: Any) -> Any:
        return tensor.contiguous(memory_format=self._format) if tensor.ndim == 4 else tensor

    def results(self) -> Sequence[Any]:
        return _pytorch_results(self._parameters, self._images, self._labels)

    def reference(self, folder: Path) -> list[Path]:
        """The results in float64, which every contender is checked against: their files."""
        exact = {name: tensor.detach().double().requires_grad_() for name, tensor in self._parameters.items()}
        return save_all(_pytorch_results(exact, self._images.double(), self._labels), folder)

    def run_of(self, work: str) -> Run:
        return self._training_step if work == TRAINING else self._inference

    def _training_step(self) -> None:
        self._optimiser.zero_grad()
        _pytorch_loss(_pytorch_logits(self._parameters, self._images, dropout=0.5), self._labels).backward()
        self._optimiser.step()

    def _inference(self) -> None:
        import torch

        with torch.inference_mode():
            _pytorch_logits(self._parameters, self._images)


def _pytorch_logits(parameters: Mapping[str, Any], images: Any, dropout: float = 0.0) -> Any:
    from benchmarks import pytorch_fcn

    return pytorch_fcn.logits(parameters, images, VGG16_DEPTHS, 8, dropout=dropout)


def _pytorch_loss(logits: Any, labels: Any) -> Any:
    from torch.nn import functional

    return functional.cross_entropy(logits, labels)


def _pytorch_results(parameters: Mapping[str, Any], images: Any, labels: Any) -> list[Array]:
    import torch

    logits = _pytorch_logits(parameters, images)
    loss = _pytorch_loss(logits, labels)
    gradients = torch.autograd.grad(loss, [parameters[name] for name in sorted(parameters)])
    return [tensor.detach().numpy() for tensor in (logits, loss, *gradients)]
