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
# # 02 Convolution
#
# After this lesson you can
#
# - write a convolution as nested loops, as a product with columns, and as one sparse matrix, and say why all are equal;
# - say how large its output is, for any kernel size, stride and padding;
# - count its multiplications in two ways.
#
# Previous: [01 what segmentation is](01_what_segmentation_is.ipynb) · next:
# [03 convolution, backward](03_convolution_backward.ipynb) · all lessons: [README](README.md)
#
# The code behind it: [`npseg/ops/convolution.py`](../npseg/ops/convolution.py),
# [`npseg/ops/columns.py`](../npseg/ops/columns.py), [`npseg/geometry.py`](../npseg/geometry.py),
# [`npseg/matrices/convolution.py`](../npseg/matrices/convolution.py),
# [`npseg/engines/loops.py`](../npseg/engines/loops.py)

# %%
import numpy as np

from npseg import matrices, ops
from npseg.analysis import formulas
from npseg.data import Shapes
from npseg.teaching import figures, trace

# %% [markdown]
# ## A window looks around
#
# A **convolution** (합성곱) lays a small **kernel** (커널), also called a filter (필터), over the image,
# multiplies each pixel (픽셀) in the window by the weight on top of it, and adds up. The sum is one output.
# Then the window moves on.

# %%
x = np.array([[1, 0, 2, 1], [0, 1, 3, 0], [2, 1, 0, 1], [1, 0, 1, 2]], float).reshape(1, 1, 4, 4)
weight = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], float).reshape(1, 1, 3, 3)

steps = trace("conv2d", x, weight)
figures.step(steps, 1)

# %% [markdown]
# A 3 x 3 window fits into a 4 x 4 image at 2 x 2 places. Here are all of them:

# %%
figures.contact_sheet(steps)

# %% [markdown]
# What is it good for? This kernel compares what is left of a pixel with what is right of it. It answers at upright
# edges, and its transpose at level ones. A network learns its kernels; this pair was found by hand (Sobel, 1968).

# %% tags=["thumbnail"]
image, _, _ = Shapes(60, split="val", image_size=(96, 128))[40]
gray = image.mean(axis=-1).reshape(1, 1, 96, 128) / 255
upright = np.abs(ops.conv2d(gray, weight, padding=1))
level = np.abs(ops.conv2d(gray, weight.transpose(0, 1, 3, 2), padding=1))
figures.side_by_side(
    {
        "image": gray[0, 0],
        "upright edges, largest white": upright[0, 0] / upright.max(),
        "level edges, largest white": level[0, 0] / level.max(),
    }
)

# %% [markdown]
# ## As loops
#
# The definition, one multiplication at a time. `(i, j)` is the output's place, `(k, l)` the weight's:


# %%
def convolve_plane(x, weight):
    """One channel, no padding, stride 1: x (H, W), weight (K_h, K_w)."""
    height, width = x.shape
    kernel_height, kernel_width = weight.shape
    y = np.zeros((height - kernel_height + 1, width - kernel_width + 1))
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            for k in range(kernel_height):
                for l in range(kernel_width):  # noqa: E741
                    y[i, j] += x[i + k, j + l] * weight[k, l]
    return y


print(convolve_plane(x[0, 0], weight[0, 0]))
assert np.array_equal(convolve_plane(x[0, 0], weight[0, 0]), ops.conv2d(x, weight)[0, 0])

# %% [markdown]
# **A name to be careful with.** Mathematics flips the kernel before it multiplies, and calls what we do
# **cross-correlation** (교차상관). Deep learning says convolution and flips nothing: the weights are learned, so a
# flipped kernel would simply be learned flipped. NumPy has both, in one dimension:

# %%
line, kernel = np.array([0.0, 0.0, 1.0, 0.0, 0.0]), np.array([1.0, 2.0, 3.0])
print("np.convolve (flips)       ", np.convolve(line, kernel, "valid"))
print("np.correlate (does not)   ", np.correlate(line, kernel, "valid"))
ours = ops.conv2d(line.reshape(1, 1, 1, 5), kernel.reshape(1, 1, 1, 3))
print("npseg, PyTorch, TensorFlow", ours.ravel())
assert np.array_equal(ours.ravel(), np.correlate(line, kernel, "valid"))

