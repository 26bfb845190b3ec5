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
# # 09 From classifier to FCN
#
# After this lesson you can
#
# - say what a fully connected layer does to positions, and why it fits a single image size;
# - read a fully connected layer as a convolution, and so turn a classifier into a network for images of any size;
# - turn its coarse scores into a class for each pixel.
#
# Previous: [08 transposed convolution](08_transposed.ipynb) · next: [10 skips](10_skips.ipynb) · all lessons:
# [README](README.md)
#
# The code behind it: [`npseg/models/convolutionalise.py`](../npseg/models/convolutionalise.py),
# [`npseg/nn/layers/linear.py`](../npseg/nn/layers/linear.py), [`npseg/models/fcn.py`](../npseg/models/fcn.py)

# %%
from dataclasses import replace

import numpy as np

from npseg import matrices, ops
from npseg.analysis import summary
from npseg.data.shapes import KINDS
from npseg.models import convolutionalise, initialise_from, vgg
from npseg.models.chains import chain
from npseg.nn import Conv2d, ConvTranspose2d, Crop, Flatten, Graph, Linear, MaxPool2d, Node, ReLU, cross_entropy
from npseg.teaching import figures
from npseg.training.metrics import ConfusionMatrix
from npseg.training.optimisers import Adam

rng = np.random.default_rng(9)

# %% [markdown]
# ## A fully connected layer, seen as a matrix
#
# A classifier ends in **fully connected** (dense) layers: every output is a weighted sum of *all* inputs. From a 4 x
# 4 map to a 2 x 2 map that takes 4 x 16 = 64 weights, each a number of its own. A 3 x 3 convolution (합성곱) makes
# the same sizes from 9 weights, each used at four places. A 1 x 1 convolution has one weight, used at every pixel
# (픽셀), and keeps the map's size.

# %%
x = rng.integers(0, 5, (1, 1, 4, 4)).astype(float)
dense = rng.integers(1, 10, (4, 16)).astype(float)
kernel = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
one_by_one = np.full((1, 1, 1, 1), 5.0)

convolution_matrix = matrices.conv2d_matrix(kernel, (4, 4))
one_by_one_matrix = matrices.conv2d_matrix(one_by_one, (4, 4))
assert dense.size == 64
assert (convolution_matrix.nnz, kernel.size) == (36, 9)
assert (one_by_one_matrix.nnz, one_by_one.size) == (16, 1)
figures.side_by_side(
    {
        "fully connected: 64 weights": dense,
        "3 x 3 convolution: 9 weights": convolution_matrix.toarray(),
        "1 x 1 convolution: 1 weight": one_by_one_matrix.toarray(),
    },
    columns=2,
    title="One row for each output, one column for each input pixel",
)

# %% [markdown]
# ## What is lost: neighbours, and learning once for all places
#
# **Neighbours.** The dense matrix does not know which pixels lie side by side. Shuffle the pixels, and its columns
# with them: nothing changes. So a dense layer learns from shuffled images as well as from real ones. A convolution
# needs the pixels where they are.

# %%
order = rng.permutation(16)
vector = x.reshape(1, 16)
shuffled = vector[:, order]

assert np.allclose(ops.linear(vector, dense), ops.linear(shuffled, dense[:, order]))
assert not np.allclose(ops.conv2d(x, kernel), ops.conv2d(shuffled.reshape(1, 1, 4, 4), kernel))

# %% [markdown]
# **Places.** Move the image by one pixel, and the result of a convolution moves by one pixel. The result of the dense
# layer becomes something else: the weights that saw the object before are not those that see it now, so what is
# learned at one place is unknown at the next.

# %%
spot = np.zeros((1, 1, 4, 4))
spot[0, 0, 1, 1] = 1
moved = np.roll(spot, 1, axis=3)
found = ops.conv2d(spot, kernel, padding=1)[0, 0]
found_moved = ops.conv2d(moved, kernel, padding=1)[0, 0]

assert np.array_equal(found_moved[:, 1:], found[:, :-1])
figures.side_by_side(
    {
        "a spot": spot[0, 0],
        "convolution": found,
        "dense": ops.linear(spot.reshape(1, 16), dense).reshape(2, 2),
        "the spot, moved": moved[0, 0],
        "convolution ": found_moved,
        "dense ": ops.linear(moved.reshape(1, 16), dense).reshape(2, 2),
    },
    columns=3,
)

