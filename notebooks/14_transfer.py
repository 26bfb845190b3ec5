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
# # 14 Transfer learning, all self-made
#
# After this lesson you can
#
# - train a classifier from labels that cost one word an image;
# - turn it into a fully convolutional network (완전 합성곱 신경망), and fine-tune that on few labelled scenes;
# - compare it fairly with one that starts from random weights, and say what the classifier was worth.
#
# Nothing is downloaded: all images are drawn here. Builds on: [09 from classifier to FCN](09_classifier_to_fcn.ipynb)
# and [11 training](11_training.ipynb) · all lessons: [README](README.md)
#
# The code behind it: [`npseg/data/shapes.py`](../npseg/data/shapes.py),
# [`npseg/models/convolutionalise.py`](../npseg/models/convolutionalise.py),
# [`npseg/training/transfer.py`](../npseg/training/transfer.py)

# %%
import numpy as np

from npseg import buffers, ops
from npseg.data import Normalise, Shapes, SingleShapes
from npseg.models import convolutionalise, fcn, vgg_classifier
from npseg.nn import cross_entropy
from npseg.teaching import figures
from npseg.teaching.figures.style import BLUE, ORANGE, Picture, quiet
from npseg.training.evaluation import confusion, segment
from npseg.training.optimisers import Adam
from npseg.training.samples import cached
from npseg.training.schedules import polynomial

names, colors = Shapes.classes, Shapes.colors
normalise = Normalise()  # 0 ... 255 becomes -2 ... 2

# %% [markdown]
# ## Two kinds of labels
#
# To label a scene for semantic segmentation (의미론적 분할), someone must say for each pixel (픽셀) what it shows. To
# label an image for classification, one word is enough. So there are far more of the second kind: FCN's authors
# had 1,112 segmented photographs, and a classifier trained on 1.2 million.
#
# `SingleShapes` draws images with one object each, or none, and one label for the whole:

# %%
singles = cached(SingleShapes(3000))
figures.side_by_side({f"{k}: {names[singles[k].labels]}": singles[k].image for k in range(6)})

# %% [markdown]
# `Shapes` draws scenes with several objects, and a label map. A scene has 64 x 64 labels, so 64 scenes have

# %%
scenes = cached(Shapes(64))
print(f"{sum(scene.labels.size for scene in scenes):,} labels, against {len(singles):,} of the single objects")
assert singles[0].labels.size == 1

# %% [markdown]
# ## The classifier
#
# A small VGG: five stages of a convolution (합성곱) and a pooling (풀링), then three fully connected layers. They
# fit images of 64 x 64 pixels and no others.


# %%
def new_classifier(seed=0):
    """Five convolutions and three fully connected layers."""
    return vgg_classifier((16, 16, 32, 32, 32), (1, 1, 1, 1, 1), 64, 6, (64, 64), dropout=0.0, seed=seed)


classifier = new_classifier()
for name, (channels, *place) in classifier.shapes((64, 64)).items():
    if name.startswith(("pool", "fc")):
        print(f"{name}: {channels} channels" + "".join(f" x {length}" for length in place))
assert classifier.shapes((64, 64))["pool5"] == (32, 2, 2)

# %% [markdown]
# The training loop is that of lesson 11. It does not ask what kind of labels it gets: the cross-entropy (교차
# 엔트로피) takes logits (로짓) with one label for each image as well as with one for each pixel.


# %%
@buffers.reused()
def train(network, dataset, steps, batch_size, rate, after=None):
    """Train with Adam and a learning rate that falls to zero; `after` sees the network after each step."""
    optimiser, rng = Adam(), np.random.default_rng(14)
    images = np.stack([normalise(sample.image) for sample in dataset])
    labels = np.stack([sample.labels for sample in dataset])
    for step in range(steps):
        batch = rng.integers(0, len(images), batch_size)
        logits, saved = network.forward(images[batch], training=True)
        _, grad = cross_entropy(logits, labels[batch])
        gradients = network.backward(grad, saved)
        optimiser.update(network.parameters, gradients, rate * polynomial(step, steps=steps))
        if after:
            after(step + 1, network)


train(classifier, singles, steps=600, batch_size=16, rate=3e-3)

