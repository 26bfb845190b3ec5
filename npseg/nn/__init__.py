"""Networks: layers, and the graph that joins them."""

from npseg.nn.graph import Graph, Node
from npseg.nn.layers import (
    Add,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Crop,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
)
from npseg.nn.loss import cross_entropy

__all__ = [
    "Add",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "Crop",
    "Dropout",
    "Flatten",
    "Graph",
    "Layer",
    "Linear",
    "MaxPool2d",
    "Node",
    "ReLU",
    "cross_entropy",
]
