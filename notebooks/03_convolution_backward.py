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
# # 03 Convolution, backward
#
# After this lesson you can
#
# - compute the gradients of a convolution by hand: of its input, its weights and its bias;
# - say why each of them adds with `+=`, and what goes wrong without;
# - check any gradient with two forward passes.
#
# Previous: [02 convolution](02_convolution.ipynb) · next: [04 dilation](04_dilation.ipynb) · all lessons:
# [README](README.md)
#
# The code behind it: [`npseg/ops/convolution.py`](../npseg/ops/convolution.py),
# [`npseg/engines/loops.py`](../npseg/engines/loops.py), [`npseg/engines/im2col.py`](../npseg/engines/im2col.py),
# [`npseg/ops/activation.py`](../npseg/ops/activation.py),
# [`npseg/ops/normalisation.py`](../npseg/ops/normalisation.py),
# [`npseg/matrices/sparse_matrix.py`](../npseg/matrices/sparse_matrix.py)

# %%
import numpy as np

from npseg import matrices, ops
from npseg.teaching import figures, trace

# %% [markdown]
# ## What is asked
#
# Training makes one number small, the **loss** (손실). For that it needs to know how the loss changes with
# each weight: its **gradient** (기울기). A network is a chain of layers, and **backpropagation** (역전파) walks
# the chain back: each layer is given the gradient of its *output*, and must return the gradients of its
# *inputs*, its own weights among them.
#
# Forward, the layer computed `y = conv2d(x, weight, bias)`. Backward it is given `grad` = dLoss/dy, shaped like y, and
# owes dLoss/dx, dLoss/dweight and dLoss/dbias.

# %%
x = np.array([[1, 0, 2, 1], [0, 1, 3, 0], [2, 1, 0, 1], [1, 0, 1, 2]], float).reshape(1, 1, 4, 4)
weight = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], float).reshape(1, 1, 3, 3)
grad = np.array([[1, 2], [3, -1]], float).reshape(1, 1, 2, 2)

figures.side_by_side({"x": x[0, 0], "weight": weight[0, 0], "y": ops.conv2d(x, weight)[0, 0], "grad": grad[0, 0]})

# %% [markdown]
# ## One product, two gradients
#
# Look at a single multiplication of the forward loops ([lesson 02](02_convolution.ipynb)):
#
# `y[i, j] += x[i + k, j + l] * weight[k, l]`
#
# If this pixel grows by a little, `y[i, j]` grows by that times `weight[k, l]`, and the loss by that times `grad[i,
# j]`. If the weight grows, the same with the pixel. So each forward product gives rise to two backward products:
#
# `grad_x[i + k, j + l] += grad[i, j] * weight[k, l]`
#
# `grad_weight[k, l] += grad[i, j] * x[i + k, j + l]`
#
# The loops stay as they are; only the roles of the three arrays change.


# %%
def convolve_backward(grad, x, weight):
    """The gradients of one channel's convolution, no padding, stride 1: all planes (rows, columns)."""
    grad_x, grad_weight = np.zeros_like(x), np.zeros_like(weight)
    for i, j in np.ndindex(grad.shape):
        for k, l in np.ndindex(weight.shape):  # noqa: E741
            grad_x[i + k, j + l] += grad[i, j] * weight[k, l]
            grad_weight[k, l] += grad[i, j] * x[i + k, j + l]
    return grad_x, grad_weight


by_hand = convolve_backward(grad[0, 0], x[0, 0], weight[0, 0])
grad_x, grad_weight, grad_bias = ops.conv2d_backward(grad, x, weight)
assert np.array_equal(by_hand[0], grad_x[0, 0])
assert np.array_equal(by_hand[1], grad_weight[0, 0])
figures.side_by_side({"gradient of x": by_hand[0], "gradient of weight": by_hand[1]})

# %% [markdown]
# ## The gradient of the input: a scatter
#
# Forward, each output *gathers* from its window. Backward, each output's gradient is *sent back* to the pixels of that
# window, times the weights they had. This is the third step:

# %% tags=["thumbnail"]
backward = trace("conv2d_grad_input", grad, weight, (4, 4))
figures.step(backward, 2)

# %% [markdown]
# ## Why `+=`
#
# A pixel lies in several windows, so it takes part in several outputs. Its gradient is the **sum** over all of
# them. See how the windows overlap, and how later steps add to what earlier ones left:

# %%
figures.contact_sheet(backward)

# %% [markdown]
# How many windows see each pixel? Put ones everywhere and count: that is what a gradient of ones and a kernel of
# ones do.

# %%
counts = ops.conv2d_grad_input(np.ones((1, 1, 2, 2)), np.ones((1, 1, 3, 3)), (4, 4))[0, 0]
assert counts.sum() == 4 * 9  # every product arrives somewhere
figures.side_by_side({"windows that see each pixel": counts})

# %% [markdown]
# With `=` in place of `+=` only the last window would count. Nothing crashes, and the corners are even right:


