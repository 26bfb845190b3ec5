"""Networks: layers, and the graph that joins them."""

from npseg.nn.graph import Graph, Node
from npseg.nn.layers import (
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Crop,
    Dropout,
    EnlargeBilinear,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    MaxUnpool2d,
    ReLU,
    ResizeBilinear,
)
from npseg.nn.loss import cross_entropy

__all__ = [
    "Add",
    "AvgPool2d",
    "BatchNorm2d",
    "Concat",
    "Conv2d",
    "ConvTranspose2d",
    "Crop",
    "Dropout",
    "EnlargeBilinear",
    "Flatten",
    "GlobalAvgPool2d",
    "Graph",
    "Layer",
    "Linear",
    "LocalResponseNorm",
    "MaxPool2d",
    "MaxUnpool2d",
    "Node",
    "ReLU",
    "ResizeBilinear",
    "cross_entropy",
]
