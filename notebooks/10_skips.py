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
# # 10 Skips: FCN-32s, FCN-16s, FCN-8s
#
# After this lesson you can
#
# - say what a skip connection brings back, and what exactly is added to what;
# - derive the numbers by which FCN crops, 19, 5, 27, 9 and 31, from one rule;
# - go back through FCN-8s by hand, line by line, and get the gradients that the library gets.
#
# Previous: [09 from classifier to FCN](09_classifier_to_fcn.ipynb) · next: [11 training](11_training.ipynb) · all
# lessons: [README](README.md)
#
# The code behind it: [`npseg/models/fcn.py`](../npseg/models/fcn.py),
# [`npseg/analysis/crops.py`](../npseg/analysis/crops.py), [`npseg/nn/graph.py`](../npseg/nn/graph.py)

# %%
import numpy as np

from npseg import ops
from npseg.analysis import explain_crops
from npseg.data import Shapes
from npseg.geometry import AffineMap, Axis
from npseg.models import fcn, initialise_from, vgg
from npseg.nn import Add, ConvTranspose2d, Crop, cross_entropy
from npseg.nn.initialisation import bilinear
from npseg.teaching import figures
from npseg.teaching.figures.style import BLUE, FAINT, GREEN, ORANGE, Picture, bare
from npseg.training.metrics import ConfusionMatrix

rng = np.random.default_rng(10)

# %% [markdown]
# ## What one score for 32 pixels can say
#
# After five poolings (풀링) VGG16 has one score for every 32 x 32 pixels (픽셀). How good could a segmentation be
# whose scores lie so far apart? Let us cheat and take the scores from the true labels: the share of each class in
# each square of 32, of 16, of 8 pixels, enlarged again by a transposed convolution (전치 합성곱) with bilinear
# weights.