# %%
def forgetful(grad, weight, height, width):
    """The same loops with the mistake."""
    grad_x = np.zeros((height, width))
    for i, j in np.ndindex(grad.shape):
        for k, l in np.ndindex(weight.shape):  # noqa: E741
            grad_x[i + k, j + l] = grad[i, j] * weight[k, l]
    return grad_x


wrong = forgetful(grad[0, 0], weight[0, 0], 4, 4)
assert not np.array_equal(wrong, grad_x[0, 0])
assert np.array_equal(wrong[counts == 1], grad_x[0, 0][counts == 1])
figures.side_by_side({"right": grad_x[0, 0], "with = instead of +=": wrong, "difference": wrong - grad_x[0, 0]})

# %% [markdown]
# The same trap waits in NumPy's indexing. `total[places] += values` reads, adds and writes *once* for each place,
# even where a place is named twice. `np.add.at` adds every time.

# %%
places, values = np.array([0, 1, 1]), np.array([1.0, 1.0, 1.0])
total = np.zeros(3)
total[places] += values
really = np.zeros(3)
np.add.at(really, places, values)
print("total[places] += values ", total)
print("np.add.at               ", really)
assert total.tolist() == [1, 1, 0]
assert really.tolist() == [1, 2, 0]

# %% [markdown]
# ## The gradient of the weights: a correlation
#
# The same weight is used at every position. So its gradient, too, is a sum: over all outputs, of the output's gradient
# times the pixel that the weight lay on there. Put differently: **slide the gradient over the input**. Its window is as
# large as the output, and there is one place for each weight.

# %%
to_weight = trace("conv2d_grad_weight", grad, x, 3)
figures.step(to_weight, 4)

# %%
slid = ops.conv2d(x, grad)  # the gradient as the kernel
assert np.array_equal(slid, grad_weight)
print(slid[0, 0])

# %% [markdown]
# The **bias** is added at every position, so its gradient is the plain sum of the output's gradient.

# %%
assert grad_bias.tolist() == [grad.sum()]
print(grad_bias)

# %% [markdown]
# ## Is it right? Ask the forward pass
#
# A gradient makes a promise: move along a direction d by a small h, and the loss changes by h times (gradient · d).
# Two forward passes check it. The loss here is any function of y; we take `sum(grad * y)`, whose gradient in y is
# `grad`. Random numbers and unequal sizes make sure that no axis is swapped.

# %%
rng = np.random.default_rng(3)
images = rng.standard_normal((2, 3, 6, 5))
kernels = rng.standard_normal((4, 3, 3, 2))
cotangent = rng.standard_normal((2, 4, 3, 6))  # shaped like the output


def measured_and_promised(loss, array, gradient, h=1e-5):
    """How the loss changes along a random direction: by two forward passes, and by the gradient."""
    direction = rng.standard_normal(array.shape)
    measured = (loss(array + h * direction) - loss(array - h * direction)) / (2 * h)
    return measured, np.sum(gradient * direction)


def convolved(images, kernels):
    return ops.conv2d(images, kernels, stride=(2, 1), padding=1)


grad_images, grad_kernels, _ = ops.conv2d_backward(cotangent, images, kernels, stride=(2, 1), padding=1)
for name, loss, array, gradient in (
    ("images", lambda moved: np.sum(cotangent * convolved(moved, kernels)), images, grad_images),
    ("kernels", lambda moved: np.sum(cotangent * convolved(images, moved)), kernels, grad_kernels),
):
    measured, promised = measured_and_promised(loss, array, gradient)
    print(f"{name:8} measured {measured:9.4f}, promised {promised:9.4f}")
    assert np.isclose(measured, promised, rtol=1e-6)

# %% [markdown]
# The same check serves every other layer. The ReLU passes a gradient on where its output is above 0; ReLU6, its form
# in networks for small devices, stops at 6, and the gradient with it. Dropout uses the mask of the forward pass again.
# In a normalisation each value changes the mean and the spread of its neighbours, too, so its gradient is a sum once
# more.

# %%
gamma, beta = rng.standard_normal(3), rng.standard_normal(3)
g = rng.standard_normal(images.shape)


def batch_norm(images):
    return ops.batch_norm2d(images, gamma, beta, np.zeros(3), np.ones(3), training=True)


_, mask = ops.dropout(images, 0.5, rng)
layers = {
    "relu": (ops.relu, ops.relu_backward(g, ops.relu(images))),
    "relu6": (lambda moved: ops.relu6(9 * moved), 9 * ops.relu6_backward(g, ops.relu6(9 * images))),
    "dropout": (lambda moved: moved * mask, ops.dropout_backward(g, mask)),
    "batch_norm2d": (
        lambda moved: batch_norm(moved)[0],
        ops.batch_norm2d_backward(g, images, gamma, batch_norm(images)[1])[0],
    ),
    "local_response_norm": (
        lambda moved: ops.local_response_norm(moved, 3, alpha=0.5),
        ops.local_response_norm_backward(g, images, 3, alpha=0.5),
    ),
}
for name, (layer, gradient) in layers.items():
    measured, promised = measured_and_promised(lambda moved, layer=layer: np.sum(g * layer(moved)), images, gradient)
    print(f"{name:20} measured {measured:9.4f}, promised {promised:9.4f}")
    assert np.isclose(measured, promised, rtol=1e-5)