# %% [markdown]
# **Sizes.** 64 weights fit 16 inputs and no other number. And for a classifier this is all fine: it wants one answer
# for the whole image, wherever the object is. To segment, we want an answer for each place.
#
# ## The same 64 numbers as a convolution
#
# A row of the dense matrix has one weight for each pixel of the 4 x 4 map: it *is* a 4 x 4 kernel (커널). So the
# dense layer is a convolution with four kernels, each as large as the map, which fits at one place only.

# %%
as_kernels = dense.reshape(4, 1, 4, 4)
by_convolution = ops.conv2d(x, as_kernels)

assert by_convolution.shape == (1, 4, 1, 1)
assert np.allclose(by_convolution.ravel(), ops.linear(vector, dense).ravel())
assert np.array_equal(matrices.conv2d_matrix(as_kernels, (4, 4)).toarray(), dense)
by_convolution.ravel()

# %% [markdown]
# Nothing was computed or learned anew; the numbers only changed their shape. But a convolution takes larger images.
# On 5 x 6 pixels the four kernels fit at 2 x 3 places, and the dense layer's four answers become four *maps*.

# %%
larger = rng.integers(0, 5, (1, 1, 5, 6)).astype(float)
maps = ops.conv2d(larger, as_kernels)[0]

assert maps.shape == (4, 2, 3)
assert np.allclose(maps[:, 1, 2], ops.linear(larger[:, :, 1:5, 2:6].reshape(1, 16), dense)[0])
figures.side_by_side({"image": larger[0, 0]} | {f"output {o}": maps[o] for o in range(4)})

# %% [markdown]
# In VGG16, the first dense layer **fc6** sees the 7 x 7 map that five poolings leave of 224 x 224 pixels. So fc6
# becomes a **7 x 7** convolution. fc7 and the classes' scores see a single pixel after that: they become 1 x 1
# convolutions.

# %%
specs = vgg().parameter_specs
for name in ("fc6.weight", "fc7.weight"):
    print(f"{name}: {specs[name].shape}, {np.prod(specs[name].shape):,} weights")
assert specs["fc6.weight"].shape == (4096, 512, 7, 7)
assert specs["fc7.weight"].shape == (4096, 4096, 1, 1)

# %% [markdown]
# ## A classifier of our own
#
# To see it work we need a classifier. Ours looks at 32 x 32 pixels and tells five kinds of objects and the empty
# background apart. `draw` puts one object into an image, turned by chance, in one of two contrasts.


# %%
def draw(image, labels, kind, centre, radius, rng):
    """Draw one object into the image, and its class into the labels."""
    rows, columns = np.indices(image.shape, np.float32)
    y, x, angle = rows - centre[0], columns - centre[1], rng.uniform(0, 2 * np.pi)
    u = (np.cos(angle) * x + np.sin(angle) * y).astype(np.float32)
    v = (np.cos(angle) * y - np.sin(angle) * x).astype(np.float32)
    inside = KINDS[kind].form(u / radius, v / radius)
    shade = 2 * KINDS[kind].texture(u, v, rng).astype(np.float32) - 1  # -1 ... 1; the background is 0
    image[inside] = rng.choice([-1, 1]) * shade[inside]
    labels[inside] = kind


def noisy(image):
    """With a little noise, as from a camera."""
    return image + 0.1 * rng.standard_normal(image.shape, dtype=np.float32)


def one_object(kind):
    """An image of 32 x 32 with one object somewhere near its middle; with none for the background, class 0."""
    image, labels = np.zeros((32, 32), np.float32), np.zeros((32, 32), np.int64)
    if kind > 0:
        draw(image, labels, kind, centre=rng.uniform(9, 23, 2), radius=rng.uniform(7, 9), rng=rng)
    return noisy(image)