# %%
def enlarge(scores, factor):
    """Bilinear interpolation as a transposed convolution: classes (C, h, w) to (C, factor h, factor w)."""
    weight = bilinear(rng, (len(scores), len(scores), 2 * factor, 2 * factor), scores.dtype)
    return ops.conv_transpose2d(scores[None], weight, stride=factor, padding=factor // 2)[0]


shapes = Shapes(8, seed=1, image_size=(128, 192))
image, labels, _ = shapes[2]
shares = np.stack([labels == kind for kind in range(6)]).astype(float)
at = {stride: ops.avg_pool2d(shares[None], stride)[0] for stride in (32, 16, 8)}
maps = {f"scores at stride {stride}": enlarge(at[stride], stride).argmax(axis=0) for stride in (32, 16, 8)}


def mean_iu(prediction):
    confusion = ConfusionMatrix(shapes.classes)
    confusion.update(labels, prediction)
    return confusion.metrics()["mean_iu"]


best = [mean_iu(prediction) for prediction in maps.values()]
print("mean IU at best, roughly: " + ", ".join(f"{value:.0%}" for value in best))
assert best == sorted(best)
figures.fcn_predictions(image, maps, shapes.classes, shapes.colors, labels=labels)

# %% [markdown]
# At stride (스트라이드) 32 even perfect scores give blobs. This is not what FCN-32s reaches, it is about what it
# *could* reach at best.
#
# ## A skip adds what is missing
#
# The network has seen the fine detail: the map of pool4 has a value for every 16th pixel, that of pool3 for every
# 8th. A **skip connection** (스킵 연결) brings it past the later layers. FCN adds it up: coarse scores, enlarged
# twice, *plus* scores from pool4; enlarged twice again, *plus* scores from pool3; then enlarged 8 times.
#
# What must a skip's scores be? Not the whole answer, just the difference. With our perfect scores it can be seen,
# here for the background's share:

# %% tags=["thumbnail"]
missing16 = at[16] - enlarge(at[32], 2)
missing8 = at[8] - enlarge(at[16], 2)

assert np.allclose(enlarge(enlarge(at[32], 2) + missing16, 2) + missing8, at[8])
background = {
    "every 32nd pixel, enlarged": enlarge(at[32], 2)[0],
    "+ what pool4's scores must add": missing16[0],
    "= every 16th pixel": at[16][0],
    "the sum, enlarged": enlarge(at[16], 2)[0],
    "+ what pool3's scores must add": missing8[0],
    "= every 8th pixel": at[8][0],
}
figures.side_by_side(
    {name: np.kron(values, np.ones((4, 4))) for name, values in background.items()},  # each value as 4 x 4 pixels
    columns=3,
    title="The share of the background: the lighter, the more",
)

# %% [markdown]
# Where nothing is missing, what must be added is 0, the dark grey inside the objects. Along the outlines it is not,
# nor at the image's border, where this way to enlarge fades out.
#
# ## Three networks, one builder
#
# `npseg.models.fcn` makes all three. These are the layers behind the last hidden one, fc7, of FCN-8s on VGG16:

# %%
model = fcn(vgg(), 21, 8, form="paper")
shapes_500 = model.shapes((500, 500))
start = [node.name for node in model.nodes].index("score_fr")
for node in model.nodes[start:]:
    operation = type(node.layer).__name__
    print(f"{node.name:14} {operation:16} {shapes_500[node.name]!s:15} from {' and '.join(node.inputs)}")

assert [node.name for node in model.nodes if isinstance(node.layer, Add)] == ["fuse_pool4", "fuse_pool3"]
assert shapes_500["pool4"][0] == 512
assert shapes_500["score_pool4"][0] == shapes_500["fuse_pool4"][0] == 21

# %% [markdown]
# Two things are easily told wrong:
#
# - What is summed are **scored** maps. pool4 has 512 channels and the coarse scores have 21; they cannot be added. A
#   1 x 1 convolution (합성곱) of its own, `score_pool4`, first makes 21 scores of the 512 channels.
# - The Add is a sum, not a concatenation (that is U-Net's way).
#
# The score layers of the skips start at **zero**: so FCN-16s begins with what FCN-32s has learned, and learns what to
# add. It begins *nearly* there; enlarging by 2 and then by 16 is not exactly enlarging by 32.

# %%
small = vgg((4, 4, 6, 6, 6), (1, 1, 1, 1, 1), 8, dtype=np.float64)
fcn32, fcn16 = fcn(small, 3, 32), fcn(small, 3, 16)
fcn32.parameters["score_fr.weight"][...] = rng.standard_normal(fcn32.parameters["score_fr.weight"].shape)
initialise_from(fcn16, fcn32)

photograph = rng.standard_normal((1, 3, 128, 128))
before, after = fcn32(photograph), fcn16(photograph)
same = (ops.segmentation_map(before) == ops.segmentation_map(after)).mean()
print(f"the same class in {same:.1%} of the pixels")
assert not fcn16.parameters["score_pool4.weight"].any()
assert not np.allclose(before, after)
assert same > 0.9

# %% [markdown]
# ## Where do pixels lie?
#
# To add two maps, entry (i, j) of both must look at the same place of the image. In the paper's networks they do not
# by themselves: the image is padded (패딩) by 100 pixels, fc6 (7 x 7) takes 6 off the size, and the upsamplers
# (업샘플링) add borders. So maps are **cropped** (자르기), and where to cut is no matter of taste.
#
# Carry the position along. Pixel i of a map lies at x = a i + b on the image. On the image itself, a = 1 and b = 0. A
# layer with kernel (커널) size k, stride s and padding p puts its first output at the middle of its first window, (k
# - 1) / 2 - p pixels of its input:
#
# - convolution and pooling: b grows by a ((k - 1) / 2 - p), then a becomes a s;
# - a transposed convolution undoes that: a becomes a / s, then b shrinks by a ((k - 1) / 2 - p).
#
# For FCN-32s (the 3 x 3 convolutions with padding 1 change nothing):

# %%
a, b = 1, 0
for name, k, s, p in (
    ("conv1_1", 3, 1, 100),
    ("pool1", 2, 2, 0),
    ("pool2", 2, 2, 0),
    ("pool3", 2, 2, 0),
    ("pool4", 2, 2, 0),
    ("pool5", 2, 2, 0),
    ("fc6", 7, 1, 0),
):
    b += a * ((k - 1) / 2 - p)
    a *= s
    print(f"{name:8} a = {a:2}, b = {b:5}")
a /= 32
b -= a * (64 - 1) / 2
print(f"upscore  a = {a:.0f}, b = {b:5}")
assert (a, b) == (1, -19)

# %% [markdown]
# The enlarged map has a = 1, as the image; its first pixel lies at -19, the image's at 0. Cut off 19 pixels, and they
# lie on each other. **That is the 19 of FCN-32s.** It is 100 - 81, for any size of the image.
#
# `npseg.geometry.AffineMap` does this arithmetic, and `fcn` finds its crops by it:

# %%
step = AffineMap().through(Axis(3, 1, 100, 100))
for _ in range(5):
    step = step.through(Axis(2, 2))
step = step.through(Axis(7)).back_through(Axis(64, 32))
assert step.crop_to(AffineMap()) == 19

crops = {}
for stride in (32, 16, 8):
    layers = [node.layer for node in fcn(vgg(), 21, stride, form="paper").nodes]
    crops[stride] = [layer.offset for layer in layers if isinstance(layer, Crop)]
    print(f"FCN-{stride}s crops by {crops[stride]}")
assert crops == {32: [19], 16: [5, 27], 8: [5, 9, 31]}

# %% [markdown]
# `explain_crops` writes it out for any network, here FCN-8s and an image of 64 x 64:

# %%
tiny = fcn(vgg((2, 2, 2, 2, 2), (1, 1, 1, 1, 1), 2), 3, 8, form="paper")
print(explain_crops(tiny, (64, 64)))

# %% [markdown]
# The first of these crops as a picture. pool4's scores reach far into the padding; only where they lie on the same
# pixels can the two be added, and that begins at the sixth.

# %%
sizes, places = tiny.shapes((64, 64)), tiny.coordinates((64, 64))
lie = {}
for name in ("score_pool4", "upscore2"):
    place = places[name][0]  # along the height
    lie[name] = [float(place.scale * i + place.offset) for i in range(sizes[name][1])]
assert lie["score_pool4"][5:13] == lie["upscore2"]

picture = Picture(figsize=(9, 2.4), layout="constrained")
axes = picture.subplots()
axes.axvspan(-0.5, 63.5, color="0.92")
axes.text(31.5, -1, "the image", ha="center", color=FAINT)
axes.vlines(lie["upscore2"], 0, 1, color=GREEN, linewidth=2)
for name, height, below, color in (("score_pool4", 1, 0.4, BLUE), ("upscore2", 0, -0.4, ORANGE)):
    axes.scatter(lie[name], [height] * len(lie[name]), s=70, color=color, zorder=3)
    for i, position in enumerate(lie[name]):
        axes.text(position, height + below, str(i), ha="center", va="center", fontsize=8)
axes.set(ylim=(-1.2, 1.7), xlabel="x, in pixels of the image", xlim=(-105, 175))
axes.set_yticks([0, 1], ["upscore2", "score_pool4"], fontsize=10, color="0.15")
bare(axes)
picture

# %% [markdown]
# (The library's own form, `form="same"`, pads each layer by half of its kernel instead, which needs no such cuts: it
# drops a surplus row at the bottom or right where a pool rounded up.)
#
# ## Forward, line by line
#
# Now FCN-8s by hand, with nothing but `npseg.ops`. A small one in float64: one convolution in each stage, 3 classes,
# and weights drawn by chance, so that no score layer is zero. `p` are the parameters.

# %%
network = fcn(vgg((2, 3, 4, 5, 6), (1, 1, 1, 1, 1), 7, dtype=np.float64), 3, 8)
p = network.parameters
for value in p.values():
    value += 0.1 * rng.standard_normal(value.shape)
x = rng.standard_normal((1, 3, 75, 90))
truth = rng.integers(0, 3, (1, 75, 90))

# %% [markdown]
# The encoder: five stages of convolution, ReLU and pooling. Each keeps what its way back needs: its input, the active
# map, and where the maxima stood.

# %%
kept, pooled = {}, x
for stage in "12345":
    before = pooled
    active = ops.relu(ops.conv2d(before, p[f"conv{stage}_1.weight"], p[f"conv{stage}_1.bias"], padding=1))
    pooled, indices = ops.max_pool2d(active, 2, ceil_mode=True)
    kept[stage] = before, active, pooled, indices
pool3, pool4, pool5 = (kept[stage][2] for stage in "345")

fc6 = ops.relu(ops.conv2d(pool5, p["fc6.weight"], p["fc6.bias"], padding=3))
fc7 = ops.relu(ops.conv2d(fc6, p["fc7.weight"], p["fc7.bias"]))

# %% [markdown]
# The decoder: score, enlarge, cut, add, twice; then 8 times larger.

# %%
score_fr = ops.conv2d(fc7, p["score_fr.weight"], p["score_fr.bias"])

upscore2 = ops.conv_transpose2d(score_fr, p["upscore2.weight"], stride=2, padding=1)
score_pool4 = ops.conv2d(pool4, p["score_pool4.weight"], p["score_pool4.bias"])
fuse_pool4 = ops.crop2d(upscore2, score_pool4.shape[2:], 0) + score_pool4

upscore_pool4 = ops.conv_transpose2d(fuse_pool4, p["upscore_pool4.weight"], stride=2, padding=1)
score_pool3 = ops.conv2d(pool3, p["score_pool3.weight"], p["score_pool3.bias"])
fuse_pool3 = ops.crop2d(upscore_pool4, score_pool3.shape[2:], 0) + score_pool3

upscore8 = ops.conv_transpose2d(fuse_pool3, p["upscore8.weight"], stride=8, padding=4)
logits = ops.crop2d(upscore8, x.shape[2:], 0)
assert np.allclose(logits, network(x))

# %% [markdown]
# ## Backward, line by line
#
# Backpropagation (역전파) undoes one line after the other, last first. `grad` is always the gradient (기울기) of the
# loss (손실) with respect to the map at which we stand; `g` collects those of the parameters. A sum hands its
# gradient to *both* of its terms: here the way parts, one branch goes to the skip, the other one deeper.


# %%
def back_through_the_decoder(grad):
    """From the logits to score_fr, pool4 and pool3."""
    g = {}
    grad = ops.crop2d_backward(grad, upscore8.shape[2:], 0)
    grad, g["upscore8.weight"], _ = ops.conv_transpose2d_backward(
        grad, fuse_pool3, p["upscore8.weight"], stride=8, padding=4
    )
    # grad is that of fuse_pool3: it goes to score_pool3 and to upscore_pool4
    grad_pool3, g["score_pool3.weight"], g["score_pool3.bias"] = ops.conv2d_backward(
        grad, pool3, p["score_pool3.weight"]
    )
    grad = ops.crop2d_backward(grad, upscore_pool4.shape[2:], 0)
    grad, g["upscore_pool4.weight"], _ = ops.conv_transpose2d_backward(
        grad, fuse_pool4, p["upscore_pool4.weight"], stride=2, padding=1
    )
    # grad is that of fuse_pool4: it goes to score_pool4 and to upscore2
    grad_pool4, g["score_pool4.weight"], g["score_pool4.bias"] = ops.conv2d_backward(
        grad, pool4, p["score_pool4.weight"]
    )
    grad = ops.crop2d_backward(grad, upscore2.shape[2:], 0)
    grad_score_fr, g["upscore2.weight"], _ = ops.conv_transpose2d_backward(
        grad, score_fr, p["upscore2.weight"], stride=2, padding=1
    )
    return grad_score_fr, {"3": grad_pool3, "4": grad_pool4}, g


# %% [markdown]
# Further back, pool4 and pool3 each had two readers: the next stage and the skip. A map that is read twice has the
# **sum** of both gradients. Forget it, and everything before is wrong, though the loss may still fall.


# %%
def back_through_the_encoder(grad, skips):
    """From score_fr, and from the skips, to conv1_1; also pool3's gradient from above."""
    g = {}
    grad, g["score_fr.weight"], g["score_fr.bias"] = ops.conv2d_backward(grad, fc7, p["score_fr.weight"])
    grad = ops.relu_backward(grad, fc7)
    grad, g["fc7.weight"], g["fc7.bias"] = ops.conv2d_backward(grad, fc6, p["fc7.weight"])
    grad = ops.relu_backward(grad, fc6)
    grad, g["fc6.weight"], g["fc6.bias"] = ops.conv2d_backward(grad, pool5, p["fc6.weight"], padding=3)
    for stage in "54321":
        before, active, _, indices = kept[stage]
        if stage == "3":
            from_above = grad
        if stage in skips:
            grad = grad + skips[stage]  # never +=: the array may have another reader
        grad = ops.max_pool2d_backward(grad, indices, active.shape[2:])
        grad = ops.relu_backward(grad, active)
        grad, g[f"conv{stage}_1.weight"], g[f"conv{stage}_1.bias"] = ops.conv2d_backward(
            grad, before, p[f"conv{stage}_1.weight"], padding=1
        )
    return from_above, g


grad_score_fr, skips, of_decoder = back_through_the_decoder(ops.cross_entropy2d_backward(logits, truth))
_, of_encoder = back_through_the_encoder(grad_score_fr, skips)
by_hand = of_decoder | of_encoder

# %% [markdown]
# The graph walks the same way by itself. Every gradient must be the same:

# %%
graph_logits, saved = network.forward(x)
loss, grad_logits = cross_entropy(graph_logits, truth)
by_graph = network.backward(grad_logits, saved)

assert set(by_graph) == set(by_hand) == set(network.parameters)
for name in by_graph:
    assert np.allclose(by_graph[name], by_hand[name], rtol=1e-10, atol=1e-14), name
print(f"{len(by_hand)} gradients, all equal")

# %% [markdown]
# And both must be what the loss really does. Move a weight of conv1_1 a little in both directions:

# %%
weight, little = p["conv1_1.weight"], 1e-6
losses = []
for move in (little, -2 * little):
    weight[1, 2, 0, 1] += move
    losses.append(float(ops.cross_entropy2d(network(x), truth)))
weight[1, 2, 0, 1] += little

measured = (losses[0] - losses[1]) / (2 * little)
assert np.isclose(measured, by_hand["conv1_1.weight"][1, 2, 0, 1], rtol=1e-3)
print(f"measured {measured:.4e}, by hand {by_hand['conv1_1.weight'][1, 2, 0, 1]:.4e}")

# %% [markdown]
# ## What a skip is, seen from behind
#
# Let the loss be that of a **single** pixel; all others have label 255, which is ignored. How does it reach pool3?
# Through the skip, to the few entries beside the pixel. Through the depth, by fc6's 7 x 7 window, to all of the map.
# The skip knows *where*, the depth sees *what* is around. (Summed over the channels, in percent of the largest.)

# %%
one_pixel = np.full_like(truth, 255)
one_pixel[0, 36, 44] = truth[0, 36, 44]
grad_score_fr, skips, _ = back_through_the_decoder(ops.cross_entropy2d_backward(logits, one_pixel))
from_above, _ = back_through_the_encoder(grad_score_fr, skips)


def strength(grad):
    total = np.abs(grad[0]).sum(axis=0)
    return np.round(100 * total / total.max())


assert np.count_nonzero(skips["3"][0].any(axis=0)) == 4
assert np.count_nonzero(from_above[0].any(axis=0)) > 50
figures.side_by_side(
    {"through the skip": strength(skips["3"]), "through the depth": strength(from_above)},
    title="One pixel's gradient at pool3",
)

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of `...` and run the cell, the folded one below it (it holds the solution, and uses it
# only where you gave no answer), and the check.
#
# **1.** In FCN-16s, the fused map has a = 16 and b = -11.5. It is enlarged by a transposed convolution with k = 32, s
# = 16, p = 0. By how many pixels is the result cropped?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = 11.5 + (32 - 1) / 2  # a = 16 / 16 = 1, b = -11.5 - 15.5 = -27

# %%
assert answer == crops[16][-1]
print("Right: the 27 of FCN-16s.")

# %% [markdown]
# **2.** How many parameters has FCN-8s on VGG16 with 21 classes more than FCN-32s, if upsamplers are not counted?
# (pool4 has 512 channels, pool3 has 256.)

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = (512 * 21 + 21) + (256 * 21 + 21)


# %%
def learned(model):
    """All parameters but the upsamplers'."""
    upsamplers = {node.name for node in model.nodes if isinstance(node.layer, ConvTranspose2d)}
    specs = model.parameter_specs.items()
    return sum(int(np.prod(spec.shape)) for name, spec in specs if name.split(".")[0] not in upsamplers)


assert answer == learned(fcn(vgg(), 21, 8)) - learned(fcn(vgg(), 21, 32))
print(f"Right: {answer:,}, of {learned(fcn(vgg(), 21, 8)):,} in all. Skips are nearly free.")

# %% [markdown]
# **3.** The map `fuse_pool4` is `crop(upscore2) + score_pool4`. Given its gradient `grad` and the size of upscore2,
# return both terms' gradients: write `fuse_backward(grad, upscore2_size)` with `ops.crop2d_backward`; then `answer =
# fuse_backward`.

# %% tags=["exercise"]
answer = ...


# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
def fuse_backward(grad, upscore2_size):
    """A sum hands its gradient on to both terms; a crop's way back fills up with zeros."""
    return ops.crop2d_backward(grad, upscore2_size, 0), grad


if answer is ...:
    answer = fuse_backward

# %%
some_grad = rng.standard_normal((1, 3, 5, 6))
to_upscore2, to_score_pool4 = answer(some_grad, (6, 6))
assert np.array_equal(to_score_pool4, some_grad)
assert to_upscore2.shape == (1, 3, 6, 6)
assert np.array_equal(to_upscore2[:, :, :5], some_grad)
assert not to_upscore2[:, :, 5:].any()
print("Right: both get it, and what was cut off gets zeros.")
