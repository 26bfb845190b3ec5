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
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    ReLU,
    ReLU6,
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
    "Flatten",
    "GlobalAvgPool2d",
    "Graph",
    "Layer",
    "Linear",
    "LocalResponseNorm",
    "MaxPool2d",
    "Node",
    "ReLU",
    "ReLU6",
    "ResizeBilinear",
    "cross_entropy",
]