def grey(image):
    """For the eye: -1 ... 1 as black ... white."""
    return np.repeat(np.clip(image * 100 + 128, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


names = [kind.name for kind in KINDS]
figures.side_by_side({name: grey(one_object(kind)) for kind, name in enumerate(names)}, columns=6)

# %% [markdown]
# The network: two convolutions with pooling (풀링) after each, then two dense layers, fc3 and fc4. No padding (패딩)
# anywhere; that will make a point below.

# %%
classifier = Graph(
    chain(
        [
            ("conv1", Conv2d(1, 8, 5)),  # 32 -> 28
            ("relu1", ReLU()),
            ("pool1", MaxPool2d(2)),  # -> 14
            ("conv2", Conv2d(8, 16, 5)),  # -> 10
            ("relu2", ReLU()),
            ("pool2", MaxPool2d(2)),  # -> 5
            ("flatten", Flatten((16, 5, 5))),
            ("fc3", Linear(16 * 5 * 5, 64)),
            ("relu3", ReLU()),
            ("fc4", Linear(64, 6)),
        ]
    ),
    input_channels=1,
)

optimiser, steps = Adam(), 300
for step in range(steps):
    truth = rng.integers(0, 6, 32)
    images = np.stack([one_object(kind) for kind in truth])[:, None]
    logits, saved = classifier.forward(images, training=True)
    loss, grad = cross_entropy(logits[:, :, None, None], truth[:, None, None])  # an image is one pixel of a map
    gradients = classifier.backward(grad[:, :, 0, 0], saved)
    optimiser.update(classifier.parameters, gradients, 2e-3 * (1 - step / steps))

truth = rng.integers(0, 6, 300)
answers = classifier(np.stack([one_object(kind) for kind in truth])[:, None]).argmax(axis=1)
accuracy = (answers == truth).mean()
print(f"right in {accuracy:.0%} of 300 new images")
assert accuracy > 0.9

# %% [markdown]
# ## Convolutionalise it
#
# `npseg.models.convolutionalise` does to the whole classifier what we did to one layer: fc3 becomes a 5 x 5
# convolution, fc4 a 1 x 1 convolution named `score_fr`, as in FCN's authors' code. It is a **fully convolutional
# network** (완전 합성곱 신경망, FCN) now: it has no layer that fits one size only.

# %%
scorer = convolutionalise(classifier)

for name in ("fc3", "score_fr"):
    print(f"{name}: {scorer.parameters[f'{name}.weight'].shape}")
assert np.array_equal(scorer.parameters["fc3.weight"].ravel(), classifier.parameters["fc3.weight"].ravel())

# %% [markdown]
# A larger image, of 96 x 128 pixels with six objects:

# %%
scene = np.zeros((96, 128), np.float32)
scene_labels = np.zeros((96, 128), np.int64)
for kind, centre in ((1, (22, 20)), (2, (24, 66)), (3, (26, 108)), (4, (72, 24)), (5, (70, 64)), (2, (72, 106))):
    draw(scene, scene_labels, kind, centre, radius=9, rng=rng)
scene = noisy(scene)

scores = scorer(scene[None, None])
print("score map:", scores.shape)
assert scores.shape == (1, 6, 17, 25)

# %% [markdown]
# One pass gave 17 x 25 answers, one at every fourth pixel: two poolings of stride (스트라이드) 2 make a stride of 4.
# Each is what the classifier says of a 32 x 32 window. That can be checked, at all 425 places. (Exactly so only
# because nothing is padded: a padded network sees zeros around its 32 x 32 pixels where the large image has
# neighbours.)

# %%
windows = np.stack([scene[4 * i : 4 * i + 32, 4 * j : 4 * j + 32] for i in range(17) for j in range(25)])[:, None]
one_by_one_scores = classifier(windows)

assert np.allclose(one_by_one_scores.T.reshape(6, 17, 25), scores[0], rtol=1e-3, atol=1e-3)

# %% [markdown]
# And it is cheap, because neighbouring windows share nearly all of their work:

# %%
window_macs = summary(classifier, (32, 32)).macs
whole_macs = summary(scorer, (96, 128)).macs
print(f"425 windows, one by one:  {425 * window_macs:13,} multiply-accumulates")
print(f"the image, in one pass:   {whole_macs:13,}")
print(f"                          {425 * window_macs / whole_macs:13.1f} times as many")
assert 425 * window_macs > 10 * whole_macs

# %% [markdown]
# ## The class heat maps
#
# The scores are logits (로짓); softmax turns them into probabilities. Each class has its map, light where the class
# is likely. The classifier was told *what* is in an image, never *where*; yet here it shows where.

# %% tags=["thumbnail"]
probabilities = ops.softmax(scores)[0]

for kind in range(1, 6):
    rows, columns = np.nonzero(scene_labels == kind)
    i, j = round((rows.mean() - 15.5) / 4), round((columns.mean() - 15.5) / 4)
    if kind != 2:  # there are two squares, and their mean lies between them
        assert probabilities[kind, i, j] > 0.5, names[kind]
figures.side_by_side(
    {"image": grey(scene)} | {f"{name}?": probabilities[kind] for kind, name in enumerate(names)}, columns=4
)

# %% [markdown]
# ## From scores to pixels
#
# For a segmentation map (분할 맵), upsampling (업샘플링) must bring the 17 x 25 scores back to 96 x 128 pixels: a
# transposed convolution (전치 합성곱) of stride 4 that begins as bilinear interpolation (양선형 보간), as in [lesson
# 08](08_transposed.ipynb). But where on the image do its pixels lie? Entry i of the score map saw pixels 4 i to 4 i +
# 31, so it lies at their middle, x = 4 i + 15.5.

# %%
rows, columns = scorer.coordinates()["score_fr"]
print(f"x = a i + b with a = {rows.scale}, b = {float(rows.offset)}")
assert (rows.scale, rows.offset) == (4, 15.5)
assert rows == columns

# %% [markdown]
# The first entry lies 15.5 pixels inside the image: no window has its middle near the border. FCN's answer is to pad
# the image (by 100 zeros in the paper, by 16 here) and to crop (자르기) the enlarged map where it aligns. Three
# changes to the network, and it is one that segments:

# %%
first, *others = scorer.nodes
fcn = Graph(
    [
        Node(first.name, replace(first.layer, padding=16), first.inputs),
        *others,
        Node("upscore", ConvTranspose2d(6, 6, 8, 4), ("score_fr",)),
        Node("score", Crop(4), ("upscore", "image")),
    ],
    input_channels=1,
)
initialise_from(fcn, scorer)

for name in ("score_fr", "upscore", "score"):
    along_height, _ = fcn.coordinates((96, 128))[name]
    _, height, width = fcn.shapes((96, 128))[name]
    print(f"{name:8}  {height:3} x {width:3}   a = {along_height.scale}, b = {float(along_height.offset):g}")
assert along_height.scale == 1
assert along_height.offset == 0

# %% [markdown]
# The last map has the image's size and lies on its pixels: x = i. (How the crop of 4 follows is a theme of [lesson
# 10](10_skips.ipynb).) The class of each pixel is the one with the largest score:

# %%
predicted = ops.segmentation_map(fcn(scene[None, None]))[0]
confusion = ConfusionMatrix(names)
confusion.update(scene_labels, predicted)
metrics = confusion.metrics()

print(f"pixel accuracy {metrics['pixel_accuracy']:.0%}, mean IU {metrics['mean_iu']:.0%}")
assert predicted.shape == scene.shape
assert metrics["mean_iu"] < 0.7
figures.fcn_predictions(
    grey(scene),
    {"classifier, convolutionalised": predicted},
    names,
    np.array([kind.color for kind in KINDS], np.uint8),
    labels=scene_labels,
)

# %% [markdown]
# Right in kind, coarse in form: the network says "a square is within this window" and not "this pixel is a square's".
# Two things are missing. It must be **trained on pixels**, with a label for each: then the same layers learn to
# answer for the window's middle ([lesson 11](11_training.ipynb)). And the **fine detail**, which the poolings threw
# away, must come back from earlier layers: the skips of [lesson 10](10_skips.ipynb).
#
# ## Exercises
#
# Put your answer in the place of `...` and run the cell, the folded one below it (it holds the solution, and uses it
# only where you gave no answer), and the check.
#
# **1.** What size (rows, columns) has the score map of `scorer` for an image of 64 x 100 pixels?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = ((64 - 32) // 4 + 1, (100 - 32) // 4 + 1)

# %%
assert answer == scorer.shapes((64, 100))["score_fr"][1:]
print(f"Right: {answer[0]} x {answer[1]} windows of 32 x 32 fit, at a stride of 4.")

# %% [markdown]
# **2.** AlexNet's fc6 sees a map of 256 channels and 6 x 6 pixels and has 4096 outputs. How many weights (without
# bias) has it as a convolution?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = 4096 * 256 * 6 * 6

# %%
assert answer == np.prod(Conv2d(256, 4096, 6).parameter_specs()["weight"].shape)
assert answer == np.prod(Linear(256 * 6 * 6, 4096).parameter_specs()["weight"].shape)
print(f"Right: {answer:,}, as many as before.")

# %% [markdown]
# **3.** Write `as_kernel(weight, shape)`, which turns the weight (C_out, C * H * W) of a dense layer on a map of
# `shape` (C, H, W) into the weight of the convolution that does the same; then `answer = as_kernel`.

# %% tags=["exercise"]
answer = ...


# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
def as_kernel(weight, shape):
    """The same numbers, in the order (C, H, W) in which a map is flattened."""
    return weight.reshape(len(weight), *shape)


if answer is ...:
    answer = as_kernel

# %%
some_map, some_weight = rng.standard_normal((2, 3, 5, 4)), rng.standard_normal((7, 60))
assert np.allclose(
    ops.conv2d(some_map, answer(some_weight, (3, 5, 4)))[:, :, 0, 0], ops.linear(some_map.reshape(2, 60), some_weight)
)
print("Right: a dense layer is a convolution as large as its map.")
