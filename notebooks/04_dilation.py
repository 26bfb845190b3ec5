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
# # 04 Dilation
#
# After this lesson you can
#
# - compute the receptive field of any stack of layers;
# - see farther with the same number of weights, and without downsampling;
# - tell which dilations leave holes, and choose others.
#
# Previous: [03 convolution, backward](03_convolution_backward.ipynb) · next:
# [05 depthwise and separable convolution](05_depthwise_separable.ipynb) · all lessons: [README](README.md)
#
# The code behind it: [`npseg/ops/convolution.py`](../npseg/ops/convolution.py),
# [`npseg/geometry.py`](../npseg/geometry.py),
# [`npseg/analysis/receptive_fields.py`](../npseg/analysis/receptive_fields.py),
# [`npseg/models/deeplab.py`](../npseg/models/deeplab.py)

# %%
import numpy as np

from npseg import ops
from npseg.analysis import formulas, receptive_fields
from npseg.data import Shapes
from npseg.geometry import AffineMap, Axis
from npseg.models import vgg
from npseg.teaching import figures, trace

rng = np.random.default_rng(4)

# %% [markdown]
# ## How far does a value see?
#
# A 3 x 3 convolution (합성곱) sees 3 x 3 pixels (픽셀). A second one on top sees 3 x 3 values of the first, so 5
# x 5 pixels. The pixels that a value can depend on are its **receptive field** (수용 영역). Three layers of 3 x
# 3 see only 7 pixels each way; to know that a pixel belongs to a bus, one must see more.
#
# **Dilation** (팽창) moves the taps of the kernel (커널) apart: with dilation d, each tap is d pixels from the
# next. Below, three plain layers, and three with dilation 1, 2, 4. Both have three weights a layer and
# direction:

# %% tags=["thumbnail"]
figures.receptive_field_growth()

# %% [markdown]
# ## A dilated convolution
#
# In two dimensions: nine weights, spread over 5 x 5 pixels. This is a **dilated convolution** (팽창 합성곱),
# also called atrous, "with holes".

# %%
x = rng.integers(0, 5, (1, 1, 6, 7)).astype(float)
weight = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]], float).reshape(1, 1, 3, 3)
figures.step(trace("conv2d", x, weight, dilation=2), 4)

# %% [markdown]
# It is the same as a plain convolution with the holes written out as zeros. A kernel of size K spans
#
# $$E = d\,(K - 1) + 1$$
#
# pixels, and E takes the place of K in the size of the output.

# %%
stuffed = np.zeros((1, 1, 5, 5))
stuffed[:, :, ::2, ::2] = weight
assert np.array_equal(ops.conv2d(x, weight, dilation=2), ops.conv2d(x, stuffed))
figures.side_by_side({"the weights": weight[0, 0], "dilation 2, holes written out": stuffed[0, 0]})

# %% [markdown]
# Dilation costs nothing: as many weights, as many multiplications. The dense kernel that spans as much costs 25 / 9
# as much.

# %%
costs = [
    formulas.conv2d(64, 64, kernel_size, (56, 56), padding="same", dilation=dilation)
    for kernel_size, dilation in ((3, 1), (3, 2), (5, 1))
]
for name, cost in zip(("3 x 3", "3 x 3, dilation 2", "5 x 5"), costs, strict=True):
    print(f"{name:18} {cost.parameters:9,} parameters {cost.macs:13,} MACs")
assert costs[0].macs == costs[1].macs < costs[2].macs

# %% [markdown]
# ## Dilation does not downsample
#
# Pooling (풀링) and strides (스트라이드) also let a network see farther, but they throw positions away. Dilation
# keeps them all: with padding (패딩) d for a 3 x 3 kernel, the output is as large as the input, at any
# dilation.

# %%
scene, _, _ = Shapes(60, split="val", image_size=(96, 128))[40]
image = scene.mean(axis=-1).reshape(1, 1, 96, 128)
kernel = rng.standard_normal((1, 1, 3, 3))
for dilation in (1, 2, 4, 8):
    y = ops.conv2d(image, kernel, padding=dilation, dilation=dilation)
    assert y.shape == image.shape
    print(f"dilation {dilation}: output {y.shape[2]} x {y.shape[3]}")
print("stride 2:   output {} x {}".format(*ops.conv2d(image, kernel, padding=1, stride=2).shape[2:]))

