"""A working call of every public function beside the operations, and values that no argument can have meant."""

import sys
from pathlib import Path

import numpy as np

from npseg import analysis, data, geometry, matrices, models, nn, weights
from npseg.training import metrics, optimisers, schedules, settings

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
from calls import OPERATIONS, working_calls

HUGE = 2**40
"""Of pixels or channels: more than any memory has, and an array of it is refused before it is made."""

HOSTILE = {
    "None": None,
    "True": True,
    "-1": -1,
    "0": 0,
    "1.5": 1.5,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "2^40": HUGE,
    "10^30": 10**30,
    "word": "a",
    "bytes": b"a",
    "object": object(),
    "empty list": [],
    "empty tuple": (),
    "tuple": (1, 2),
    "three": (1, 2, 3),
    "huge pair": (HUGE, HUGE),
    "nested": ((1, 2), (3, 4)),
    "dictionary": {"a": 1},
    "set": {1},
    "function": len,
    "class": int,
    "list of numbers": [[1.0, 2.0]],
    "scalar array": np.array(3),
    "empty array": np.zeros((0, 0, 0, 0)),
    "vector": np.ones(3),
    "float16": np.ones((1, 1, 2, 2), np.float16),
    "complex": np.ones((1, 1, 2, 2), complex),
    "objects": np.array([[[[None]]]]),
    "words": np.array(["a", "b"]),
    "masked": np.ma.masked_array(np.ones((1, 1, 2, 2)), mask=True),
    "structured": np.zeros((1, 1, 2, 2), [("a", "f4")]),
    "dates": np.zeros((1, 1, 2, 2), "M8[s]"),
    "giant": np.broadcast_to(np.float64(1), (2**20, 2**20, 2**7, 2**7)),
    "giant plane": np.broadcast_to(np.float64(1), (1, 1, 2**20, 2**20)),
    "giant indices": np.broadcast_to(np.int64(0), (1, 1, 2**20, 2**20)),
}

IMAGE = np.arange(90, dtype=np.uint8).reshape(6, 5, 3)
LABELS = np.zeros((6, 5), np.uint8)
COLORS = np.array([[0, 0, 0], [255, 0, 0]], np.uint8)
WEIGHT = np.ones((2, 3, 3, 2))


def network():
    return models.fcn(models.vgg((1,) * 5, (1,) * 5, fc6=1), 2, 32)


def rng():
    return np.random.default_rng(0)


def of_operations():
    return {f"ops.{name}": (OPERATIONS[name], arguments) for name, arguments in working_calls().items()}


def of_matrices():
    pool = {"channels": 2, "input_size": (4, 6), "dtype": np.float64}
    window = {"kernel_size": 2, "stride": 2, "padding": 0}
    calls = {
        "conv2d_matrix": {
            "weight": WEIGHT, "input_size": (4, 5), "stride": 1, "padding": 0, "dilation": 1, "groups": 1
        },
        "conv_transpose2d_matrix": {
            "weight": WEIGHT, "input_size": (4, 5), "stride": 1, "padding": 0, "output_padding": 0, "dilation": 1,
            "groups": 1,
        },
        "avg_pool2d_matrix": {**pool, **window, "ceil_mode": False, "count_include_pad": True},
        "max_pool2d_matrix": {"indices": np.array([[[0, 3]]]), "input_size": (1, 4), "dtype": np.float64},
        "nearest_unpool2d_matrix": {**pool, "scale": 2},
        "bed_of_nails_unpool2d_matrix": {**pool, "scale": 2},
        "resize_bilinear_matrix": {**pool, "output_size": (3, 7), "align_corners": False},
    }  # fmt: skip
    entries = {
        "data": np.ones(2), "indices": np.array([0, 2]), "indptr": np.array([0, 1, 2]), "shape": (2, 3)
    }  # fmt: skip

    def multiply(x):
        return matrices.SparseMatrix(**entries) @ x

    return {
        **{f"matrices.{name}": (getattr(matrices, name), arguments) for name, arguments in calls.items()},
        "matrices.SparseMatrix": (matrices.SparseMatrix, entries),
        "matrices.SparseMatrix.__matmul__": (multiply, {"x": np.ones(3)}),
    }


def of_geometry():
    window = {"kernel_size": 3, "input_size": (6, 7), "stride": 1, "padding": 0}
    return {
        "geometry.convolution_window": (geometry.convolution_window, {**window, "dilation": 1}),
        "geometry.pooling_window": (geometry.pooling_window, {**window, "dilation": 1, "ceil_mode": False}),
        "geometry.transposed_window": (
            geometry.transposed_window, {**window, "output_padding": 0, "dilation": 1}
        ),
        "geometry.parse_padding": (geometry.parse_padding, {"padding": 1}),
    }  # fmt: skip