new_singles = SingleShapes(300, split="val")
accuracy = confusion(classifier, new_singles, normalise).metrics()["pixel_accuracy"]  # an image counts as one pixel
print(f"right in {accuracy:.0%} of {len(new_singles)} new images")
assert accuracy > 0.75

# %% [markdown]
# ## It becomes convolutional
#
# fc6 sees all of pool5, 2 x 2 pixels with 32 channels: the same weights are a 2 x 2 kernel (커널). fc7 and the
# scores become 1 x 1. Not one number changes.

# %%
scorer = convolutionalise(classifier)

for old, new in (("fc6", "fc6"), ("fc7", "fc7"), ("fc8", "score_fr")):
    dense, kernel = classifier.parameters[f"{old}.weight"], scorer.parameters[f"{new}.weight"]
    print(f"{old} {dense.shape!s:10}  ->  {new} {kernel.shape}")
    assert np.array_equal(dense.ravel(), kernel.ravel())

# %% [markdown]
# Now it takes an image of any size. Here are 16 new images of single objects side by side, 256 x 256 pixels. One pass
# gives 7 x 7 answers: at every 32nd pixel, what a window of 64 x 64 shows.

# %%
tiles = [new_singles[k].image for k in range(16)]
mosaic = np.concatenate([np.concatenate(tiles[4 * row : 4 * row + 4], axis=1) for row in range(4)])
probabilities = ops.softmax(scorer(normalise(mosaic)[None]))[0]

assert probabilities.shape == (6, 7, 7)
truth = np.array([new_singles[k].labels for k in range(16)]).reshape(4, 4)
found = probabilities.argmax(axis=0)[::2, ::2]  # every second window is just one of the tiles
print(f"of the 16 windows that are a tile, right: {(found == truth).sum()}")
assert (found == truth).sum() >= 10

# %% [markdown]
# Each class has its map of probabilities, a heat map: light where the window shows this class. Nobody ever said where
# anything was. (Windows across two images see the edge between two backgrounds. No training image had that, and the
# plain disc is what it resembles most.)

# %% tags=["thumbnail"]
picture = Picture(figsize=(11, 3.2), layout="constrained")
whole, *panels = picture.subplots(1, 6, width_ratios=(1.4, 1, 1, 1, 1, 1))
whole.imshow(mosaic)
whole.set(title="16 images as one", xticks=[], yticks=[])
for kind, axes in enumerate(panels, start=1):
    axes.imshow(probabilities[kind], cmap="gray", vmin=0, vmax=1)
    axes.set(title=f"{names[kind]}?", xticks=[], yticks=[])
picture

# %% [markdown]
# ## Two beginnings
#
# Where, it knows only to some 32 pixels. `fcn` adds what is missing: skip connections (스킵 연결) from pool4 and
# pool3, whose score layers start at zero, and upsampling (업샘플링) that starts as bilinear interpolation (양선형
# 보간). So before its first step the FCN says what the classifier says, enlarged.
#
# The other network has the same layers, with random weights.


# %%
def beginning(name):
    """The same FCN-8s, from the classifier or from random weights."""
    if name == "classifier":
        return fcn(convolutionalise(classifier), 6, 8)
    return fcn(convolutionalise(new_classifier(seed=1), scores=False), 6, 8)


sizes = [sum(value.size for value in beginning(name).parameters.values()) for name in ("classifier", "random")]
print(f"{sizes[0]:,} parameters each")
assert sizes[0] == sizes[1]

new_scenes = cached(Shapes(60, split="val"))


def mean_iu(network):
    """On scenes that no network has learned from."""
    return confusion(network, new_scenes, normalise).metrics()["mean_iu"]


# %% [markdown]
# ## A fair comparison
#
# Both get the same 64 scenes, the same batches and the same number of steps. And both get their own learning rate
# (학습률): a rate that suits one beginning may be wrong for the other, and who tries rates for one side only finds
# what he wishes to find. So we try the same rates for both. (Strictly, the rate should be chosen on other scenes than
# those that we report; the benchmark does so.)

# %%
steps, rates = 300, (1e-3, 3e-3, 1e-2)
lines = dict(zip(rates, ("--", "-", ":"), strict=True))
curves = {}
networks = {}
for name in ("random", "classifier"):
    for rate in rates:
        networks[name, rate], curves[name, rate] = beginning(name), {}

        def watch(step, network, curve=curves[name, rate]):
            if step % 75 == 0:
                curve[step] = mean_iu(network)

        train(networks[name, rate], scenes, steps, batch_size=4, rate=rate, after=watch)

