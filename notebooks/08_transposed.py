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
# # 08 Deconvolution, adjoint and transposed convolution
#
# After this lesson you can
#
# - tell the three apart, though books and papers mix up their names;
# - enlarge a map with a kernel, by stamps and by zero-stuffing, and say how large the result is;
# - see from kernel size and stride whether a checkerboard threatens.
#
# Previous: [07 bilinear interpolation](07_bilinear.ipynb) · next: [09 from classifier to
# FCN](09_classifier_to_fcn.ipynb) · all lessons: [README](README.md)
#
# The code behind it: [`npseg/ops/transposed.py`](../npseg/ops/transposed.py),
# [`npseg/ops/deconvolution.py`](../npseg/ops/deconvolution.py), [`npseg/geometry.py`](../npseg/geometry.py)

# %%
import numpy as np

from npseg import matrices, ops
from npseg.analysis import formulas, measured
from npseg.nn import ConvTranspose2d
from npseg.nn.initialisation import bilinear
from npseg.teaching import figures, trace

rng = np.random.default_rng(8)

# %% [markdown]
# ## Three ways back
#
# A 3 x 3 convolution (합성곱) takes 4 x 4 pixels (픽셀) to 2 x 2. Written as a sparse matrix (희소 행렬) A it is 4 x
# 16: y = A x. (Convolution here is cross-correlation, 교차상관: the kernel is not flipped.)

# %%
kernel = np.array([[1.0, 2.0, 1.0], [2.0, 3.0, -1.0], [1.0, -1.0, -2.0]])[None, None]
x = np.array([[1.0, 0.0, 2.0, 1.0], [0.0, 1.0, 0.0, 1.0], [2.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 2.0]])[None, None]
A = matrices.conv2d_matrix(kernel, (4, 4))
y = ops.conv2d(x, kernel)

assert A.shape == (4, 16)
assert np.array_equal(A @ x.ravel(), y.ravel())
figures.side_by_side({"A, 4 x 16": A.toarray()})

# %% [markdown]
# Now back, from 2 x 2 to 4 x 4. Three different maps do that, and they answer three different questions.
#
# | | question | matrix | values |
# |---|---|---|---|
# | **adjoint** (수반) | how does the loss change with each input? | the transpose of A | A's own |
# | **deconvolution** (역합성곱) | which input gave this output? | the (pseudo-)inverse of A | follow from A's |
# | **transposed convolution** (전치 합성곱) | which larger map is useful? | the same *pattern* | learned |

# %%
learned = np.array([[3.0, -1.0, 1.0], [2.0, 4.0, -1.0], [-3.0, 2.0, 1.0]])[None, None]
adjoint = ops.conv2d_grad_input(y, kernel, (4, 4))
deconvolved = ops.deconvolve2d(y[0, 0], kernel[0, 0])[None, None]
transposed = ops.conv_transpose2d(y, learned)

figures.side_by_side(
    {
        "x": x[0, 0],
        "y = A x": y[0, 0],
        "adjoint of y": adjoint[0, 0],
        "deconvolution of y": deconvolved[0, 0].round(2),
        "transposed convolution of y": transposed[0, 0],
    }
)

# %% [markdown]
# Test them by convolving once more. Only deconvolution gives y again. (Even it does not give x: 4 equations cannot
# fix 16 unknowns, and of all maps that fit it takes the smallest.)

# %%
again = {
    "adjoint": ops.conv2d(adjoint, kernel),
    "deconvolution": ops.conv2d(deconvolved, kernel),
    "transposed convolution": ops.conv2d(transposed, kernel),
}

assert np.allclose(again["deconvolution"], y)
assert not np.allclose(deconvolved, x)
assert not np.allclose(again["adjoint"], y)
assert not np.allclose(again["transposed convolution"], y)
assert np.array_equal(adjoint.ravel(), A.T @ y.ravel())
assert np.allclose(deconvolved.ravel(), np.linalg.pinv(A.toarray()) @ y.ravel())
figures.side_by_side({"y": y[0, 0]} | {f"{name}, convolved": values[0, 0] for name, values in again.items()})

