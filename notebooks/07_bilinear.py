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
# # 07 Bilinear interpolation
#
# After this lesson you can
#
# - say where the pixels of an enlarged map lie, and compute its values by hand;
# - write bilinear interpolation as a matrix, and say why its rows add up to 1;
# - tell half-pixel centres from `align_corners`, and the adjoint from an inverse;
# - say why scores may be interpolated, and labels never.
#
# Previous: [06 pooling and unpooling](06_pooling_unpooling.ipynb) · next: [08 transposed
# convolution](08_transposed.ipynb) · all lessons: [README](README.md)
#
# The code behind it: [`npseg/ops/interpolation.py`](../npseg/ops/interpolation.py),
# [`npseg/matrices/resizing.py`](../npseg/matrices/resizing.py),
# [`npseg/nn/initialisation.py`](../npseg/nn/initialisation.py)

# %%
import numpy as np

from npseg import matrices, ops
from npseg.data import Shapes, paint
from npseg.nn.initialisation import bilinear
from npseg.teaching import figures, trace
from npseg.teaching.figures.style import BLUE, FAINT, GREEN, ORANGE, Picture, quiet

rng = np.random.default_rng(7)

# %% [markdown]
# ## Two pixels become four
#
# Nearest unpooling (언풀링) copies, so its result has steps. **Bilinear interpolation** (양선형 보간) goes from one
# value to the next in a straight line.

# %%
pair = np.array([[0.0, 4.0]])
smooth = ops.resize_bilinear(pair[None, None], (1, 4))[0, 0]

assert np.array_equal(smooth, [[0, 1, 3, 4]])
figures.side_by_side(
    {"two pixels": pair, "nearest": ops.nearest_unpool2d(pair[None, None], (1, 2))[0, 0], "bilinear": smooth}
)

# %% [markdown]
# Why 0, 1, 3, 4, and not 0, 4/3, 8/3, 4? Because a pixel (픽셀) is a small square, and its value belongs to the
# *middle* of it. The map as a whole stays in place; cut it into more squares, and their middles lie elsewhere:
#
# $$\text{position}(i) = \left(i + \tfrac12\right) \frac{\text{input}}{\text{output}} - \tfrac12$$
#
# These are **half-pixel centres**. The first and the last position lie outside all middles; there the border pixel is
# simply repeated.


# %%
def positions(size, outputs, align_corners=False):
    """Where output pixels lie, counted in input pixels."""
    i = np.arange(outputs)
    return i * (size - 1) / (outputs - 1) if align_corners else (i + 0.5) * size / outputs - 0.5


print(positions(2, 4))
assert np.array_equal(positions(2, 4), [-0.25, 0.25, 0.75, 1.25])
assert np.array_equal(4 * positions(2, 4).clip(0, 1), smooth[0])  # the line from 0 to 4

# %% [markdown]
# ## Two conventions
#
# With **`align_corners=True`** the middles of the corner pixels stay in place instead, and all others are spread
# evenly between them. The large map then covers a little less than the small one.

# %% tags=["thumbnail"]
picture = Picture(figsize=(8, 4.2), layout="constrained")
names = {False: "half-pixel centres: the borders stay", True: "align_corners: the corner pixels' middles stay"}
for axes, (aligned, name) in zip(picture.subplots(2, 1, sharex=True), names.items(), strict=True):
    places = positions(3, 6, aligned)
    for row, centres, width, color in ((1, np.arange(3), 1, BLUE), (0, places, places[1] - places[0], GREEN)):
        axes.bar(centres, 0.5, width, row - 0.25, color="white", edgecolor=color, linewidth=1.5)
        axes.plot(centres, [row] * len(centres), "o", color=color)
    for place in places:
        axes.plot([place, place], [0, 1], color=FAINT, linewidth=0.8, zorder=0)
    axes.set(title=name, yticks=[0, 1], yticklabels=["output, 6 pixels", "input, 3 pixels"])
    quiet(axes)
axes.set_xlabel("position, in input pixels")
picture

# %%
ramp = np.array([[0.0, 1.0, 2.0, 3.0]])
both = {
    "half-pixel centres": ops.resize_bilinear(ramp[None, None], (1, 8))[0, 0],
    "align_corners": ops.resize_bilinear(ramp[None, None], (1, 8), align_corners=True)[0, 0],
}

figures.side_by_side({"input": ramp} | both, columns=1)

# %% [markdown]
# With half-pixel centres, one output is always half an input pixel from the next: the scale is 2, and stays 2. With
# `align_corners` the step is (n - 1) / (2 n - 1): it depends on the size of the map, and is never exactly a half.
# Networks that take images of any size want the first; know which one your weights were trained with.