# %% [markdown]
# ## As columns
#
# Forward: `y = W @ columns`. Backward, by the rule for a matrix product, and with the steps of forward in reverse:
#
# - `grad_W = grad @ columns.T`
# - `grad_columns = W.T @ grad`
# - `grad_x = col2im(grad_columns)`: every column is *added* back to the window it was copied from.
#
# Here the `+=` hides in col2im, the adjoint of im2col.

# %%
columns = ops.im2col(x, 3)[0]
W, G = weight.reshape(1, 9), grad.reshape(1, 4)
assert np.array_equal((G @ columns.T).reshape(3, 3), grad_weight[0, 0])
assert np.array_equal(ops.col2im((W.T @ G)[None], (4, 4), 3), grad_x)

copied_and_added = ops.col2im(ops.im2col(x, 3), (4, 4), 3)
assert np.array_equal(copied_and_added[0, 0], counts * x[0, 0])
print("col2im(im2col(x)) is x times the number of windows that see each pixel, not x:")
print(copied_and_added[0, 0])

# %% [markdown]
# ## As a matrix: the transpose
#
# Forward: `y = A @ x`, with the sparse matrix A (희소 행렬). Backward: `grad_x = A.T @ grad`. Row 5 of the
# transpose lists who saw pixel 5. It has four entries, and the product *sums* them: this is the `+=` once
# more.

# %%
figures.matrix_and_transpose(backward.matrix().T, name="the convolution")

# %%
A = matrices.conv2d_matrix(weight, (4, 4))
assert np.array_equal(A.T @ grad.ravel(), grad_x.ravel())
assert np.array_equal(backward.matrix().toarray(), A.T.toarray())
print("entries in the rows of A.T:", A.T.row_lengths)
assert np.array_equal(A.T.row_lengths.reshape(4, 4), counts)

# %% [markdown]
# A map and its transpose are **adjoint** (수반): for all x and g,
#
# $$\langle A x, g \rangle = \langle x, A^T g \rangle$$
#
# That is a test for a backward pass that needs no small h. Note what the transpose is *not*: it is not the inverse.
# `A.T @ (A @ x)` is not x. [Lesson 08](08_transposed.ipynb) comes back to this.

# %%
y = convolved(images, kernels)
assert np.isclose(np.sum(y * cotangent), np.sum(images * grad_images))
assert not np.allclose(A.T @ (A @ x.ravel()), x.ravel())
print(f"<A x, g> = {np.sum(y * cotangent):.6f}, <x, A^T g> = {np.sum(images * grad_images):.6f}")

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of `...` and run the cell, the folded one below it (the solution, used only where you
# gave no answer), and the check.
#
# **1.** A 3 x 3 kernel, stride 1, no padding, on an image of 7 x 7 pixels. How many products are added up in the
# gradient of the pixel in the very middle, and how many in that of the pixel at row 0, column 3? Give a pair.

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = (9, 3)

# %%
seen = matrices.conv2d_matrix(np.ones((1, 1, 3, 3)), (7, 7)).T.row_lengths.reshape(7, 7)
assert tuple(answer) == (seen[3, 3], seen[0, 3])
print("Right: nine windows see the middle, three see a pixel of the first row.")

# %% [markdown]
# **2.** The output of a convolution has shape (2, 1, 3, 4), and the gradient of the loss is 0.5 everywhere on it.
# What is the gradient of the bias?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = 0.5 * 2 * 3 * 4

# %%
halves = np.full((2, 1, 3, 4), 0.5)
assert answer == ops.conv2d_backward(halves, np.zeros((2, 1, 5, 6)), np.zeros((1, 1, 3, 3)))[2][0]
print("Right: the sum over images and positions, 12.")

# %% [markdown]
# **3.** Write a function of `grad` (H_out, W_out), `weight` (K_h, K_w) and `stride` that returns the gradient of
# the input of a convolution with that stride, without padding. Take the smallest image with so many windows:
# `(H_out - 1) * stride + K_h` rows, and columns likewise. Then `answer = your_function`.

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:

    def answer(grad, weight, stride):
        """Each output's gradient is stamped onto the input, times the kernel."""
        rows, columns = ((g - 1) * stride + k for g, k in zip(grad.shape, weight.shape, strict=True))
        grad_x = np.zeros((rows, columns))
        for i, j in np.ndindex(grad.shape):
            top, left = i * stride, j * stride
            grad_x[top : top + weight.shape[0], left : left + weight.shape[1]] += grad[i, j] * weight
        return grad_x


# %%
some_grad, some_weight = rng.standard_normal((3, 2)), rng.standard_normal((3, 4))
expected = ops.conv2d_grad_input(some_grad[None, None], some_weight[None, None], (7, 6), stride=2)[0, 0]
assert np.allclose(answer(some_grad, some_weight, 2), expected)
print("Right. What you have written is also the forward pass of the transposed convolution: lesson 08.")