def of_networks():
    seeded = {"seed": 0, "dtype": np.float32}
    small = {"widths": (1,) * 5, "depths": (1,) * 5}
    convolution = {"in_channels": 3, "out_channels": 2, "groups": 1, "initialiser": "zeros"}
    sizes = {"kernel_size": 3, "stride": 1, "padding": 0, "dilation": 1}

    def run_layer(**options):
        """A layer checks its channels at once, the rest where it is used."""
        layer = nn.Conv2d(**options)
        return nn.Graph([nn.Node("conv", layer, ("image",))])(np.ones((1, 3, 6, 7), np.float32))

    def run_network(x):
        return network()(x)

    def run_forward(x, training, rng):
        return network().forward(x, training=training, rng=rng)[0]

    def run_backward(grad, saved=None):
        model = network()
        _, kept = model.forward(np.zeros((1, 3, 20, 18), np.float32))
        return model.backward(grad, kept if saved is None else saved)

    def load_parameter(arrays):
        return weights.load_into(network(), arrays)

    def encoder(backbone, **options):
        """The errors say "backbone", as the command line does."""
        return models.encoder(backbone, **options)

    def fcn_on(backbone, **options):
        return models.fcn_on(backbone, **options)

    def run_scale(factor):
        return nn.Graph([nn.Node("scale", nn.Scale(factor), ("image",))])(np.ones((1, 3, 6, 7), np.float32))

    def run_enlargement(scale):
        return nn.Graph([nn.Node("large", nn.EnlargeBilinear(scale), ("image",))]).shapes((6, 7))

    x = np.zeros((1, 3, 20, 18), np.float32)
    return {
        "models.vgg": (models.vgg, {
            "widths": (1,) * 5, "depths": (1,) * 5, "fc6": 1, "dropout": 0.5, "seed": 0, "dtype": np.float32
        }),
        "models.fcn": (models.fcn, {
            "backbone": models.vgg((1,) * 5, (1,) * 5, fc6=1), "classes": 2, "stride": 32, "form": "same",
            "train_upsampling": "all",
        }),
        "models.vgg_classifier": (models.vgg_classifier, {
            "widths": (1,) * 5, "depths": (1,) * 5, "fc6": 1, "classes": 2, "input_size": (32, 32),
        }),
        "models.named": (models.named, {"name": "vgg16", "classes": 2}),
        "models.alexnet": (models.alexnet, {"classes": 2, "dropout": 0.5, **seeded}),
        "models.context_module": (models.context_module, {"classes": 2, **seeded}),
        "models.deeplab_largefov": (models.deeplab_largefov, {"classes": 2, "dropout": 0.5, **seeded}),
        "models.caffenet": (models.caffenet, {"classes": 2, "dropout": 0.5, **seeded}),
        "models.fcn_alexnet": (models.fcn_alexnet, {"classes": 2, "dropout": 0.5, **seeded}),
        "models.fcn_googlenet": (models.fcn_googlenet, {"classes": 2, "stride": 32, "form": "paper", **seeded}),
        "models.caffenet_encoder": (models.caffenet_encoder, {"dropout": 0.5, **seeded}),
        "models.googlenet_encoder": (models.googlenet_encoder, {**seeded}),
        "models.dilation8": (models.dilation8, {
            "classes": 2, **small, "fc6": 1, "rate": 4, "form": "basic", "dropout": 0.5, **seeded
        }),
        "models.deeplab_pyramid": (models.deeplab_pyramid, {
            "classes": 2, **small, "channels": 2, "rates": (1, 2), "low_level": 1, "dropout": 0.1, **seeded
        }),
        "models.googlenet": (models.googlenet, {"classes": 2, "dropout": 0.5, **seeded}),
        "models.mobilenet_v1": (models.mobilenet_v1, {"classes": 2, **seeded}),
        "models.efficientnet_lite0": (models.efficientnet_lite0, {"classes": 2, **seeded}),
        "models.encoder": (encoder, {"backbone": "vgg16", "seed": 0, "fixed_statistics": False}),
        "models.fcn_on": (fcn_on, {"backbone": "vgg16", "classes": 2, "stride": 32}),
        "models.segnet": (models.segnet, {"classes": 2, **small, **seeded}),
        "models.deconvnet": (models.deconvnet, {"classes": 2, **small, "fc6": 1, "form": "same", **seeded}),
        "models.system": (models.system, {"name": "fcn32s", "classes": 2, "seed": 0}),
        "models.convolutionalise": (models.convolutionalise, {
            "classifier": models.vgg_classifier((1,) * 5, (1,) * 5, 1, 2, (32, 32))
        }),
        "models.initialise_from": (models.initialise_from, {"model": network(), "other": network()}),
        "nn.Conv2d": (run_layer, {**convolution, **sizes}),
        "nn.Scale": (run_scale, {"factor": 0.5}),
        "nn.EnlargeBilinear": (run_enlargement, {"scale": 2}),
        "nn.Node": (nn.Node, {"name": "a", "layer": nn.ReLU(), "inputs": ("image",)}),
        "nn.Graph": (nn.Graph, {
            "nodes": [nn.Node("a", nn.ReLU(), ("image",))], "input_channels": 3, "frozen": (), **seeded
        }),
        "nn.cross_entropy": (nn.cross_entropy, {
            "logits": np.ones((1, 2, 3, 4)), "labels": np.zeros((1, 3, 4), int), "ignore_index": 255,
            "class_weight": np.ones(2), "reduction": "mean",
        }),
        "Graph.__call__": (run_network, {"x": x}),
        "Graph.forward": (run_forward, {"x": x, "training": True, "rng": rng()}),
        "Graph.backward": (run_backward, {"grad": np.zeros((1, 2, 20, 18), np.float32)}),
        "Graph.shapes": (network().shapes, {"input_size": (20, 18)}),
        "Graph.node": (network().node, {"name": "fc6"}),
        "weights.load_into": (load_parameter, {"arrays": dict(network().parameters)}),
        "weights.torchvision_vgg": (weights.torchvision_vgg, {"name": "vgg16"}),
        "analysis.summary": (analysis.summary, {"model": network(), "input_size": (32, 32)}),
    }  # fmt: skip


