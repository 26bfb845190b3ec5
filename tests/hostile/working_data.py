"""A working call of everything that has to do with images and labels."""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from npseg import data

IMAGE = np.arange(90, dtype=np.uint8).reshape(6, 5, 3)
LABELS = np.zeros((6, 5), np.uint8)
COLORS = np.array([[0, 0, 0], [255, 0, 0]], np.uint8)


def folder_of_one_image():
    folder = Path(tempfile.mkdtemp())
    for name in ("images", "labels"):
        (folder / name).mkdir()
    data.write_image(folder / "images/a.png", IMAGE)
    data.write_label_map(folder / "labels/a.png", LABELS, COLORS)
    (folder / "classes.csv").write_text("id,name,r,g,b\n0,none,0,0,0\n1,some,255,0,0\n")
    for split in ("train", "a"):
        (folder / f"{split}.txt").write_text("a\n")
    return folder


def of_data():
    def transform(of, **arguments):
        return lambda **given: of(**{**arguments, **given})(IMAGE, LABELS, np.random.default_rng(0))

    def first_scene(**arguments):
        return data.Shapes(**arguments)[0]

    def first_image(**arguments):
        return data.SingleShapes(**arguments)[0]

    def transformed(of, *made):
        def call(image, labels, rng):
            return of(*made)(image, labels, rng)

        return call, {"image": IMAGE, "labels": LABELS, "rng": np.random.default_rng(0)}

    def alone(image, rng):
        return data.ImageAlone(data.RandomHorizontalFlip())(image, np.array(0, np.uint8), rng)

    folder = folder_of_one_image()
    return {
        "data.Shapes": (first_scene, {"count": 2, "seed": 0, "split": "train", "image_size": (16, 17)}),
        "data.SingleShapes": (first_image, {"count": 2, "seed": 0, "split": "train", "image_size": (16, 17)}),
        "data.Compose": (data.Compose, {"transforms": [data.RandomHorizontalFlip()]}),
        "data.ImageAlone": (data.ImageAlone, {"transform": data.RandomHorizontalFlip()}),
        "data.Shapes, a scene": (lambda index: data.Shapes(2, image_size=(16, 16))[index], {"index": 1}),
        "data.ImageFolder, an image": (lambda index: data.ImageFolder(folder)[index], {"index": 0}),
        "data.labels_whole_images": (data.labels_whole_images, {"dataset": data.Shapes(1, image_size=(16, 16))}),
        "data.ImageFolder": (partial(data.ImageFolder, folder), {"split": "train"}),
        "data.read_label_map": (partial(data.read_label_map, folder / "labels/a.png"), {"classes": 2}),
        "data.write_label_map": (partial(data.write_label_map, folder / "written.png"), {
            "labels": LABELS, "colors": COLORS, "void_color": (1, 2, 3)
        }),
        "data.write_image": (partial(data.write_image, folder / "image.png"), {"image": IMAGE}),
        "data.classifier_view": (data.classifier_view, {"image": IMAGE, "size": (4, 3), "share": 0.5}),
        "data.RandomCrop": (transform(data.RandomCrop), {"size": (3, 3)}),
        "data.RandomScale": (transform(data.RandomScale), {"low": 0.5, "high": 2.0}),
        "data.RandomHorizontalFlip": (transform(data.RandomHorizontalFlip), {"p": 0.5}),
        "data.Normalise": (lambda **given: data.Normalise(**given)(IMAGE), {"mean": 0.5, "std": 0.5}),
        "data.Compose, called": transformed(data.Compose, [data.RandomHorizontalFlip()]),
        "data.ImageAlone, called": (alone, {"image": IMAGE, "rng": np.random.default_rng(0)}),
        "data.RandomCrop, called": transformed(data.RandomCrop, (3, 3)),
        "data.RandomScale, called": transformed(data.RandomScale, 0.5, 2.0),
        "data.RandomHorizontalFlip, called": transformed(data.RandomHorizontalFlip),
        "data.Normalise, called": (lambda image: data.Normalise()(image), {"image": IMAGE}),
        "data.paint": (data.paint, {"labels": LABELS, "colors": COLORS, "void_color": (1, 2, 3)}),
        "data.overlay": (data.overlay, {"image": IMAGE, "labels": LABELS, "colors": COLORS, "opacity": 0.5}),
        "data.open_dataset": (data.open_dataset, {"description": {"kind": "shapes", "count": 2}, "split": "val"}),
    }  # fmt: skip
