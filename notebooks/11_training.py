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
# # 11 Training
#
# After this lesson you can
#
# - tell a summed loss from a mean one, and say why FCN's learning rates are as small as 1e-10;
# - choose a learning rate, and say what momentum does;
# - read the four metrics, and see through a pixel accuracy that flatters;
# - train on photographs of your own.
#
# Previous: [10 skips](10_skips.ipynb) · next: [12 fast kernels](12_fast_kernels.ipynb) · all lessons:
# [README](README.md)
#
# The code behind it: [`npseg/ops/classification.py`](../npseg/ops/classification.py),
# [`npseg/training/optimisers.py`](../npseg/training/optimisers.py),
# [`npseg/training/loop.py`](../npseg/training/loop.py), [`npseg/training/metrics.py`](../npseg/training/metrics.py)

# %%
import numpy as np

from npseg import ops
from npseg.data import Compose, RandomHorizontalFlip, Shapes
from npseg.models import fcn, vgg
from npseg.nn import cross_entropy
from npseg.teaching import figures
from npseg.teaching.figures.style import BLUE, GREEN, ORANGE, Picture, quiet
from npseg.training import baselines
from npseg.training.batches import Batches
from npseg.training.evaluation import confusion, segment
from npseg.training.metrics import ConfusionMatrix
from npseg.training.optimisers import SGD
from npseg.training.samples import cached, fit_normalisation, median_frequency_weights
from npseg.training.schedules import polynomial

rng = np.random.default_rng(11)

# %% [markdown]
# ## The loss of one pixel, and of all
#
# The network gives each pixel (픽셀) a logit (로짓) for each class; softmax makes probabilities of them. The loss
# (손실) of a pixel is the cross-entropy (교차 엔트로피): minus the logarithm of the probability that its true class
# got. Its gradient (기울기) is simple: the probabilities, minus 1 at the true class.

# %%
logits = rng.standard_normal((2, 6, 48, 64))
labels = rng.integers(0, 6, (2, 48, 64))
probabilities = ops.softmax(logits)

each = ops.cross_entropy2d(logits, labels, reduction="none")
gradient = ops.cross_entropy2d_backward(logits, labels, reduction="sum")

assert np.isclose(each[0, 5, 7], -np.log(probabilities[0, labels[0, 5, 7], 5, 7]))
minus_one = probabilities[0, :, 5, 7] - (np.arange(6) == labels[0, 5, 7])
assert np.allclose(gradient[0, :, 5, 7], minus_one)

# %% [markdown]
# An image has many pixels, so there is a choice: **add** their losses, or take the **mean**? The gradients point the
# same way. They differ by a factor, the number of pixels.

# %%
total, gradient_of_total = cross_entropy(logits, labels, reduction="sum")
mean, gradient_of_mean = cross_entropy(logits, labels, reduction="mean")

print(f"sum {total:.1f}, mean {mean:.4f}, ratio {total / mean:.0f}, pixels {labels.size}")
assert np.isclose(total / mean, labels.size)
assert np.allclose(gradient_of_total, labels.size * gradient_of_mean)

# %% [markdown]
# A step goes `rate * gradient`. So a sum needs a learning rate (학습률) that is smaller by the number of pixels.
# FCN's authors summed over images of about 500 x 500 pixels, one image per step, and took 1e-10 for FCN-32s. With a
# mean over the image that would be 2.5e-5, which looks far less strange.
#
# The mean has another side: it hides how much an image counts. With the sum, a large image weighs more than a small
# one, and an image with few labelled pixels weighs less.

# %%
pixels = 500 * 500
print(f"1e-10 for the sum is {1e-10 * pixels:.1e} for the mean")
assert np.isclose(1e-10 * pixels, 2.5e-5)

# %% [markdown]
# Pixels that nobody labelled (borders, doubtful places) carry the label 255. They are left out: no loss, no gradient,
# and they do not count in the mean.

# %%
partly = labels.copy()
partly[:, :24] = 255
loss, gradient = cross_entropy(logits, partly)

assert not gradient[:, :, :24].any()
assert np.isclose(loss, each[:, 24:].mean())

# %% [markdown]
# ## Momentum
#
# Plain gradient descent has trouble with a long valley: steep walls, a gentle floor. A rate that does not throw it
# from wall to wall creeps along the floor. **Momentum** (모멘텀) keeps a share of the last step and adds the new one:
# what goes to and fro cancels, what goes on in one direction adds up. It swings more, and arrives sooner.
#
#     velocity  <- momentum * velocity - rate * gradient
#     parameter <- parameter + velocity