# %%
for size in (4, 8, 64):
    half, aligned = (np.diff(positions(size, 2 * size, align))[0] for align in (False, True))
    print(f"{size:3} -> {2 * size:3} pixels: steps of {half:.4f} and {aligned:.4f} input pixels")
    assert half == 0.5
    assert np.isclose(aligned, (size - 1) / (2 * size - 1))

# %% [markdown]
# ## As a matrix
#
# Every output is a weighted sum of two inputs, and the weights depend only on the position: interpolation is linear
# in the pixels, so it is a matrix. Write it yourself: at a place between `left` and `left + 1`, a share `a` of the
# way, the weights are `1 - a` and `a`.


# %%
def interpolation(size, outputs):
    """The matrix (outputs, size) of linear interpolation, half-pixel centres; size is at least 2."""
    matrix = np.zeros((outputs, size))
    for i, place in enumerate(positions(size, outputs).clip(0, size - 1)):
        left = min(int(place), size - 2)
        a = place - left
        matrix[i, left], matrix[i, left + 1] = 1 - a, a
    return matrix


by_hand = interpolation(4, 8)
matrix = matrices.resize_bilinear_matrix(1, (1, 4), (1, 8))

assert np.array_equal(by_hand, matrix.toarray())
assert matrix.nnz == 14  # two for each output, but one where the border is repeated
figures.matrix_and_transpose(matrix, name="linear interpolation, 4 to 8 pixels,")

# %% [markdown]
# ## Rows add up to 1
#
# Read the matrix by columns: each input pixel has a tent, highest at its own middle, and 0 from the next pixel's
# middle on. At every place the tents add up to 1: a **partition of unity**. So a constant map stays constant; and
# since no weight is negative, no value ever leaves the range of its neighbours.

# %%
tents = interpolation(4, 84)
picture = Picture(figsize=(8, 3), layout="constrained")
axes = picture.subplots()
for pixel, color in enumerate((BLUE, ORANGE, GREEN, "0.5")):
    axes.plot(positions(4, 84), tents[:, pixel], color=color, label=f"pixel {pixel}")
axes.plot(positions(4, 84), tents.sum(axis=1), color="black", linestyle=":", label="sum")
axes.set(title="The weight of each input pixel", xlabel="position, in input pixels", ylabel="weight", xticks=range(4))
axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
quiet(axes)
picture

# %%
assert np.allclose(tents.sum(axis=1), 1)
assert np.allclose(by_hand @ np.full(4, 5.0), 5)

original = rng.standard_normal((1, 1, 5, 4))
inside = ops.resize_bilinear(original, (13, 9))
assert original.min() <= inside.min() <= inside.max() <= original.max()

# %% [markdown]
# ## Two dimensions: rows, then columns
#
# *Bi*linear is linear twice: once along the rows, once along the columns, in either order. An output is a sum over
# four neighbours, and each weight is a product of two.

# %%
corners = np.array([[0.0, 4.0], [8.0, 20.0]])
enlarging = trace("resize_bilinear", corners[None, None], (4, 4))

figures.step(enlarging, 5)

# %%
R, C = interpolation(2, 4), interpolation(2, 4)
result = R @ corners @ C.T

assert np.allclose(result, enlarging.result[0, 0])
assert np.allclose(np.kron(R, C) @ corners.ravel(), result.ravel())
assert np.allclose(np.kron(R, C), matrices.resize_bilinear_matrix(1, (2, 2), (4, 4)).toarray())

# %% [markdown]
# For maps of any number of pixels: two small matrices are enough, the large one is their Kronecker product.
#
# ## As a transposed convolution
#
# FCN enlarges its scores by a transposed convolution (전치 합성곱), the next lesson's subject, whose kernel (커널)
# *starts* as a tent. Away from the border that is the same thing:

# %%
tent = bilinear(rng, (1, 1, 4, 4), np.dtype(float))
scores = rng.standard_normal((1, 1, 5, 4))
stamped = ops.conv_transpose2d(scores, tent, stride=2, padding=1)
resized = ops.resize_bilinear(scores, (10, 8))

assert stamped.shape == resized.shape
assert np.allclose(stamped[..., 1:-1, 1:-1], resized[..., 1:-1, 1:-1])
assert not np.allclose(stamped[..., 0, :], resized[..., 0, :])  # it sees zeros outside, not the border repeated
figures.side_by_side({"the tent, 4 x 4, for stride 2": tent[0, 0]})

# %% [markdown]
# ## Backward: the adjoint
#
# In backpropagation (역전파) the gradient (기울기) goes back the way the values came: by the transpose of the matrix,
# the **adjoint** (수반). It is the only map for which these two numbers are always equal:
#
# $$\langle R x, g \rangle = \langle x, R^T g \rangle$$