# %% [markdown]
# The two belong together. Take a layer with stride 2, and a 3 x 3 layer after it. Now drop the stride, and give the
# next layer dilation 2 instead. At every second pixel the result is *exactly* what it was, and the pixels between
# are new:

# %%
first = np.outer([1, 2, 1], [1, 2, 1]).reshape(1, 1, 3, 3) / 16  # smooths
second = np.outer([1, 2, 1], [1, 0, -1]).reshape(1, 1, 3, 3) / 4  # finds upright edges
coarse = ops.conv2d(ops.conv2d(image, first, padding=1, stride=2), second, padding=1)
fine = ops.conv2d(ops.conv2d(image, first, padding=1), second, padding=2, dilation=2)
assert fine.shape == image.shape
assert np.allclose(fine[:, :, ::2, ::2], coarse)

figures.side_by_side(
    {"stride 2, then 3 x 3": coarse[0, 0], "no stride, then 3 x 3 with dilation 2": fine[0, 0]},
    title="the same weights",
)

# %% [markdown]
# This is how DeepLab makes a segmentation network of a trained classifier: the last poolings lose their stride, the
# layers after them get dilation, and the weights stay. The maps are larger then, and so is the work: 4 times the
# positions for each stride of 2 that is dropped.
#
# ## Receptive fields by formula
#
# Walk through the layers and carry two numbers: r, the receptive field so far, and a, the distance in pixels between
# neighbouring values. A layer with kernel size K, stride s and dilation d makes of them
#
# $$r' = r + d\,(K - 1)\,a \qquad a' = a\,s$$


# %%
def receptive_field(layers):
    """Pixels seen along one axis through layers of (kernel_size, stride, dilation), from the input up."""
    field, apart = 1, 1
    for kernel_size, stride, dilation in layers:
        field += dilation * (kernel_size - 1) * apart
        apart *= stride
    return field


plain, dilated = [(3, 1, 1)] * 5, [(3, 1, 2**depth) for depth in range(5)]
for depth in range(1, 6):
    print(f"{depth} layers: plain {receptive_field(plain[:depth]):2}, dilated {receptive_field(dilated[:depth]):2}")

# %% [markdown]
# Plain layers add 2 pixels each; doubling dilations double the field each time, for the same weights.
#
# Our function against npseg, on VGG16, up to each of its poolings. (fc6 sees 404 pixels: it is a 7 x 7
# convolution.)

# %%
model = vgg()
fields = receptive_fields(model, model.shapes((224, 224)))
layers = []
for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
    layers += [(3, 1, 1)] * convolutions + [(2, 2, 1)]
    print(f"pool{block}: {receptive_field(layers):3} pixels")
    assert receptive_field(layers) == fields[f"pool{block}"][0].size
assert receptive_field([*layers, (7, 1, 1)]) == fields["fc6"][0].size == 404

# %% [markdown]
# **Measured, not computed:** send a gradient (기울기) of 1 back from one output ([lesson
# 03](03_convolution_backward.ipynb)). The pixels where something arrives are the receptive field. With
# weights of 1 the number that arrives counts the *paths* from pixel to output.


