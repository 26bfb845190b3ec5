"""`npseg convert` and `npseg export`: weights from elsewhere, and networks for elsewhere."""

import argparse
import json
from typing import TYPE_CHECKING

from npseg.cli.shared import UsageError

if TYPE_CHECKING:
    from npseg.training.task import Task


def convert(options: argparse.Namespace) -> int:
    """Turn a classifier's file into an FCN's initial weights."""
    from npseg import weights

    if options.source.resolve() == options.target.resolve():
        raise UsageError(f"{options.target} is the file to convert and would be overwritten; name another")
    try:
        network = weights.convert(options.source, options.target, options.kind)
    except ImportError as error:  # of the library that one of the formats needs
        raise RuntimeError(error) from error
    arrays = network.parameters
    count, fc6 = sum(array.size for array in arrays.values()), arrays["fc6.weight"].shape
    print(f"{options.target}: {count:,} parameters in {len(arrays)} arrays, fc6 {' x '.join(map(str, fc6))}")
    return 0


def export(options: argparse.Namespace) -> int:
    """Write a network as an .onnx file, with its classes and how its images are prepared."""
    from npseg import weights
    from npseg.training import checkpoints

    if options.target.suffix != ".onnx":
        raise UsageError(f"{options.target} must end in .onnx")
    model, task = checkpoints.load_any_network(checkpoints.locate(options.network))
    metadata = None if task is None else _in_words(task)
    try:
        weights.export_onnx(model, options.target, input_size=options.input_size, metadata=metadata)
    except ImportError as error:
        raise RuntimeError(error) from error
    count = sum(array.size for array in model.parameters.values())
    size = "images of any size" if options.input_size is None else "images of {} x {}".format(*options.input_size)
    print(f"{options.target}: {count:,} parameters, for {size}")
    return 0


def _in_words(task: "Task") -> dict[str, str]:
    """The classes and the preparation of images."""
    return {
        "classes": json.dumps(task.classes),
        "preparation": "RGB, divided by 255, less mean, divided by std, as (N, 3, H, W)",
        "mean": json.dumps(task.normalise.mean),
        "std": json.dumps(task.normalise.std),
    }
