"""A working call of everything that makes, runs or trains networks."""

import numpy as np
from working_data import LABELS

from npseg import models, nn
from npseg.training import metrics, optimisers, schedules, settings

IMAGE_OF_FOUR = np.arange(168, dtype=np.float32).reshape(1, 4, 6, 7) / 168
"""Channels."""


def network():
    return models.fcn(models.vgg((1,) * 5, (1,) * 5, fc6=1), 2, 32)


def rng():
    return np.random.default_rng(0)


def of_layers():
    """Each layer in a network of its own, on an image: what it does not check at once it checks where it is used."""

    def used(layer, *inputs, before=(), x=IMAGE_OF_FOUR):
        def use(**options):
            nodes = [*before, nn.Node("layer", layer(**options), inputs or ("image",))]
            graph = nn.Graph(nodes, input_channels=x.shape[1])
            graph.shapes(x.shape[2:])
            return graph(x)

        return use

    pooled = nn.Node("pool", nn.MaxPool2d(2), ("image",))
    flat = nn.Node("flat", nn.Flatten((4, 6, 7)), ("image",))
    window = {"kernel_size": 3, "stride": 2, "padding": 1}
    channels = {"in_channels": 4, "out_channels": 2, "groups": 1, "bias": True, "initialiser": "zeros"}
    calls = {
        "Conv2d": (used(nn.Conv2d), {**channels, **window, "dilation": 1}),
        "ConvTranspose2d": (used(nn.ConvTranspose2d), {**channels, **window, "output_padding": 0, "dilation": 1}),
        "Linear": (used(nn.Linear, "flat", before=[flat]), {
            "in_features": 168, "out_features": 2, "bias": True, "initialiser": "zeros"
        }),
        "Flatten": (used(nn.Flatten), {"shape": (4, 6, 7)}),
        "AvgPool2d": (used(nn.AvgPool2d), {**window, "ceil_mode": True, "count_include_pad": True}),
        "MaxPool2d": (used(nn.MaxPool2d), {**window, "ceil_mode": True, "dilation": 1}),
        "MaxUnpool2d": (used(nn.MaxUnpool2d, "pool", "pool.indices", "image", before=[pooled]), {
            "kernel_size": 2, "stride": 2, "padding": 0, "ceil_mode": True
        }),
        "NearestUnpool2d": (used(nn.NearestUnpool2d), {"scale": 2}),
        "EnlargeBilinear": (used(nn.EnlargeBilinear), {"scale": 2}),
        "ResizeBilinear": (used(nn.ResizeBilinear, "pool", "image", before=[pooled]), {"align_corners": False}),
        "Crop": (used(nn.Crop, "image", "pool", before=[pooled]), {"offset": 1}),
        "SelectChannels": (used(nn.SelectChannels), {"first": 1, "channels": 2}),
        "Col2Im": (used(nn.Col2Im, x=np.ones((1, 4, 12, 1), np.float32)), {
            "size": (4, 5), "kernel_size": 2, "stride": 1, "padding": 0, "dilation": 1
        }),
        "BatchNorm2d": (used(nn.BatchNorm2d), {"channels": 4, "momentum": 0.1, "eps": 1e-5, "fixed": False}),
        "LocalResponseNorm": (used(nn.LocalResponseNorm), {"size": 3, "alpha": 1e-4, "beta": 0.75, "k": 1.0}),
        "Dropout": (used(nn.Dropout), {"p": 0.5}),
        "Scale": (used(nn.Scale), {"factor": 0.5}),
        "Softmax": (used(nn.Softmax), {"axis": 1}),
        "LogSoftmax": (used(nn.LogSoftmax), {"axis": 1}),
    }  # fmt: skip
    return {f"nn.{name}": call for name, call in calls.items()}


def of_networks():
    seeded = {"seed": 0, "dtype": np.float32}
    small = {"widths": (1,) * 5, "depths": (1,) * 5}

    def run_network(x):
        return network()(x)

    def run_forward(x, training, rng):
        return network().forward(x, training=training, rng=rng)[0]

    def run_backward(grad, saved=None):
        model = network()
        _, kept = model.forward(np.zeros((1, 3, 20, 18), np.float32))
        return model.backward(grad, kept if saved is None else saved)

    def encoder(backbone, **options):
        """The errors say "backbone", as the command line does."""
        return models.encoder(backbone, **options)

    def fcn_on(backbone, **options):
        return models.fcn_on(backbone, **options)

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
        "models.context_module": (models.context_module, {"classes": 2, "form": "basic", **seeded}),
        "models.deeplab_largefov": (models.deeplab_largefov, {
            "classes": 2, **small, "fc6": 1, "rate": 12, "dropout": 0.5, **seeded
        }),
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
        "models.Proportions": (models.Proportions, {
            "widths": (1,) * 5, "depths": (1,) * 5, "fc6": 1, "dropout": 0.5
        }),
        "models.is_classifier": (models.is_classifier, {"network": network()}),
        "models.initialise_from": (models.initialise_from, {"model": network(), "other": network()}),
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
        "Graph.from_description": (nn.Graph.from_description, {"description": network().describe()}),
        "Graph.node": (network().node, {"name": "fc6"}),
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