# %% [markdown]
# What do adjoint and transposed convolution share? Where their matrices are filled. The values are different things:
# the one has those of a convolution that exists somewhere; the other has its own, and training changes them.

# %%
T = matrices.conv_transpose2d_matrix(learned, (2, 2))

assert T.shape == (16, 4)
assert np.array_equal(T.indices, A.T.indices)  # the same columns in
assert np.array_equal(T.indptr, A.T.indptr)  # the same rows
assert not np.array_equal(T.data, A.T.data)
figures.side_by_side(
    {"adjoint: A transposed": A.T.toarray(), "transposed convolution": T.toarray()},
    title="One pattern, two sets of values",
)

# %% [markdown]
# With *equal* values the two are one function. That is how the library computes it: the forward pass of the
# transposed convolution is the backward pass of a convolution, and the other way round.
#
# Many papers, FCN's among them, say "deconvolution" and mean the transposed convolution. It undoes nothing.

# %%
assert np.array_equal(ops.conv_transpose2d(y, kernel), adjoint)

# %% [markdown]
# ## Stamps
#
# How does it compute? Each input pixel stamps the kernel (커널), times its value, into the output. Where stamps
# overlap they add: `+=`. From 2 x 2 pixels, at stride (스트라이드) 1, a 3 x 3 kernel makes 4 x 4.

# %% tags=["thumbnail"]
small = np.array([[1.0, 2.0], [3.0, 4.0]])[None, None]
ones = np.ones((1, 1, 3, 3))
stride_1 = trace("conv_transpose2d", small, ones)

assert stride_1.result.shape == (1, 1, 4, 4)
figures.contact_sheet(stride_1)

# %% [markdown]
# At stride 2, the stamps stand two pixels apart **in the output**. Now it is 5 x 5.

# %%
stride_2 = trace("conv_transpose2d", small, ones, stride=2)

assert stride_2.result.shape == (1, 1, 5, 5)
figures.step(stride_2, 1)

# %% [markdown]
# There is a second way to see it. Put stride - 1 zeros between the pixels, and zeros around them; then run a plain
# convolution of stride 1 with the flipped kernel. Both give the same, number for number. (It multiplies mostly zeros,
# so nobody computes it that way.)

# %%
some_kernel = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
stuffed = trace("conv_transpose2d", small, some_kernel, stride=2, view="zero_stuffed")

assert np.array_equal(stuffed.result, trace("conv_transpose2d", small, some_kernel, stride=2).result)
figures.step(stuffed, 6)

# %% [markdown]
# ## How large is the output?
#
# The first stamp is K pixels wide, and each further one adds a stride; padding (패딩) is *cut off*:
#
# $$\text{output} = (\text{input} - 1) \cdot \text{stride} + K - \text{padding on both sides} + \text{output padding}$$
#
# Keras has two words for it. `valid` cuts nothing. `same` means output = input x stride, whatever the kernel.


# %%
def output_size(kernel_size, stride, **padding):
    """The side of the output for 2 x 2 pixels."""
    return ops.conv_transpose2d(small, np.ones((1, 1, kernel_size, kernel_size)), stride=stride, **padding).shape[2]


print("from 2 x 2 pixels, to the side of   valid   same")
for kernel_size, stride in ((3, 1), (3, 2), (4, 2), (2, 2), (2, 3)):
    valid, same = (output_size(kernel_size, stride, padding=padding) for padding in ("valid", "same"))
    print(f"kernel {kernel_size}, stride {stride}: {valid:18} {same:6}")
    assert valid == (2 - 1) * stride + kernel_size
    assert same == 2 * stride
assert (output_size(3, 1, padding="valid"), output_size(3, 2, padding="valid")) == (4, 5)

# %% [markdown]
# Which pixels does `same` cut? Of the K - stride surplus rows the first half (rounded down) goes at the top, the rest
# at the bottom. For K = 3 and stride 2 there is one surplus row: it goes at the bottom. Where the kernel is smaller
# than the stride (the last line above) there is nothing to cut; zeros are added at the bottom and right instead.
#
# One warning for that rare case: there Keras adds the zeros for `valid` too, and says 6. npseg and PyTorch keep to
# the formula, and say 5. With a kernel as large as the stride or larger, all agree.