# %% [markdown]
# ## Stride, padding, and the size of the output
#
# The **stride** (스트라이드) is how far the window moves from one output to the next. **Padding** (패딩) puts
# zeros around the image, so that a window may hang over its border. With kernel size K, stride s, and p
# zeros on each side, H rows give
#
# $$H_{out} = \left\lfloor \frac{H + 2p - K}{s} \right\rfloor + 1$$

# %%
wide = np.arange(20.0).reshape(1, 1, 4, 5)
strided = trace("conv2d", wide, weight, stride=2, padding=1)
figures.contact_sheet(strided)

# %%
for size, kernel_size, stride, padding in [(4, 3, 1, 0), (5, 3, 2, 1), (6, 3, 2, 1), (224, 3, 1, 1), (224, 7, 2, 3)]:
    by_formula = (size + 2 * padding - kernel_size) // stride + 1
    cost = formulas.conv2d(1, 1, kernel_size, (size, size), stride=stride, padding=padding)
    assert cost.output_size == (by_formula, by_formula)
    print(f"{size:3} pixels, kernel size {kernel_size}, stride {stride}, padding {padding}: {by_formula} outputs")

# %% [markdown]
# K = 3 with padding 1 and stride 1 keeps the size; this is called padding `"same"`. Without padding it is called
# `"valid"`.
#
# ## Channels
#
# An image has three channels (red, green, blue), and a map inside a network has hundreds. A kernel has weights for
# **all** input channels and gives **one** output channel; M kernels give M of them. So the weights have four axes:
# (output channels, input channels, rows, columns).


