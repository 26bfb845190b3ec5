# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 What segmentation is
#
# After this lesson you can
#
# - say what a classifier, a detector and a segmentation answer, and what a box leaves open;
# - read a segmentation map off a network's scores;
# - tell semantic from instance segmentation.
#
# Next: [02 convolution](02_convolution.ipynb) · all lessons: [README](README.md)
#
# The code behind it: [`npseg/ops/classification.py`](../npseg/ops/classification.py),
# [`npseg/data/shapes.py`](../npseg/data/shapes.py), [`npseg/data/pictures.py`](../npseg/data/pictures.py)

# %%
import numpy as np
from matplotlib.patches import Rectangle

from npseg import ops
from npseg.data import Shapes, overlay, paint
from npseg.data.shapes import disc
from npseg.teaching import figures
from npseg.teaching.figures.style import Picture

# %% [markdown]
# ## One picture, three questions
#
# npseg draws scenes of five kinds of objects. What they are called has nothing to do with their colours: only form and
# texture tell them apart.

# %%
scenes = Shapes(60, split="val", image_size=(96, 128))
image, labels, name = scenes[40]
assert image.shape == (96, 128, 3)
assert labels.shape == (96, 128)

figures.side_by_side({"an image of 96 x 128 pixels": image})

# %% [markdown]
# **What is in it?** A classifier answers with names, and is silent about where they are.

# %%
present = [int(label) for label in np.unique(labels) if label != 0]
print("In the picture:", ", ".join(scenes.classes[label] for label in present))

# %% [markdown]
# **Where is each?** A detector answers with a bounding box (경계 상자) for each object: four numbers and a name.