# %%
def keras_valid(size, kernel_size, stride):
    """The output's side by Keras's own rule."""
    return size * stride + max(kernel_size - stride, 0)


assert all(keras_valid(2, k, s) == output_size(k, s) for k, s in ((3, 1), (3, 2), (4, 2), (2, 2)))
assert (keras_valid(2, 2, 3), output_size(2, 3)) == (6, 5)

# %%
full = stride_2.result[0, 0]
kept = ops.conv_transpose2d(small, ones, stride=2, padding="same")[0, 0]

assert np.array_equal(kept, full[:4, :4])
figures.side_by_side({"valid": full, "same": kept})

# %% [markdown]
# **Why output padding?** A convolution of stride 2 takes 5 *and* 6 pixels to 2 (it never looks at the sixth). So the
# way back from 2 is ambiguous: 5, or 6 with output padding 1. One says which.

# %%
sizes = [ops.conv2d(np.ones((1, 1, side, side)), ones, stride=2).shape[2] for side in (5, 6)]

assert sizes == [2, 2]
assert (output_size(3, 2), output_size(3, 2, output_padding=1)) == (5, 6)

# %% [markdown]
# ## Its values are learned
#
# Let us watch it learn. The target: what bilinear interpolation (양선형 보간) makes of random maps. The student: one
# 4 x 4 kernel, stride 2, all zeros at first. Gradient descent, with the gradient (기울기) from
# `conv_transpose2d_backward`. (The outermost pixels are left out of the loss (손실): there the two see different
# things.)

# %%
maps = rng.standard_normal((16, 1, 6, 6))
target = ops.resize_bilinear(maps, (12, 12))
inside = np.zeros((12, 12))
inside[1:-1, 1:-1] = 1
student, losses = np.zeros((1, 1, 4, 4)), []
for _ in range(31):
    error = (ops.conv_transpose2d(maps, student, stride=2, padding=1) - target) * inside
    losses.append((error**2).mean())
    _, grad_kernel, _ = ops.conv_transpose2d_backward(2 * error / error.size, maps, student, stride=2, padding=1)
    student -= 1.5 * grad_kernel

teacher = bilinear(rng, (1, 1, 4, 4), np.dtype(float))
assert np.abs(student - teacher).max() < 0.001
for step in (0, 10, 20, 30):
    print(f"step {step:2}: loss {losses[step]:.0e}")
figures.side_by_side({"learned": student[0, 0].round(2), "bilinear": teacher[0, 0].round(2)})

# %% [markdown]
# ## Checkerboards
#
# Count how many stamps meet at each output pixel. If the stride does not divide the kernel size, some pixels get more
# than their neighbours, in a pattern that repeats at every stride: a checkerboard.

# %%
figures.checkerboard(((2, 2), (3, 2), (4, 2), (4, 3), (2, 3)), size=3)

# %% [markdown]
# The reason is one line of arithmetic. Along one axis output h is reached by tap k if h - k is a multiple of the
# stride. So the taps fall into *stride* groups, by k modulo stride, and each output pixel belongs to one group. K = 3
# taps at stride 2 make groups of 2 and 1; K = 4 makes 2 and 2.

# %%
for kernel_size, stride in ((3, 2), (4, 2), (4, 3), (6, 3)):
    groups = [len(range(phase, kernel_size, stride)) for phase in range(stride)]
    inner = figures.overlaps(kernel_size, stride, 6)[kernel_size:-kernel_size, kernel_size:-kernel_size]
    print(f"kernel {kernel_size}, stride {stride}: groups of {groups} taps")
    assert (inner.min() == inner.max()) == (kernel_size % stride == 0)
    assert set(np.unique(inner)) == {a * b for a in groups for b in groups}

# %% [markdown]
# **Even overlap is not enough.** A 4 x 4 kernel at stride 2 has equal groups, but the weights in them may differ: the
# learned ones decide. Give three kernels a constant map of ones. What comes out should be constant as well, and is so
# only if all groups have the same *sum*. The bilinear kernel has: its tents are a partition of unity.