picture = Picture(figsize=(9, 3.4), layout="constrained")
axes = picture.subplots()
for (name, rate), curve in curves.items():
    color, line = BLUE if name == "classifier" else ORANGE, lines[rate]
    label = f"from {'the classifier' if name == 'classifier' else 'random weights'}, rate {rate}"
    axes.plot(*zip(*curve.items(), strict=True), color=color, linestyle=line, marker="o", markersize=4, label=label)
axes.set(title="Fine-tuning on 64 scenes", xlabel="step", ylabel="mean IU on new scenes", ylim=(0, None))
axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
quiet(axes)
picture

# %%
best = {name: max(rates, key=lambda rate: curves[name, rate][steps]) for name in ("random", "classifier")}
final = {name: curves[name, rate][steps] for name, rate in best.items()}
for name, reached in final.items():
    print(f"from {name:10}  rate {best[name]}  mean IU {reached:.1%}")
assert final["classifier"] > final["random"] + 0.02

# %% [markdown]
# The classifier's layers know edges, textures and forms already; the scenes need only teach where they end. Look at a
# scene:

# %%
scene = new_scenes[12]
seen = {f"from {name}": segment(networks[name, rate], [scene.image], normalise)[0] for name, rate in best.items()}
figures.fcn_predictions(scene.image, seen, names, colors, labels=scene.labels)

# %% [markdown]
# ## When is it worth it?
#
# When labelled scenes are few, or steps are. The more of both, the more the scenes themselves teach. The table that
# `python -m benchmarks.transfer_shapes` makes says how much, for several numbers of scenes and with a larger network.
# On the command line it is
#
# ```sh
# npseg pretrain --output runs/classifier
# npseg train --init-from runs/classifier
# ```
#
# ## Exercises
#
# Put your answer in the place of `...` and run the cell, the folded one below it (it holds the solution, and uses it
# only where you gave no answer), and the check.
#
# **1.** A classifier of this kind, with five poolings, for images of 96 x 160 pixels: what size (rows, columns) has
# the kernel that its fc6 becomes?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = (96 // 32, 160 // 32)

# %%
wide = convolutionalise(vgg_classifier((2, 2, 2, 2, 2), (1, 1, 1, 1, 1), 4, 6, (96, 160)))
assert answer == wide.parameters["fc6.weight"].shape[2:]
print(f"Right: {answer[0]} x {answer[1]}, the map that five poolings leave.")

# %% [markdown]
# **2.** How many parameters of the FCN-8s do *not* come from the classifier? They are the score layers of pool4 and
# pool3 (32 channels each, to 6 classes, with bias) and three transposed convolutions (전치 합성곱) from 6 to 6 classes,
# without bias, of 4 x 4, 4 x 4 and 16 x 16 taps.

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = 2 * (32 * 6 + 6) + 6 * 6 * (4 * 4 + 4 * 4 + 16 * 16)

# %%
taken = sum(value.size for value in classifier.parameters.values())
assert answer == sizes[0] - taken
print(f"Right: {answer:,} are new, and {taken:,} are the classifier's.")

# %% [markdown]
# **3.** Write `transfer(theirs, mine)`: for each name in the dictionary `theirs` (a classifier's parameters), copy its
# numbers into `mine` (an FCN's). The classifier's `fc8` is the FCN's `score_fr`, and dense weights need the kernel's
# shape. Then `answer = transfer`.

# %% tags=["exercise"]
answer = ...


# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
def transfer(theirs, mine):
    """The same numbers, under the FCN's names, in its shapes."""
    for name, value in theirs.items():
        target = mine[name.replace("fc8", "score_fr")]
        target[...] = value.reshape(target.shape)


if answer is ...:
    answer = transfer

# %%
by_hand = beginning("random")
answer(classifier.parameters, by_hand.parameters)
by_npseg = beginning("classifier")
assert all(np.array_equal(value, by_npseg.parameters[name]) for name, value in by_hand.parameters.items())
print("Right: the FCN that `convolutionalise` and `fcn` make.")
