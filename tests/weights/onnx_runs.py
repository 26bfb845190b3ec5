"""What a file computes in ONNX Runtime, and what the checker says of it."""

from pathlib import Path

import numpy as np
import onnx

from npseg.checks import Array
from npseg.nn import Graph
from npseg.weights import export_onnx

TOLERANCE = 1e-4


def run(path: Path, x: Array) -> Array:
    """The output for a batch of images."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what it cannot do, it says by raising
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"image": x})
    return y


def assert_same_logits(model: Graph, path: Path, sizes: list[tuple[int, int]], **arguments) -> None:
    """Export, check, and compare on images of these sizes, in batches of one and of two."""
    export_onnx(model, path, **arguments)
    onnx.checker.check_model(path, full_check=True)
    for number, size in enumerate(sizes):
        x = image(model, size, batch=1 + number % 2)
        expected, found = model(x), run(path, x)
        assert found.shape == expected.shape
        scale = max(np.abs(expected).max(), 1e-30)
        assert np.abs(found / scale - expected / scale).max() < TOLERANCE, size
        assert scale > 1e-6, "nothing was compared"


def image(model: Graph, size: tuple[int, int], batch: int = 1) -> Array:
    rng = np.random.default_rng(size)
    return rng.standard_normal((batch, model.input_channels, *size)).astype(model.dtype)


def shaken(model: Graph) -> Graph:
    """The same network, every parameter and running statistic moved: zeros would hide mistakes."""
    rng = np.random.default_rng(0)
    for name, value in (model.parameters | model.buffers).items():
        spread = 0.3 * value.std() + (0.02 if value.ndim > 1 else 0.1)
        shift = rng.standard_normal(value.shape) * spread
        value += np.abs(shift) if name.endswith("running_var") else shift
    return model
