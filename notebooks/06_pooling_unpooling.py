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
# # 06 Pooling and unpooling
#
# After this lesson you can
#
# - pool a map by hand, and say where its gradient goes;
# - tell the three unpoolings apart, and say what each of them has forgotten;
# - say, in gigabytes and in multiplications, why networks downsample at all.
#
# Previous: [05 depthwise and separable convolution](05_depthwise_separable.ipynb) · next: [07 bilinear
# interpolation](07_bilinear.ipynb) · all lessons: [README](README.md)
#
# The code behind it: [`npseg/ops/pooling.py`](../npseg/ops/pooling.py),
# [`npseg/ops/unpooling.py`](../npseg/ops/unpooling.py), [`npseg/analysis/summary.py`](../npseg/analysis/summary.py)

# %%
import numpy as np

from npseg import matrices, ops
from npseg.analysis import formulas, summary
from npseg.data import Shapes
from npseg.models import vgg
from npseg.models.chains import chain
from npseg.nn import Graph
from npseg.teaching import figures, trace
from npseg.teaching.figures.style import BLUE, GREEN, ORANGE, Picture, quiet

# %% [markdown]
# ## Pooling: one number for a window
#
# **Pooling** (풀링) slides a window over each channel and keeps one number of it: max pooling the largest, average
# pooling the mean. Usually the stride (스트라이드) equals the window's size, so that the windows do not overlap and
# the map becomes half as high and half as wide.

# %%
x = np.array([[1.0, 1.0, 0.0, 2.0], [0.0, 0.0, 1.0, 0.0], [0.0, 3.0, 0.0, 0.0], [2.0, 1.0, 4.0, 1.0]])[None, None]
pooling = trace("max_pool2d", x, 2)

figures.contact_sheet(pooling)

# %%
y, indices = ops.max_pool2d(x, 2)
means = ops.avg_pool2d(x, 2)

assert np.array_equal(y[0, 0], [[1, 2], [3, 4]])
figures.side_by_side({"input": x[0, 0], "max pooling": y[0, 0], "average pooling": means[0, 0]})

# %% [markdown]
# Pooling has no weights: nothing is learned, and nothing is multiplied.
#
# ## Where the winner stood
#
# Max pooling throws three numbers out of four away, and the place of the fourth. `max_pool2d` therefore returns the
# winners' places too: `indices` counts the pixels (픽셀) of the input row by row, so index 5 is row 1, column 1 of a
# map four pixels wide. Of equal numbers the first one wins.

# %%
rows, columns = np.divmod(indices[0, 0], 4)

assert np.array_equal(x[0, 0][rows, columns], y[0, 0])
assert indices[0, 0, 0, 0] == 0  # the two ones of the first window: the first wins
print(indices[0, 0])

# %% [markdown]
# ## Backward
#
# In backpropagation (역전파) the gradient (기울기) of a maximum goes to the winner, all of it: moving a loser a
# little changes nothing. The gradient of a mean goes to all, in equal parts.

# %%
grad = np.array([[[[10.0, 20.0], [30.0, 40.0]]]])
to_winners = ops.max_pool2d_backward(grad, indices, (4, 4))
to_all = ops.avg_pool2d_backward(grad, (4, 4), 2)

assert to_winners.sum() == to_all.sum() == grad.sum()
figures.side_by_side(
    {
        "gradient of the output": grad[0, 0],
        "back through max pooling": to_winners[0, 0],
        "through the mean": to_all[0, 0],
    }
)

# %% [markdown]
# ## Three unpoolings
#
# A segmentation (의미론적 분할) needs a class for each pixel, so somewhere the map must become large again.
# **Unpooling** (언풀링) is the simplest way: each value goes back to its cell of 2 x 2.
#
# - **nearest**: it fills the cell;
# - **bed of nails** (못 박기): it stands at the top left, the rest is 0;
# - **max unpooling**: it stands where the maximum had been, the rest is 0. This one needs the indices.

# %%
nearest = ops.nearest_unpool2d(y, 2)
nails = ops.bed_of_nails_unpool2d(y, 2)
remembered = ops.max_unpool2d(y, indices, (4, 4))

figures.side_by_side(
    {
        "before pooling": x[0, 0],
        "max pooling": y[0, 0],
        "nearest": nearest[0, 0],
        "bed of nails": nails[0, 0],
        "max unpooling": remembered[0, 0],
    },
    title="Pooled, and unpooled in three ways",
)

# %% [markdown]
# Compare with the map before pooling. Only max unpooling puts the 2, the 3 and the 4 where they were. And even it
# returns nothing but the maxima: **no unpooling is the inverse of pooling.** What was thrown away is gone.
#
# The other order works: pool an unpooled map (its values are not negative here), and you have what you began with.