# %%
steepness = np.array([1.0, 30.0])  # of the loss (x^2 + 30 y^2) / 2


def walk(momentum, rate, steps=40):
    """Where the steps lead from (-9, 1)."""
    place, optimiser = {"place": np.array([-9.0, 1.0])}, SGD(momentum, weight_decay=0)
    way = [place["place"].copy()]
    for _ in range(steps):
        optimiser.update(place, {"place": steepness * place["place"]}, rate)
        way.append(place["place"].copy())
    return np.array(way)


picture = Picture(figsize=(9, 2.8), layout="constrained")
axes = picture.subplots()
x, y = np.meshgrid(np.linspace(-10, 3, 200), np.linspace(-1.6, 1.6, 100))
axes.contour(x, y, (x**2 + 30 * y**2) / 2, levels=12, colors="0.85")
for momentum, color in ((0.0, ORANGE), (0.7, BLUE)):
    way = walk(momentum, 0.03)
    axes.plot(*way.T, color=color, marker="o", markersize=3, linewidth=1, label=f"momentum {momentum}")
axes.set(title="40 steps at rate 0.03", xlabel="x", ylabel="y")
axes.legend(frameon=False)
quiet(axes)
assert np.linalg.norm(walk(0.7, 0.03)[-1]) < np.linalg.norm(walk(0.0, 0.03)[-1]) / 10
picture

# %% [markdown]
# Where the gradient stays the same, the steps grow to `rate / (1 - momentum)`: 10 times the rate with 0.9, 100 times
# with 0.99. Rate and momentum must be judged together. (FCN: 0.9 with batches of 20 images, later 0.99 with one image
# per step, which averages over some hundred recent images, as a batch does.)
#
# ## The training loop
#
# Our data are generated shapes: 800 scenes of 64 x 64 to learn from and 40 others to validate on. Form and texture
# tell the five classes from the background, never the colour.

# %%
training = cached(Shapes(800))
validation = cached(Shapes(40, split="val"))
normalise = fit_normalisation(training)  # mean 0, deviation 1
batches = Batches(training, Compose([RandomHorizontalFlip()]), normalise, batch_size=8, seed=0)

figures.side_by_side({training[k].name: training[k].image for k in range(5)})

# %% [markdown]
# One step of training is five lines: a batch, forward, loss, backward, update. This is all of it.


# %%
def new_network(stride):
    """A small FCN: one convolution in each stage."""
    return fcn(vgg((12, 16, 24, 32, 32), (1, 1, 1, 1, 1), 64, dropout=0.0), 6, stride)


def train(network, steps, rate, after=None):
    """Train with SGD and a rate that falls to zero; the loss of each step, until it is no number any more."""
    optimiser, losses = SGD(momentum=0.9, weight_decay=5e-4), []
    for step in range(steps):
        images, labels = batches.batch(step)
        logits, saved = network.forward(images, training=True)
        loss, grad = cross_entropy(logits, labels)
        losses.append(float(loss))
        diverged = optimiser.update(
            network.parameters, network.backward(grad, saved), rate * polynomial(step, steps=steps)
        )
        if diverged or not np.isfinite(loss):
            break
        if after:
            after(step + 1, network)
    return losses


# %% [markdown]
# ## Which learning rate?
#
# Try a few, some steps each, and look at the loss. Too small a rate learns slowly; too large a rate leaps out of
# every valley, until the numbers leave the range. Good rates lie not far below that edge.

# %%
picture = Picture(figsize=(9, 3.2), layout="constrained")
axes = picture.subplots()
reached = {}
for rate, color, line in ((0.001, ORANGE, ":"), (0.05, BLUE, "-"), (1.0, GREEN, "--")):
    losses = train(new_network(8), 60, rate)
    finished = len(losses) == 60
    reached[rate] = np.mean(losses[-10:]) if finished else np.inf
    name = f"rate {rate}" if finished else f"rate {rate}: out of range after {len(losses)} steps"
    axes.plot(np.minimum(losses, 3), color=color, linestyle=line, marker="" if finished else "x", label=name)
axes.set(title="The loss at three learning rates", xlabel="step", ylabel="loss (cut off at 3)", ylim=(0, 3.05))
axes.legend(frameon=False)
quiet(axes)
assert reached[0.05] < reached[0.001]
assert reached[1.0] == np.inf
picture

# %% [markdown]
# The loss of the first step is no surprise: the score layers start at zero, so all six classes get the probability
# 1/6, and -log(1/6) = 1.79.

# %%
images, labels = batches.batch(0)
first, _ = cross_entropy(new_network(8)(images), labels)
assert np.isclose(first, np.log(6), rtol=1e-5)
print(f"{first:.2f}")

