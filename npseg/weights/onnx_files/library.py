"""The library `onnx`, which describes the format and checks files; imported when a file is written or read."""

from typing import Any


def onnx_library() -> Any:
    """The module.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            ".onnx files need the library onnx, which is not installed: pip install 'npseg[onnx]'"
        ) from error
    return onnx