# %%
for enlarged in (nearest, nails, remembered):
    assert np.array_equal(ops.max_pool2d(enlarged, 2)[0], y)
assert not np.array_equal(remembered, x)

# %% [markdown]
# ## The same, as matrices
#
# All of it is copying, so each is a sparse matrix (희소 행렬) of zeros and ones.

# %%
selection = matrices.max_pool2d_matrix(indices[0], (4, 4))
filling = matrices.nearest_unpool2d_matrix(1, (2, 2), 2)
nailing = matrices.bed_of_nails_unpool2d_matrix(1, (2, 2), 2)

figures.side_by_side(
    {
        "nearest": filling.toarray(),
        "bed of nails": nailing.toarray(),
        "max unpooling": selection.T.toarray(),
    },
    title="16 x 4: a row for each output pixel",
)

# %% [markdown]
# Three things to see, and to check:
#
# - max unpooling is the transpose of max pooling's selection, so it is also max pooling's backward pass;
# - nearest unpooling is 4 times the transpose of average pooling;
# - the transpose of bed of nails is picking every second pixel.

# %%
averaging = matrices.avg_pool2d_matrix(1, (4, 4), 2)

assert np.array_equal(selection.T @ y.ravel(), remembered.ravel())
assert np.array_equal(ops.max_pool2d_backward(y, indices, (4, 4)), remembered)
assert np.array_equal(filling.toarray(), 4 * averaging.T.toarray())
assert np.array_equal(nailing.T @ x.ravel(), x[0, 0, ::2, ::2].ravel())

# %% [markdown]
# ## On a picture
#
# The brightness of a scene, pooled three times (by 8), and unpooled again. Nearest shows what information is left.
# Max unpooling shows how little of the map it fills, one pixel in 64, but each at the right place. SegNet
# (Badrinarayanan et al., 2017) lets convolutions fill in the rest.

# %%
image = Shapes(8, image_size=(96, 96))[3].image
bright = image.mean(axis=2)[None, None] / 255
small, kept = bright, []
for _ in range(3):
    sizes = small.shape[2:]
    small, where = ops.max_pool2d(small, 2)
    kept.append((where, sizes))

placed = small
for where, sizes in reversed(kept):
    placed = ops.max_unpool2d(placed, where, sizes)

figures.side_by_side(
    {
        "image": image,
        "brightness": bright[0, 0],
        "pooled by 8, nearest": ops.nearest_unpool2d(small, 8)[0, 0],
        "pooled by 8, max unpooling": placed[0, 0],
    }
)

# %%
stands = placed > 0

assert stands.sum() == small.size == bright.size / 64
assert np.array_equal(placed[stands], bright[stands])  # every value that stands, stands where it stood

# %% [markdown]
# ## So why downsample at all?
#
# Pooling loses detail, and a segmentation wants detail. Why not leave the pools out? Let us count. Take VGG16 as a
# fully convolutional network (완전 합성곱 신경망), and take its pools away. The parameters stay the same, to the last
# one.

# %%
POOLS = ("pool1", "pool2", "pool3", "pool4", "pool5")


def vgg16_without(*pools):
    """VGG16 with these pools left out; the weights of a network are not allocated before they are used."""
    return Graph(chain([(node.name, node.layer) for node in vgg().nodes if node.name not in pools]))


image_size = (224, 224)
networks = {
    "all five pools": vgg16_without(),
    "without the last two": vgg16_without("pool4", "pool5"),
    "without pools": vgg16_without(*POOLS),
}
counted = {name: summary(network, image_size) for name, network in networks.items()}

print(f"{'':22}{'parameters':>12}{'MACs':>20}{'all maps':>12}{'kept to train':>15}")
for name, network in counted.items():
    maps, kept_bytes = network.activation_bytes / 2**30, network.saved_bytes / 2**30
    print(f"{name:22}{network.parameters:12,}{network.macs:20,}{maps:8.2f} GiB{kept_bytes:11.2f} GiB")
assert len({network.parameters for network in counted.values()}) == 1

# %% [markdown]
# For *one* image of 224 x 224, without pools: over 300 times the multiply-accumulates (곱셈-누산), and about 64 times
# the memory that a training step keeps. Where do these factors come from? Each pool halves both sides, so every layer
# behind it works on a quarter of the positions. Behind five pools that is a factor of 4 x 4 x 4 x 4 x 4 = 1024.

# %%
all_pools, none = counted["all five pools"], counted["without pools"]
for layer in ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3", "fc6"):
    times = none.layer(layer).macs / all_pools.layer(layer).macs
    print(f"{layer:8} {all_pools.layer(layer).macs:16,} -> {none.layer(layer).macs:20,}: {times:6.0f} times")
    assert times == 4 ** (5 if layer == "fc6" else int(layer[4]) - 1)

assert 300 < none.macs / all_pools.macs < 350
assert 60 < none.saved_bytes / all_pools.saved_bytes < 70