# %%
def convolve(x, weight, stride=1):
    """All channels of one image: x (C, H, W), weight (M, C, K, K); each output is the sum of a whole block."""
    channels_out, _, kernel_size, _ = weight.shape
    height, width = ((size - kernel_size) // stride + 1 for size in x.shape[1:])
    y = np.zeros((channels_out, height, width))
    for m, i, j in np.ndindex(y.shape):
        row, column = i * stride, j * stride
        y[m, i, j] = np.sum(x[:, row : row + kernel_size, column : column + kernel_size] * weight[m])
    return y


rng = np.random.default_rng(2)
maps = rng.standard_normal((3, 7, 8))
kernels = rng.standard_normal((4, 3, 3, 3))
assert np.allclose(convolve(maps, kernels, stride=2), ops.conv2d(maps[None], kernels, stride=2)[0])
print("3 channels of 7 x 8, 4 kernels, stride 2:", convolve(maps, kernels, stride=2).shape)

# %% [markdown]
# ## As columns
#
# Loops in Python are slow, but a processor multiplies matrices very fast. So copy each window into a column, and
# lay the kernels out as rows. Then *one* matrix product is the whole convolution. The copying is called **im2col**.

# %%
figures.im2col_columns(steps)

# %%
columns = ops.im2col(x, 3)[0]
assert columns.shape == (9, 4)  # (pixels of a window, windows)
product = weight.reshape(1, 9) @ columns
assert np.array_equal(product.reshape(2, 2), convolve_plane(x[0, 0], weight[0, 0]))
print(product)

# %% [markdown]
# With several channels a column holds the windows of all of them, one below the other, and the kernels are a matrix of
# shape (M, C K K):

# %%
columns_of_maps = ops.im2col(maps[None], 3, stride=2)[0]
by_columns = (kernels.reshape(4, -1) @ columns_of_maps).reshape(4, 3, 3)
assert np.allclose(by_columns, convolve(maps, kernels, stride=2))
print(f"kernels {kernels.reshape(4, -1).shape} @ columns {columns_of_maps.shape}")

# %% [markdown]
# The price is memory: neighbouring windows share most of their pixels, and each is copied again. With stride 1, im2col
# writes every pixel K x K times (but for the border). [Lesson 12](12_fast_kernels.ipynb) looks for ways around that.

# %%
x_large = np.zeros((1, 64, 56, 56), np.float32)
copies = ops.im2col(x_large, 3, padding=1)
print(f"64 channels of 56 x 56: {x_large.nbytes / 2**20:.2f} MiB, their columns {copies.nbytes / 2**20:.2f} MiB")
assert copies.size == 9 * x_large.size

# %% [markdown]
# ## As one sparse matrix
#
# Every output is a sum of inputs times numbers. So the convolution is a linear map: flatten the image into a vector of
# 16 numbers, and there is a matrix A with $y = A x$. It has a row for each output and a column for each input pixel.

# %%
figures.matrix_and_transpose(steps)

# %%
A = matrices.conv2d_matrix(weight, (4, 4))
assert A.shape == (4, 16)
assert np.array_equal(A @ x.ravel(), convolve_plane(x[0, 0], weight[0, 0]).ravel())
print(A @ x.ravel())

# %% [markdown]
# Read row 0 as a picture of 4 x 4 pixels: it is the kernel, lying on the image where the window of output 0
# lies. The next rows show it one step further. The *same* weights come back in every row (weight sharing).
# All else is zero, and on larger images that is nearly everything: A is a **sparse matrix** (희소 행렬), of
# which only the entries are stored.

# %%
rows = A.toarray().reshape(4, 4, 4)
larger = matrices.conv2d_matrix(weight, (32, 32))
share = larger.nnz / np.prod(larger.shape)
print(f"for 32 x 32 pixels A is {larger.shape[0]} x {larger.shape[1]}, and {share:.1%} of it is filled")
figures.side_by_side({f"row {number} of A": row for number, row in enumerate(rows)})

# %% [markdown]
# A fully connected layer from 16 to 4 numbers would have a matrix of the same shape with 64 weights of its own. The
# convolution has 9 weights and 36 entries: one entry for each multiplication that the loops do.

# %%
assert A.nnz == 4 * 9  # outputs times pixels of a window
print(f"{A.shape[0] * A.shape[1]} places, {A.nnz} entries, {np.unique(steps.table.weight).size} different weights")

# %% [markdown]
# ## All the same
#
# Loops, columns and matrix are three ways to write the same multiplications. In npseg they are *engines*: each computes
# every operation, and the tests hold them against each other. On whole numbers they agree to the last bit.

# %%
for engine in ("loops", "im2col", "sparse"):
    y = ops.conv2d(x, weight, engine=engine)
    assert np.array_equal(y, ops.conv2d(x, weight, engine="loops"))
    print(f"{engine:7}", y.ravel())

# %% [markdown]
# How much work is it? Count one **multiply-accumulate** (곱셈-누산, MAC) for each product that is added to a sum:

# %%
cost = formulas.conv2d(1, 1, 3, (4, 4), bias=False)
print(cost.explain())
assert cost.macs == A.nnz

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of `...` and run the cell, the folded one below it (the solution, used only where you
# gave no answer), and the check.
#
# **1.** An image of 33 x 64 pixels, a 5 x 5 kernel, stride 2, padding 2. How large is the output, `(rows, columns)`?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = ((33 + 4 - 5) // 2 + 1, (64 + 4 - 5) // 2 + 1)

# %%
y = ops.conv2d(np.zeros((1, 1, 33, 64)), np.zeros((1, 1, 5, 5)), stride=2, padding=2)
assert tuple(answer) == y.shape[2:]
print("Right: (17, 32). The floor takes half a step away from the columns.")

# %% [markdown]
# **2.** The matrix of a 3 x 2 kernel on an image of 6 x 5 pixels, without padding, stride 1: how many entries does
# it have?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = (6 - 3 + 1) * (5 - 2 + 1) * (3 * 2)

# %%
assert answer == matrices.conv2d_matrix(np.ones((1, 1, 3, 2)), (6, 5)).nnz
print("Right: 4 x 4 outputs, 6 multiplications each.")

# %% [markdown]
# **3.** Which 3 x 3 kernel, with padding 1, moves an image one pixel to the **left** (and lets a column of zeros in
# from the right)? Give an array of shape (3, 3). Mind which way our convolution looks.

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 0]])

# %%
moved = ops.conv2d(x, np.array(answer, float).reshape(1, 1, 3, 3), padding=1)
assert np.array_equal(moved[0, 0, :, :-1], x[0, 0, :, 1:])
assert not moved[0, 0, :, -1].any()
print("Right: each output takes the pixel on its right. A flipped kernel would have moved it to the right.")
