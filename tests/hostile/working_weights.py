"""A working call of everything that reads other people's weights, or writes npseg's.

Paths are tried by themselves, in an empty folder.
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from working_networks import network

from npseg import models, weights
from npseg.models.vgg import VGG_DEPTHS


def of_weights():
    model, folder = network(), Path(tempfile.mkdtemp())
    classifier = models.vgg_classifier((1,) * 5, VGG_DEPTHS["vgg11"], 1, 2, (32, 32))
    published = {theirs: classifier.parameters[ours] for theirs, ours in weights.torchvision_vgg("vgg11").items()}
    backbone = dict(models.encoder("caffenet").parameters)
    weights.write(folder / "classifier.npz", published)
    weights.export_onnx(model, folder / "model.onnx")
    arrays = dict(model.parameters)

    def load_into(arrays, names, strict):
        return weights.load_into(network(), arrays, names, strict)

    def load_backbone(arrays, name):
        return weights.load_backbone(models.fcn_on("caffenet", 2, 32), arrays, name)

    return {
        "weights.load_into": (load_into, {"arrays": arrays, "names": {}, "strict": True}),
        "weights.load_backbone, the network": (partial(weights.load_backbone, arrays=backbone, name="caffenet"), {
            "model": models.fcn_on("caffenet", 2, 32)
        }),
        "weights.load_into, the network": (weights.load_into, {"model": model, "arrays": arrays}),
        "weights.torchvision_vgg": (weights.torchvision_vgg, {"name": "vgg16"}),
        "weights.classifier_from": (weights.classifier_from, {"arrays": published, "kind": "torchvision-vgg11"}),
        "weights.load_backbone": (load_backbone, {"arrays": backbone, "name": "caffenet"}),
        "weights.write": (partial(weights.write, folder / "written.npz"), {"arrays": {"a": np.ones(3)}}),
        "weights.write_model": (partial(weights.write_model, folder / "model.npz"), {"model": model}),
        "weights.convert": (partial(weights.convert, folder / "classifier.npz", folder / "converted.npz"), {
            "kind": "torchvision-vgg11"
        }),
        "weights.load_onnx": (partial(weights.load_onnx, folder / "model.onnx"), {"output": None}),
        "weights.export_onnx": (partial(weights.export_onnx, path=folder / "model.onnx"), {
            "model": model, "input_size": (32, 32), "metadata": {"a": "b"}
        }),
        "models.save": (partial(models.save, path=folder / "saved.npz"), {
            "model": model, "extra": {"a": np.ones(3)}, "metadata": {"a": 1}
        }),
    }  # fmt: skip
