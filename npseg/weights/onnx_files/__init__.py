"""Networks as .onnx files, which many runtimes serve: written from a graph, and read into one."""

from npseg.weights.onnx_files.exporting import export_onnx

__all__ = ["export_onnx"]
