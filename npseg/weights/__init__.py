"""Other people's weights: files of arrays, names, and networks filled from them.

>>> import tempfile
>>> from pathlib import Path
>>> import numpy as np
>>> path = Path(tempfile.mkdtemp(), "weights.pth")
>>> write(path, {"score_fr.bias": np.array([1.0, 2.0], np.float32)})
>>> read(path)
{'score_fr.bias': array([1., 2.], dtype=float32)}
"""

from npseg.weights.files import read, write, write_model
from npseg.weights.matching import Report, load_into
from npseg.weights.names import PUBLISHED, efficientnet_lite0, torchvision_alexnet, torchvision_vgg
from npseg.weights.onnx_files import export_onnx, load_onnx
from npseg.weights.pretrained import load_backbone, locate
from npseg.weights.surgery import SOURCES, classifier_from, convert

__all__ = [
    "PUBLISHED",
    "SOURCES",
    "Report",
    "classifier_from",
    "convert",
    "efficientnet_lite0",
    "export_onnx",
    "load_backbone",
    "load_into",
    "load_onnx",
    "locate",
    "read",
    "torchvision_alexnet",
    "torchvision_vgg",
    "write",
    "write_model",
]
