"""Networks as .onnx files, which many runtimes serve: written from a graph, and read into one.

    writing   a graph's layers, one after another, through the table in `layer_converters`
    reading   a file's nodes, one after another, through the table in `operators`

The library `onnx` knows the format and checks files; nothing in a file is run.
"""

from npseg.weights.onnx_files.exporting import export_onnx
from npseg.weights.onnx_files.importing import load_onnx

__all__ = ["export_onnx", "load_onnx"]