# %%
constant = np.ones((1, 1, 6, 6))
kernels = {
    "3 x 3, all equal": np.full((1, 1, 3, 3), 4 / 9),
    "4 x 4, random": rng.random((1, 1, 4, 4)) / 2,
    "4 x 4, bilinear": teacher,
}
results = {name: ops.conv_transpose2d(constant, weight, stride=2)[0, 0, 4:8, 4:8] for name, weight in kernels.items()}

for name, weight in kernels.items():
    sums = [weight[0, 0, a::2, b::2].sum() for a in (0, 1) for b in (0, 1)]
    print(f"{name:17} sums of the four groups: {'  '.join(f'{s:.2f}' for s in sums)}")
    assert np.isclose(np.ptp(results[name]), np.ptp(sums))
figures.side_by_side(
    {name: values.round(2) for name, values in results.items()},
    title="A constant map, enlarged at stride 2 (its middle)",
)

# %% [markdown]
# Three remedies, then: a kernel size that the stride divides; a start from the bilinear kernel, as FCN does it; or no
# transposed convolution at all, but a bilinear resize and a plain convolution behind it (Odena, Dumoulin and Olah,
# "Deconvolution and checkerboard artifacts", 2016).
#
# ## What it costs
#
# Each *input* pixel is multiplied by each weight once. So the multiply-accumulates (곱셈-누산) are weights times
# **input** positions. Two popular counters take the output positions, and are wrong by about the stride squared.

# %%
cost = formulas.conv_transpose2d(2, 3, 4, (5, 5), stride=2, padding=0, bias=False)
multiplied = measured.multiplications(ConvTranspose2d(2, 3, 4, stride=2, bias=False), (2, 5, 5))

print(f"formula {cost.macs:,}, measured {multiplied:,}; by output positions it would be {2 * 3 * 16 * 12 * 12:,}")
assert cost.macs == multiplied == 2 * 3 * 4 * 4 * 5 * 5
assert cost.output_size == (12, 12)

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of `...` and run the cell, the folded one below it (it holds the solution, and uses it
# only where you gave no answer), and the check.
#
# **1.** A map of 7 x 7, a 4 x 4 kernel, stride 2, padding 1 on each side. Which side has the output?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = (7 - 1) * 2 + 4 - 2 * 1

# %%
assert answer == formulas.conv_transpose2d(1, 1, 4, (7, 7), stride=2, padding=1).output_size[0]
print(f"Right: {answer}, twice as large.")

# %% [markdown]
# **2.** Stride 3. Which is the smallest kernel larger than the stride that shares its stamps evenly? Answer with its
# side.

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = 6

# %%
even = {side: np.ptp(figures.overlaps(side, 3, 8)[side:-side, side:-side]) == 0 for side in range(4, 10)}
assert answer == min(side for side, is_even in even.items() if is_even)
print("Right: the stride must divide it. It is also the size of FCN's bilinear kernels, 2 x stride.")

# %% [markdown]
# **3.** Write `stamp(x, weight, stride)`, the transposed convolution of one map x (H, W) with a kernel (K_h, K_w),
# with loops over the *input* pixels; then `answer = stamp`.

# %% tags=["exercise"]
answer = ...


# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
def stamp(x, weight, stride):
    """The kernel, times each pixel, at its place."""
    (height, width), (kernel_height, kernel_width) = x.shape, weight.shape
    y = np.zeros(((height - 1) * stride + kernel_height, (width - 1) * stride + kernel_width))
    for i in range(height):
        for j in range(width):
            top, left = i * stride, j * stride
            y[top : top + kernel_height, left : left + kernel_width] += x[i, j] * weight
    return y


if answer is ...:
    answer = stamp

# %%
some_map, some_weight = rng.standard_normal((3, 4)), rng.standard_normal((3, 2))
reference = ops.conv_transpose2d(some_map[None, None], some_weight[None, None], stride=2)[0, 0]
assert np.allclose(answer(some_map, some_weight, 2), reference)
print("Right: with +=, because stamps overlap.")