def of_data():
    def transform(of, **arguments):
        return lambda **given: of(**{**arguments, **given})(IMAGE, LABELS, rng())

    def first_scene(**arguments):
        return data.Shapes(**arguments)[0]

    def first_image(**arguments):
        return data.SingleShapes(**arguments)[0]

    return {
        "data.Shapes": (first_scene, {"count": 2, "seed": 0, "split": "train", "image_size": (16, 17)}),
        "data.SingleShapes": (first_image, {"count": 2, "seed": 0, "split": "train", "image_size": (16, 17)}),
        "data.classifier_view": (data.classifier_view, {"image": IMAGE, "size": (4, 3), "share": 0.5}),
        "data.RandomCrop": (transform(data.RandomCrop), {"size": (3, 3)}),
        "data.RandomScale": (transform(data.RandomScale), {"low": 0.5, "high": 2.0}),
        "data.RandomHorizontalFlip": (transform(data.RandomHorizontalFlip), {"p": 0.5}),
        "data.Normalise": (lambda **given: data.Normalise(**given)(IMAGE), {"mean": 0.5, "std": 0.5}),
        "data.paint": (data.paint, {"labels": LABELS, "colors": COLORS, "void_color": (1, 2, 3)}),
        "data.overlay": (data.overlay, {"image": IMAGE, "labels": LABELS, "colors": COLORS, "opacity": 0.5}),
        "data.open_dataset": (data.open_dataset, {"description": {"kind": "shapes", "count": 2}, "split": "val"}),
    }  # fmt: skip


def of_training():
    def update(optimiser, rate, gradient):
        return optimiser().update({"a.weight": np.ones(3)}, {"a.weight": gradient}, rate)

    def count(labels, predictions):
        counts = metrics.ConfusionMatrix(("a", "b"), 255)
        counts.update(labels, predictions)
        return counts.metrics()

    return {
        "Settings": (settings.Settings, {
            "steps": 3, "batch_size": 1, "seed": 0, "optimizer": "adam", "learning_rate": 0.1, "momentum": 0.5,
            "backbone_rate": 0.1,
            "weight_decay": 0.0, "schedule": "polynomial", "power": 0.9, "decay_every": 1, "decay_factor": 0.1,
            "loss": "mean", "class_weights": (1.0,), "flip": True, "scale": (0.5, 1.0), "crop": (3, 3),
            "validate_every": 1, "checkpoint_every": 1, "winograd": "off",
        }),
        "SGD": (optimisers.SGD, {"momentum": 0.9, "weight_decay": 0.0}),
        "Adam": (optimisers.Adam, {"beta1": 0.9, "beta2": 0.9, "epsilon": 1e-8, "weight_decay": 0.0}),
        "SGD.update": (lambda **given: update(optimisers.SGD, **given), {"rate": 0.1, "gradient": np.ones(3)}),
        "Adam.update": (lambda **given: update(optimisers.Adam, **given), {"rate": 0.1, "gradient": np.ones(3)}),
        "schedules.polynomial": (schedules.polynomial, {"step": 1, "steps": 3, "power": 0.9}),
        "schedules.step_decay": (schedules.step_decay, {"step": 1, "every": 3, "factor": 0.1}),
        "ConfusionMatrix.update": (count, {"labels": LABELS, "predictions": LABELS}),
        "ConfusionMatrix": (metrics.ConfusionMatrix, {"classes": ("a", "b"), "ignore_index": 255}),
    }  # fmt: skip


def every_function():
    """(function, arguments) by name."""
    return {
        **of_operations(),
        **of_matrices(),
        **of_geometry(),
        **of_networks(),
        **of_data(),
        **of_training(),
    }