# %%
x, g = rng.standard_normal((1, 2, 3, 5)), rng.standard_normal((1, 2, 7, 6))
there = (ops.resize_bilinear(x, (7, 6)) * g).sum()
back = (x * ops.resize_bilinear_backward(g, (3, 5))).sum()

assert np.isclose(there, back)
print(f"<R x, g> = {there:.6f}   <x, R^T g> = {back:.6f}")

# %% [markdown]
# The adjoint is no interpolation. The *rows* of R add up to 1, its columns do not: every pixel is used by four
# outputs, with weights that add up to 2 in each direction. So the gradient of a map of ones is a map of fours.
#
# And it is not the inverse: going up and coming back by the adjoint changes the map. Nor does resizing down bring it
# back: it blurs.

# %%
bump = np.zeros((1, 1, 3, 5))
bump[0, 0, 1, 2] = 16
up = ops.resize_bilinear(bump, (6, 10))
by_adjoint, by_resizing = ops.resize_bilinear_backward(up, (3, 5)), ops.resize_bilinear(up, (3, 5))

assert np.allclose(ops.resize_bilinear_backward(np.ones((1, 1, 6, 10)), (3, 5)), 4)
assert not np.allclose(by_adjoint, bump)
assert not np.allclose(by_resizing, bump)
figures.side_by_side(
    {"x": bump[0, 0], "R x": up[0, 0], "adjoint of R x": by_adjoint[0, 0], "R x, resized down": by_resizing[0, 0]}
)

# %% [markdown]
# ## Making maps smaller
#
# The formula works downwards too, but still looks at no more than two pixels in each direction. From 8 pixels to 2,
# half of the pixels are never seen. An average pool sees them all.

# %%
down = matrices.resize_bilinear_matrix(1, (1, 8), (1, 2)).toarray()

print(down)
assert (down.sum(axis=0) == 0).sum() == 4

# %% [markdown]
# ## Interpolate scores, never labels
#
# A label is a name, not an amount. Halfway between class 0 (background) and class 4 (ring) there is no class 2
# (square)! So a network's scores, the logits (로짓), are enlarged, one channel for each class, and *then* the best
# class is taken.

# %%
scenes = Shapes(20, image_size=(96, 96))
labels = next(scene.labels for scene in scenes if set(np.unique(scene.labels)) == {0, 4})
coarse = labels[4::8, 4::8]
one_hot = (coarse == np.arange(6)[:, None, None]).astype(float)  # (classes, 12, 12)

wrong = np.rint(ops.resize_bilinear(coarse[None, None].astype(float), (96, 96))[0, 0]).astype(np.uint8)
right = ops.segmentation_map(ops.resize_bilinear(one_hot[None], (96, 96)))[0].astype(np.uint8)

print("labels of the scene:     ", [scenes.classes[c] for c in np.unique(coarse)])
print("labels interpolated:     ", [scenes.classes[c] for c in np.unique(wrong)])
print("scores interpolated:     ", [scenes.classes[c] for c in np.unique(right)])
assert set(np.unique(wrong)) > {0, 4}
assert set(np.unique(right)) == {0, 4}
figures.side_by_side(
    {
        "coarse labels": paint(coarse, scenes.colors),
        "labels interpolated: wrong": paint(wrong, scenes.colors),
        "scores interpolated": paint(right, scenes.colors),
        "the scene's labels": paint(labels, scenes.colors),
    }
)

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of `...` and run the cell, the folded one below it (it holds the solution, and uses it
# only where you gave no answer), and the check.
#
# **1.** By hand: the pixels 2 and 6 become four, with half-pixel centres. Write the list.

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = [2, 3, 5, 6]

# %%
assert np.array_equal([[answer]], ops.resize_bilinear(np.array([[[[2.0, 6.0]]]]), (1, 4))[0])
print("Right: a quarter of the way, and three quarters.")

# %% [markdown]
# **2.** Three pixels become six. How many non-zeros has the matrix?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = 10  # two in each of six rows, but one in the first and one in the last

# %%
assert answer == matrices.resize_bilinear_matrix(1, (1, 3), (1, 6)).nnz
print("Right: and only they are stored and multiplied.")

# %% [markdown]
# **3.** Write `resize(x, height, width)` for one map x (H, W), using `interpolation` from above; then `answer =
# resize`.

# %% tags=["exercise"]
answer = ...


# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
def resize(x, height, width):
    """Along the columns of pixels, then along the rows."""
    return interpolation(x.shape[0], height) @ x @ interpolation(x.shape[1], width).T


if answer is ...:
    answer = resize

# %%
some_map = rng.standard_normal((3, 4))
assert np.allclose(answer(some_map, 7, 5), ops.resize_bilinear(some_map[None, None], (7, 5))[0, 0])
print("Right: bilinear interpolation is two matrix products.")