# %%
picture = Picture(figsize=(9, 6), layout="constrained")
above, below = picture.subplots(2, 1, sharex=True)
layers = [layer.name for layer in none.layers if layer.name.startswith(("conv", "fc"))]
styles = zip(counted.items(), (BLUE, GREEN, ORANGE), ("o", "s", "D"), strict=True)
for (name, network), color, marker in styles:
    rows = [network.layer(layer) for layer in layers]
    above.semilogy(layers, [row.macs for row in rows], color=color, marker=marker, markersize=5, label=name)
    below.semilogy(layers, [row.activation_bytes / 2**20 for row in rows], color=color, marker=marker, markersize=5)
above.set(title="VGG16 on 224 x 224 pixels, layer by layer", ylabel="multiply-accumulates")
below.set_ylabel("output in MiB")
below.tick_params(axis="x", rotation=60)
above.legend(frameon=False)
for axes in (above, below):
    quiet(axes)
picture

# %% [markdown]
# Follow the blue line of memory: with pools, maps become *smaller* although the channels double from 64 to 512. This
# is the bargain of downsampling: fewer positions, more channels.
#
# The pools themselves cost next to nothing: three comparisons for each output, against thousands of multiplications.

# %%
first_pool, before = formulas.max_pool2d(64, 2, (224, 224)), all_pools.layer("conv1_2")

print(f"conv1_2: {before.macs:,} multiply-accumulates; pool1: {first_pool.flops:,} comparisons")
assert first_pool.flops * 700 < before.macs

# %% [markdown]
# ## And what it sees
#
# There is a second price. Each pool doubles the step of all that follows, so receptive fields (수용 영역) grow
# faster. Without pools they shrink:

# %%
fields = {name: network.layer("relu5_3").receptive_field[0] for name, network in counted.items()}
for name, field in fields.items():
    print(f"{name:22} one value of relu5_3 sees {field:3} x {field} pixels")
assert tuple(fields.values()) == (196, 140, 27)

# %% [markdown]
# 27 x 27 pixels are not enough to know a cat from a dog. So there are two ways out:
#
# - downsample, and come back up afterwards: unpooling (this lesson), [interpolation](07_bilinear.ipynb), [transposed
#   convolution](08_transposed.ipynb), helped by [skips](10_skips.ipynb). This is FCN.
# - keep the first three pools, take the stride out of the last two, and [dilate](04_dilation.ipynb) the convolutions
#   behind them. This is DeepLab's way, and close to the middle row of the table. Dilation (팽창) does not downsample;
#   it wins back the view, for no extra weights, and the table says what the larger maps cost.

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of `...` and run the cell, the folded one below it (it holds the solution, and uses it
# only where you gave no answer), and the check.
#
# **1.** Max pooling by hand: window 2 x 2, stride **1**, on the map below. Write the 2 x 3 result as a nested list.
#
# | | | | |
# |---|---|---|---|
# | 5 | 1 | 0 | 2 |
# | 0 | 3 | 4 | 1 |
# | 6 | 2 | 1 | 7 |

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = [[5, 4, 4], [6, 4, 7]]

# %%
small_map = np.array([[[[5.0, 1, 0, 2], [0, 3, 4, 1], [6, 2, 1, 7]]]])
assert np.array_equal(answer, ops.max_pool2d(small_map, 2, stride=1)[0][0, 0])
print("Right: with stride 1 the windows overlap, and the 4 wins three of them.")

# %% [markdown]
# **2.** Write `bed_of_nails(x, scale)` for x (N, C, H, W) and a whole number scale, in three lines of NumPy, without
# a loop; then `answer = bed_of_nails`.

# %% tags=["exercise"]
answer = ...


# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
def bed_of_nails(x, scale):
    """Every value at the top left of its cell."""
    y = np.zeros((*x.shape[:2], x.shape[2] * scale, x.shape[3] * scale))
    y[:, :, ::scale, ::scale] = x
    return y


if answer is ...:
    answer = bed_of_nails

# %%
some_map = np.random.default_rng(6).standard_normal((2, 3, 4, 5))
assert np.array_equal(answer(some_map, 3), ops.bed_of_nails_unpool2d(some_map, 3))
print("Right: a strided slice is all it takes.")

# %% [markdown]
# **3.** Of VGG16's five pools only `pool5` is left out. By which factor do the multiply-accumulates of `fc6` grow,
# and by which those of `conv5_3`? Answer with a pair.

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = (4, 1)  # conv5_3 stands before pool5

# %%
without_pool5 = summary(vgg16_without("pool5"), image_size)
factors = tuple(without_pool5.layer(name).macs / all_pools.layer(name).macs for name in ("fc6", "conv5_3"))
assert tuple(answer) == factors
print("Right: only what stands behind a pool profits from it.")