# %% [markdown]
# ## Two networks
#
# FCN-8s and FCN-32s, 560 steps each, from scratch. The rate falls to zero along a polynomial, so that the last steps
# settle.

# %%
steps = 560
curves, validated, networks = {}, {}, {}
for stride in (32, 8):
    name = f"FCN-{stride}s"
    networks[name], validated[name] = new_network(stride), {}

    def validate(step, network, found=validated[name]):
        if step % 140 == 0:
            found[step] = confusion(network, validation, normalise).metrics()["mean_iu"]

    curves[name] = train(networks[name], steps, rate=0.05, after=validate)

picture = Picture(figsize=(9, 3.2), layout="constrained")
left, right = picture.subplots(1, 2)
for (name, losses), color, marker in zip(curves.items(), (ORANGE, BLUE), ("s", "o"), strict=True):
    left.plot(np.convolve(losses, np.ones(40) / 40, "valid"), color=color, label=name)
    right.plot(*zip(*validated[name].items(), strict=True), color=color, marker=marker, label=name)
left.set(title="Training loss, mean of 40 steps", xlabel="step", ylabel="loss")
right.set(title="Validation: mean IU", xlabel="step", ylim=(0, 0.8))
for axes in (left, right):
    axes.legend(frameon=False)
    quiet(axes)
picture

# %% [markdown]
# The loss on the training images says that something is learned; only the validation says whether it holds for
# others.
#
# ## The four metrics
#
# All come from one table, the confusion matrix: which class was taken for which. Here each row (the truth) in
# percent.

# %%
counts = {name: confusion(network, validation, normalise) for name, network in networks.items()}
tables = {name: count.counts for name, count in counts.items()}
in_percent = {name: np.round(100 * table / table.sum(axis=1, keepdims=True)) for name, table in tables.items()}

print("0 ... 5: " + ", ".join(training.classes))
figures.side_by_side(in_percent, title="Row: the truth, column: the prediction, in percent of the row")

# %% [markdown]
# - **pixel accuracy**: the share of all pixels that are right;
# - **mean accuracy**: the share within each class, averaged over the classes;
# - **mean IU** (평균 IU): for each class, the pixels that prediction and truth share, over those that either has;
#   averaged. Both kinds of mistakes count, and a small class counts as much as a large one;
# - **frequency weighted IU**: the same, weighted by the size of the class.
#
# Always look beside a predictor that has learned nothing. "Background everywhere" already gets most pixels right!

# %%
lazy = baselines.evaluate(baselines.learn(training), validation).majority
rows = {"background everywhere": lazy} | {name: count.metrics() for name, count in counts.items()}
keys = ("pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu")

print(f"{'':22}" + "".join(f"{key.replace('_', ' '):>24}" for key in keys))
for name, metrics in rows.items():
    print(f"{name:22}" + "".join(f"{metrics[key]:24.1%}" for key in keys))
assert lazy["pixel_accuracy"] > 0.5
assert lazy["mean_iu"] < 0.15
assert rows["FCN-32s"]["mean_iu"] > 1.2 * lazy["mean_iu"]
assert rows["FCN-8s"]["mean_iu"] > 1.5 * rows["FCN-32s"]["mean_iu"]

# %% [markdown]
# On 64 x 64 pixels FCN-32s has no more than 2 x 2 scores; it can say little about where. On the 500 x 500 pixels of
# the paper's photographs the three lie closer together: mean IU 59.4% (32s), 62.4% (16s) and 62.7% (8s), says its
# table 2. The pictures show the rest:

# %%
scene = validation[5]
seen = {name: segment(network, [scene.image], normalise)[0] for name, network in networks.items()}

figures.fcn_predictions(scene.image, seen, training.classes, training.colors, labels=scene.labels)

# %% tags=["thumbnail"]
scene = validation[12]
seen = {name: segment(network, [scene.image], normalise)[0] for name, network in networks.items()}

figures.fcn_predictions(scene.image, seen, training.classes, training.colors, labels=scene.labels)

# %% [markdown]
# ## What photographs change
#
# The loop stays the same. What changes:
#
# - **There are few of them.** Scenes can be drawn without end; labelled photographs are rare. FCN begins with a
#   classifier trained on a million images (here, with the network of another run: `--init-from`), and changes what it
#   sees by chance: flips, scales, crops (`--flip`, `--scale`, `--crop`).
# - **Classes are unequal.** Road and sky fill the image, poles and signs are a few pixels. Pixel accuracy does not
#   notice if they are missing; mean IU does. Class weights can make rare classes count more, such as the median of
#   all frequencies over the class's own:

