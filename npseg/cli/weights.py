"""`npseg convert` and `npseg export`: weights from elsewhere, and networks for elsewhere."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from npseg.cli.shared import UsageError


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
    from npseg.models import files
    from npseg.training import checkpoints

    if options.target.suffix != ".onnx":
        raise UsageError(f"{options.target} must end in .onnx")
    model, _, about = files.read(checkpoints.locate(options.network))
    try:
        weights.export_onnx(model, options.target, input_size=options.input_size, metadata=_task_in_words(about))
    except ImportError as error:
        raise RuntimeError(error) from error
    count = sum(array.size for array in model.parameters.values())
    size = "images of any size" if options.input_size is None else "images of {} x {}".format(*options.input_size)
    print(f"{options.target}: {count:,} parameters, for {size}")
    return 0


def _task_in_words(about: Mapping[str, Any]) -> dict[str, str]:
    """The classes and the preparation of images, of a network that was trained here."""
    if "task" not in about:
        return {}
    task = about["task"]
    return {
        "classes": json.dumps(task["classes"]),
        "preparation": "RGB, divided by 255, less mean, divided by std, as (N, 3, H, W)",
        **{name: json.dumps(task["normalise"][name]) for name in ("mean", "std")},
    }