# %%
def paths_back(dilations, size=31):
    """Through 3 x 3 convolutions with these dilations, from the output in the middle of a size x size image."""
    grad = np.zeros((1, 1, size, size))
    grad[0, 0, size // 2, size // 2] = 1
    for dilation in reversed(dilations):
        ones = np.ones((1, 1, 3, 3))
        grad = ops.conv2d_grad_input(grad, ones, (size, size), padding=dilation, dilation=dilation)
    return grad[0, 0]


stacks = {"five plain layers": (1, 1, 1, 1, 1), "dilation 1, 2, 4": (1, 2, 4)}
maps = {name: paths_back(dilations) for name, dilations in stacks.items()}
for name, dilations in stacks.items():
    width = int(maps[name].any(axis=0).sum())
    assert width == receptive_field([(3, 1, dilation) for dilation in dilations])
    print(f"{name}: {width} x {width} pixels, {maps[name].max():.0f} paths from the middle, 1 from a corner")
figures.side_by_side({name: paths / paths.max() for name, paths in maps.items()})

# %% [markdown]
# Both fields are full: every pixel is reached. And in both the middle has most of the paths, so what a network
# really uses (its *effective* receptive field; Luo et al., 2016) is smaller than the formula says.
#
# ## Gridding
#
# Now choose dilation 2, 2, 2. Every tap is an even number of pixels away, in every layer, so all odd pixels are
# never seen. The field looks large but is full of holes. This is **gridding**:

# %%
figures.dilation_gridding()

# %%
for dilations in ((1, 1, 1), (2, 2, 2), (1, 2, 5), (1, 2, 4)):
    field = receptive_field([(3, 1, dilation) for dilation in dilations])
    seen = int((paths_back(dilations) > 0).sum())
    print(f"dilation {dilations}: field {field:2} x {field:2}, {seen / field**2:4.0%} of its pixels seen")
assert (paths_back((2, 2, 2)) > 0).sum() == 7 * 7

# %% [markdown]
# In the output, neighbouring pixels then look at *different* pixels of the input, with nothing in common. Feed one
# bright pixel through averaging layers: with dilation 2, 2, 2 its neighbours hear nothing of it.


# %%
def spread(dilations, size=21):
    """One bright pixel through 3 x 3 averages with these dilations."""
    y = np.zeros((1, 1, size, size))
    y[0, 0, size // 2, size // 2] = 1
    for dilation in dilations:
        y = ops.conv2d(y, np.full((1, 1, 3, 3), 1 / 9), padding=dilation, dilation=dilation)
    return y[0, 0] / y.max()


bright = {"dilation " + ", ".join(map(str, stack)): spread(stack) for stack in ((1, 1, 1), (2, 2, 2), (1, 2, 5))}
assert not bright["dilation 2, 2, 2"][1::2].any()
assert not bright["dilation 2, 2, 2"][:, 1::2].any()
figures.side_by_side(bright)

# %% [markdown]
# **The cure** (Wang et al., "Understanding convolution for semantic segmentation", 2018): no common divisor, and no
# dilation larger than the field of the layers before it, so that its taps leave nothing out between them. 1, 2, 5
# is such a group, for two layers of dilation 1 and 2 see 7 pixels. So is doubling, 1, 2, 4, ... (Yu and Koltun,
# "Multi-scale context aggregation by dilated convolutions", 2016).
#
# One number more: where a value *lies*. A window of even size shifts the map by half a pixel; dilation with an odd
# kernel and padding d (K - 1) / 2 does not shift it. [Lesson 10](10_skips.ipynb) needs this to align maps of
# different strides.

# %%
for name, axis in {
    "3 taps, dilation 4, padding 4": Axis(3, 1, 4, 4, 4),
    "2 taps, stride 2 (a pooling)": Axis(2, 2),
}.items():
    place = AffineMap().through(axis)
    print(f"{name}: value i lies at pixel {place.scale} * i + {place.offset}")
assert (AffineMap().through(Axis(3, 1, 4, 4, 4)).scale, AffineMap().through(Axis(3, 1, 4, 4, 4)).offset) == (1, 0)

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of `...` and run the cell, the folded one below it (the solution, used only where you
# gave no answer), and the check.
#
# **1.** Yu and Koltun's context module has 3 x 3 convolutions with dilation 1, 1, 2, 4, 8, 16, 1, and a 1 x 1 at
# the end. How large is its receptive field, each way?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = 1 + 2 * (1 + 1 + 2 + 4 + 8 + 16 + 1)

# %%
assert answer == receptive_field([(3, 1, dilation) for dilation in (1, 1, 2, 4, 8, 16, 1)])
print("Right: 67 pixels, as in the paper's table.")

# %% [markdown]
# **2.** DeepLab's fc6 is a 3 x 3 convolution with dilation 12. Which padding on each side keeps the size of the map?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = 12

# %%
assert ops.conv2d(np.zeros((1, 1, 41, 30)), np.zeros((1, 1, 3, 3)), padding=answer, dilation=12).shape == (1, 1, 41, 30)
print("Right: d * (K - 1) / 2. In a corner of the map five of the nine taps then lie on padding.")

# %% [markdown]
# **3.** Write a function of a list of dilations that returns how many pixels along one axis a stack of 3-tap
# convolutions really *sees* (not the width of the field: the holes do not count); then `answer = your_function`.

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:

    def answer(dilations):
        """All sums of one tap for each layer, each counted once."""
        seen = {0}
        for dilation in dilations:
            seen = {place + tap * dilation for place in seen for tap in (-1, 0, 1)}
        return len(seen)


# %%
for dilations in ([1, 1, 1], [2, 2, 2], [1, 2, 5], [3, 3], [1, 3]):
    assert answer(dilations) == (paths_back(dilations)[15] > 0).sum(), dilations
print("Right. The stack 1, 3 sees nine pixels with two layers, which is the most that two layers of three taps can.")