# %%
weights = median_frequency_weights(training)
for name, weight in zip(training.classes, weights, strict=True):
    print(f"{name:10} {weight:.2f}")
assert weights[0] == min(weights)

# %% [markdown]
# - **Labels have gaps.** They have label 255, as above.
# - **Sizes differ.** A fully convolutional network takes any size, but a batch is one array: cut windows of one size
#   (`--crop`), or take one image per step (`--batch-size 1`) with a high momentum, as FCN's authors did.
# - **Colours matter, light varies.** Normalising by the training images' mean and deviation is the least to do.
#
# A folder of photographs needs this:
#
#     FOLDER/images/a.jpg, b.jpg, ...    the photographs
#     FOLDER/labels/a.png, b.png, ...    one byte for each pixel: the class, or 255
#     FOLDER/classes.csv                 id,name,r,g,b
#     FOLDER/train.txt, val.txt          names without ending, one on each line
#
# and then this, from a shell:
#
#     npseg train --data FOLDER
#
# Without `--data` it trains a larger network than ours on shapes, and for longer. It does what the loop above did,
# with Adam instead of SGD, and writes a log, curves, pictures and checkpoints; `npseg train --resume RUN` goes on
# after an interruption.
#
# ## On real photographs
#
# That command, its defaults, and 60 photographs of streets from CamVid to learn from (160 x 120 pixels, 11 classes, no
# pretrained weights, 1,400 steps of four images) gave this on 20 other photographs:
#
# ![Photographs, their labels, and what FCN-8s saw](../benchmarks/results/camvid-predictions.png)
#
# | | mean IU | pixel accuracy |
# |---|---|---|
# | FCN-8s | 34.2% | 81.2% |
# | the most frequent class of each position | 16.7% | 59.0% |
# | the most frequent class | 2.8% | 31.3% |
#
# Here one sees why one number is not enough. Four pixels of five are right, since road (IU 88.5%), sky (83.2%) and
# building (68.1%) are large. Mean IU is low because the thin and rare classes are hardly learned: pole 0.8%, sign 4.1%,
# pedestrian 3.1%. And the loss of training goes on falling after mean IU has ceased to rise much, as it does
# where images are few:
#
# ![Loss, validation metrics and learning rate on CamVid](../benchmarks/results/camvid-curves.png)
#
# All numbers, and those of other data, are in the [README](../README.md#what-it-reaches). Photographs and labels:
# Brostow, Fauqueur, Cipolla, "Semantic object classes in video: a high-definition ground truth database" (2009).
#
# ## Exercises
#
# Put your answer in the place of `...` and run the cell, the folded one below it (it holds the solution, and uses it
# only where you gave no answer), and the check.
#
# **1.** A rate of 0.05 was right for the mean over a batch of 8 images of 64 x 64 pixels. Which rate does the same
# with the *sum*?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = 0.05 / (8 * 64 * 64)

# %%
moved = {}
for reduction, rate in (("mean", 0.05), ("sum", answer)):
    network = new_network(8)
    logits, saved = network.forward(images)
    _, grad = cross_entropy(logits, labels, reduction=reduction)
    SGD().update(network.parameters, network.backward(grad, saved), rate)
    moved[reduction] = network.parameters["score_pool3.weight"]
assert moved["mean"].any()
assert np.allclose(moved["mean"], moved["sum"], rtol=1e-3)
print(f"Right: {answer:.2e}.")

# %% [markdown]
# **2.** Of 100 pixels, 80 are road and 20 are sign. A network finds all of the road, but takes 15 of the sign's
# pixels for road. What is the mean IU?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = (80 / (80 + 15) + 5 / 20) / 2

# %%
two = ConfusionMatrix(["road", "sign"])
two.update(np.array([0] * 80 + [1] * 20), np.array([0] * 95 + [1] * 5))
assert np.isclose(answer, two.metrics()["mean_iu"], atol=0.005)
print(f"Right: {answer:.1%}, at a pixel accuracy of {two.metrics()['pixel_accuracy']:.0%}.")

# %% [markdown]
# **3.** The gradient is always 1, the rate is 0.001 and the momentum 0.99. How far does each step go in the end?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = 0.001 / (1 - 0.99)

# %%
place, optimiser = {"place": np.zeros(1)}, SGD(momentum=0.99, weight_decay=0)
for _ in range(2000):
    optimiser.update(place, {"place": np.ones(1)}, 0.001)
assert np.isclose(answer, -optimiser.state["velocity/place"][0], rtol=1e-3)
print(f"Right: {answer:.1f}, a hundred times the rate.")