# %%
def box_of(mask):
    """The smallest rectangle around the pixels of a mask: top, left, bottom, right, the last two excluded."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def draw_boxes(axes, boxes):
    """Each box with its name on top: (name, colour, (top, left, bottom, right))."""
    for text, color, (top, left, bottom, right) in boxes:
        frame = Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, color=color, linewidth=2.5)
        axes.add_patch(frame)
        axes.text(left + 1, top + 1, text, color="black", va="top", backgroundcolor=color, fontsize=9)
    axes.set(xticks=[], yticks=[])


boxes = [(scenes.classes[label], scenes.colors[label] / 255, box_of(labels == label)) for label in present]
figure = Picture(figsize=(5, 3.9), layout="constrained")
axes = figure.subplots()
axes.imshow(image)
axes.set_title("detection: boxes")
draw_boxes(axes, boxes)
figure

# %% [markdown]
# A box is a rough answer. A good part of it is not the object, and boxes overlap:

# %%
for label, (text, _, (top, left, bottom, right)) in zip(present, boxes, strict=True):
    inside = labels[top:bottom, left:right]
    print(f"{text:8}  box of {inside.size:5} pixels, {np.mean(inside == label):4.0%} of them are {text}")

# %% [markdown]
# **Which pixels are it?** Semantic segmentation (의미론적 분할) answers for every single pixel (픽셀). The answer is a
# **segmentation map** (분할 맵): as high and wide as the image, one class number at each pixel.

# %% tags=["thumbnail"]
figures.side_by_side(
    {
        "image": image,
        "segmentation map, painted": paint(labels, scenes.colors),
        "both": overlay(image, labels, scenes.colors),
    }
)

# %% [markdown]
# The colours are only paint. The map itself holds whole numbers; here is the place where disc and ring meet.

# %%
window = labels[45:57, 22:38].astype(float)
print("classes:", dict(enumerate(scenes.classes)))
figures.side_by_side({"rows 45 ... 56, columns 22 ... 37 of the map": window})

# %% [markdown]
# So the three tasks answer with more and more numbers:

# %%
print(f"classification   {len(present)} names")
print(f"detection        {len(present)} names and {4 * len(present)} numbers")
print(f"segmentation     {labels.size} numbers, one for each pixel")
assert labels.size == 96 * 128

# %% [markdown]
# ## From scores to a map
#
# No network puts out class numbers directly: "class 2.5" would mean nothing. For C classes it puts out C maps, one
# score for each class at each pixel. The scores are called **logits** (로짓); they may be any real numbers.
#
# Here are the logits of a 3 x 4 image and three classes. At each pixel the highest of the three scores wins.

# %%
logits = np.array(
    [
        [[4, 4, 1, 0], [3, 1, 0, 0], [2, 0, 0, 1]],
        [[1, 2, 3, 3], [2, 3, 2, 1], [1, 1, 1, 0]],
        [[0, 0, 0, 1], [0, 1, 1, 2], [3, 4, 5, 4]],
    ],
    dtype=float,
)[np.newaxis]
assert logits.shape == (1, 3, 3, 4)  # (images, classes, height, width)

segmentation = ops.segmentation_map(logits)
assert segmentation.shape == (1, 3, 4)  # the class axis is gone
figures.side_by_side(
    {f"logits of class {c}": logits[0, c] for c in range(3)} | {"segmentation map": segmentation[0].astype(float)}
)

# %% [markdown]
# "Which class has the highest score" is called the **argmax** over the class axis. That is all `segmentation_map` does:

# %%
assert np.array_equal(segmentation, np.argmax(logits, axis=1))
print("At row 0, column 2 the scores are", logits[0, :, 0, 2], "so the class is", segmentation[0, 0, 2])

# %% [markdown]
# Softmax turns the scores of a pixel into probabilities: positive, and together 1. It keeps their order, so the map
# stays the same. Training needs probabilities, or rather their logarithms, from `log_softmax`
# ([lesson 11](11_training.ipynb)); the map needs neither.

# %%
probabilities = ops.softmax(logits)
assert np.allclose(probabilities.sum(axis=1), 1)
assert np.allclose(np.log(probabilities), ops.log_softmax(logits))
assert np.array_equal(ops.segmentation_map(probabilities), segmentation)
print("At row 0, column 2 the probabilities are", probabilities[0, :, 0, 2].round(3))

# %% [markdown]
# And if each class's scores are averaged over *all* pixels? Then one score a class is left for the whole
# image, and nothing of where. Many classifiers end like this, in a global average pooling (풀링). [Lesson
# 09](09_classifier_to_fcn.ipynb) goes the other way, from a classifier back to maps.

# %%
whole = ops.global_avg_pool2d(logits)
assert np.allclose(whole[0, :, 0, 0], logits[0].mean(axis=(1, 2)))
print("from", logits.shape, "to", whole.shape, "with the scores", whole.ravel().round(2))

# %% [markdown]
# ## A pixel alone knows too little
#
# Let us score the scene above by colour alone: the nearer a pixel's colour is to the mean colour of a class, the
# higher the class's score. We even cheat, and take the mean colours from the true map.

# %%
colors = image.astype(float) / 255
shown = [0, *present]
scores = np.stack([-np.sum((colors - colors[labels == label].mean(axis=0)) ** 2, axis=-1) for label in shown])[None]
by_color = np.array(shown)[ops.segmentation_map(scores)[0]]
accuracy = np.mean(by_color == labels)
print(f"{accuracy:.0%} of the pixels are right")

# %% [markdown]
# Now let each pixel ask its neighbours: every score becomes the mean of the scores in the 7 x 7 pixels around it.

# %%
around = ops.avg_pool2d(scores, 7, stride=1, padding=3, count_include_pad=False)
with_neighbours = np.array(shown)[ops.segmentation_map(around)[0]]
accuracy_with_neighbours = np.mean(with_neighbours == labels)
assert accuracy_with_neighbours > accuracy
print(f"{accuracy_with_neighbours:.0%} of the pixels are right")

figures.fcn_predictions(
    image, {"by colour": by_color, "with neighbours": with_neighbours}, scenes.classes, scenes.colors, labels=labels
)

# %% [markdown]
# Looking around helps. What to look for, around each pixel, is what a network learns; and the operation that looks
# around each pixel with the same weights is the **convolution**, [lesson 02](02_convolution.ipynb).
#
# ## Semantic or instance?
#
# Take two discs, one in front of the other. Both are discs, so the semantic map cannot tell where one ends. **Instance
# segmentation** (인스턴스 분할) gives each object a number of its own.

# %%
y, x = np.mgrid[:64, :96].astype(np.float32)
instances = np.zeros((64, 96), int)
for number, (row, column) in enumerate([(28, 34), (38, 58)], start=1):
    instances[disc((x - column) / 19.4, (y - row) / 19.4)] = number

DISC = scenes.classes.index("disc")
class_of_instance = np.array([0, DISC, DISC])  # number 0 is the background
semantic = class_of_instance[instances]

gray = np.array([[40, 40, 40], [150, 150, 150], [210, 210, 210]], np.uint8)
instance_colors = np.array([[0, 0, 0], [86, 180, 233], [213, 94, 0]], np.uint8)
figures.side_by_side(
    {
        "two discs": gray[instances],
        "semantic: disc or not": paint(semantic, scenes.colors),
        "instance: this disc, that disc": paint(instances, instance_colors),
    }
)

# %% [markdown]
# From an instance map and the class of each instance the semantic map follows: that is the line
# `class_of_instance[instances]` above. The way back does not exist, for the border between the two is lost:

# %%
print("numbers in the instance map:", np.unique(instances), " in the semantic map:", np.unique(semantic))
assert np.array_equal(semantic == DISC, instances > 0)

# %% [markdown]
# | | a name for each image | a box for each object | a class for each pixel | a mask for each object |
# |---|---|---|---|---|
# | classification | yes | | | |
# | detection | | yes | | |
# | semantic segmentation | | | yes | |
# | instance segmentation | | yes (from the masks) | yes, of the objects | yes |
#
# These lessons, and npseg, are about **semantic** segmentation, as in the FCN paper (Long, Shelhamer, Darrell, "Fully
# convolutional networks for semantic segmentation", 2015).
#
# ## Exercises
#
# Put your answer in the place of `...` and run the cell, the folded one below it (the solution, used only where you
# gave no answer), and the check.
#
# **1.** A network for 21 classes puts out logits for an image of 375 x 500 pixels. How many numbers are they?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = 21 * 375 * 500

# %%
assert answer == np.zeros((1, 21, 375, 500), np.int8).size
print("Right: one number for each class and pixel, 3,937,500.")

# %% [markdown]
# **2.** Four classes score a row of three pixels: class 0 with `[2, 0, 1]`, class 1 with `[1, 5, 1]`, class 2 with
# `[3, 4, 0]` and class 3 with `[0, 4, -1]`. Which segmentation map comes out, as a list of three numbers? (Of equal
# scores the lowest class wins.)

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = [2, 1, 0]

# %%
row = np.array([[2, 0, 1], [1, 5, 1], [3, 4, 0], [0, 4, -1]], float).reshape(1, 4, 1, 3)
assert list(answer) == ops.segmentation_map(row)[0, 0].tolist()
print("Right: at the last pixel classes 0 and 1 are equal, and the lower one wins.")

# %% [markdown]
# **3.** Write a function of an instance map (H, W), in which 0 is the background, that returns the box of each
# instance: `{1: (top, left, bottom, right), ...}`; then `answer = your_function`.

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:

    def answer(instances):
        """Detection from instance segmentation: the box of each mask."""
        return {int(number): box_of(instances == number) for number in np.unique(instances) if number != 0}


# %%
assert answer(instances) == {1: (9, 15, 48, 52), 2: (19, 39, 58, 78)}
print("Right: detection follows from instance segmentation. The two boxes overlap, the two masks do not.")
