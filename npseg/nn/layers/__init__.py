"""The layers: each an operation together with the shapes of its parameters; `layer.py` says what one can do."""

from npseg.nn.layers.classification import LogSoftmax, Softmax
from npseg.nn.layers.columns import Col2Im
from npseg.nn.layers.convolution import Conv2d, Conv2dReLU, Conv2dReLUMaxPool2d, ConvTranspose2d
from npseg.nn.layers.elementwise import Dropout, ReLU, ReLU6, Scale
from npseg.nn.layers.joining import Add, Concat, Crop, EnlargeBilinear, ResizeBilinear, SelectChannels
from npseg.nn.layers.layer import C, Gradients, Layer, Mode, ParameterSpec, Randomness, Shape, Wanted, size_of
from npseg.nn.layers.linear import Flatten, Linear
from npseg.nn.layers.normalisation import BatchNorm2d, LocalResponseNorm
from npseg.nn.layers.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d, MaxUnpool2d
from npseg.nn.layers.unpooling import NearestUnpool2d

LAYERS: dict[str, type[Layer]] = {
    layer.__name__: layer
    for layer in (
        Conv2d,
        ConvTranspose2d,
        Linear,
        BatchNorm2d,
        LocalResponseNorm,
        ReLU,
        Scale,
        ReLU6,
        MaxPool2d,
        MaxUnpool2d,
        AvgPool2d,
        GlobalAvgPool2d,
        Dropout,
        Flatten,
        Crop,
        Add,
        Concat,
        ResizeBilinear,
        EnlargeBilinear,
        NearestUnpool2d,
        SelectChannels,
        Col2Im,
        Softmax,
        LogSoftmax,
    )
}
"""Every layer by the name that descriptions and files know it by."""

__all__ = [
    "LAYERS",
    "Add",
    "AvgPool2d",
    "BatchNorm2d",
    "C",
    "Col2Im",
    "Concat",
    "Conv2d",
    "Conv2dReLU",
    "Conv2dReLUMaxPool2d",
    "ConvTranspose2d",
    "Crop",
    "Dropout",
    "EnlargeBilinear",
    "Flatten",
    "GlobalAvgPool2d",
    "Gradients",
    "Layer",
    "Linear",
    "LocalResponseNorm",
    "LogSoftmax",
    "MaxPool2d",
    "MaxUnpool2d",
    "Mode",
    "NearestUnpool2d",
    "ParameterSpec",
    "Randomness",
    "ReLU",
    "ReLU6",
    "ResizeBilinear",
    "Scale",
    "SelectChannels",
    "Shape",
    "Softmax",
    "Wanted",
    "size_of",
]
