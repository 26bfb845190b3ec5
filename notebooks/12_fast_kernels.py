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
# # 12 Fast kernels
#
# After this lesson you can
#
# - say what im2col costs in memory, and why it is worth it all the same;
# - say why a tile of products makes a matrix product fast;
# - compute two outputs of a 3-tap filter with four multiplications, and say what that costs in accuracy;
# - say what threads can win, and why their results differ in the last bit.
#
# We count multiplications and bytes here; they are the same on every machine. Times are not, and stand in the
# benchmarks.
#
# Previous: [11 training](11_training.ipynb) · next: [13 transfer learning](13_transfer.ipynb) · all lessons:
# [README](README.md)
#
# The code behind it: [`npseg/engines/im2col.py`](../npseg/engines/im2col.py),
# [`npseg/engines/numba/microkernel.py`](../npseg/engines/numba/microkernel.py),
# [`npseg/engines/numba/winograd.py`](../npseg/engines/numba/winograd.py)

# %%
import re
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import npseg
from npseg import ops
from npseg.analysis import formulas
from npseg.engines.columns import CACHED_BYTES, blocks
from npseg.models import vgg
from npseg.nn import Conv2d
from npseg.teaching import figures, trace
from npseg.teaching.figures.style import BLUE, GREEN, ORANGE, SKY, Picture, quiet

rng = np.random.default_rng(12)

# %% [markdown]
# ## One operation, many ways to compute it
#
# A convolution (합성곱) is defined by seven nested loops: image, output channel, row, column; input channel and the
# two of the kernel (커널). Each innermost step is a multiply-accumulate (곱셈-누산, MAC). npseg calls a way to do it
# an **engine**. All engines do the same thing:

# %%
x = rng.integers(-4, 5, (1, 3, 7, 8)).astype(np.float32)
weight = rng.integers(-4, 5, (5, 3, 3, 3)).astype(np.float32)
results = [ops.conv2d(x, weight, padding=1, engine=engine) for engine in npseg.engines()]

assert all(np.array_equal(result, results[0]) for result in results)
assert npseg.engine_info()["engine"] == npseg.get_engine()

# %% [markdown]
# (`npseg.engine_info()` says what the engine on your machine is made of. `numba` is among the engines where Numba is
# installed; this lesson works without.)
#
# ## im2col: pay in memory
#
# im2col writes each window as a column. Then the whole convolution is *one* matrix product, which numerical libraries
# have polished for decades. The price: with a 3 x 3 kernel each pixel (픽셀) is written nine times.

# %%
figures.im2col_columns(trace("conv2d", np.arange(16.0).reshape(1, 1, 4, 4), np.arange(9.0).reshape(1, 1, 3, 3)))

# %% [markdown]
# For the convolutions of VGG16 on 224 x 224 pixels, in float32:

# %%
MEBIBYTE = 2**20
network = vgg()
sizes = network.shapes((224, 224))
layers, maps, columns = [], [], []
for node in network.nodes:
    if isinstance(node.layer, Conv2d) and node.layer.kernel_size == 3:
        channels, height, width = sizes.get(node.inputs[0], (3, 224, 224))
        layers.append(node.name)
        maps.append(4 * channels * height * width / MEBIBYTE)
        columns.append(9 * maps[-1])

print(f"{layers[1]}: the map {maps[1]:.2f} MiB, its columns {columns[1]:.2f} MiB")
small = np.arange(120, dtype=np.float32).reshape(1, 4, 6, 5)
assert ops.im2col(small, 3, padding=1).nbytes == 9 * small.nbytes

picture = Picture(figsize=(9, 3.2), layout="constrained")
axes = picture.subplots()
places = np.arange(len(layers))
axes.bar(places - 0.2, maps, 0.4, color=BLUE, label="the map")
axes.bar(places + 0.2, columns, 0.4, color=ORANGE, label="its columns")
axes.axhline(CACHED_BYTES / MEBIBYTE, color=GREEN, linestyle="--", label="a block of columns in npseg")
axes.set(title="What im2col writes, for one image", ylabel="MiB")
axes.set_xticks(places, layers, rotation=45, ha="right")
axes.legend(frameon=False)
quiet(axes)
picture

# %% [markdown]
# The cure is **blocks**: make the columns of a few output rows, multiply, throw them away, go on. A block should fit
# into the processor's cache, so that what was written is still near when it is read. npseg's im2col engine does so
# (the dashed line). The columns of conv1_2 are this many blocks:

# %%
parts = list(blocks(batch=1, output_size=(224, 224), bytes_per_output=64 * 9 * 4))
print(f"{len(parts)} blocks, the first of {parts[0].rows.stop} rows")
assert sum(part.rows.stop - part.rows.start for part in parts) == 224
assert parts[0].rows.stop * 224 * 64 * 9 * 4 <= CACHED_BYTES

# %% [markdown]
# And the columns of neighbouring kernel rows are nearly the same: what an output sees through kernel row 1, the output
# below it sees through kernel row 0. So it is enough to write the columns of *one* kernel row, and to begin reading
# them a row further for each of the others: three copies of a pixel, not nine, and three products that add up
# ([`kernel_rows.py`](../npseg/engines/kernel_rows.py)).

# %%
padded = np.pad(small, ((0, 0), (0, 0), (1, 1), (0, 0)))  # rows above and below; the columns' padding is im2col's
one_row = ops.im2col(padded, (1, 3), padding=(0, 1)).reshape(4, 3, 8, 5)
every_row = ops.im2col(small, 3, padding=1).reshape(4, 3, 3, 6, 5)
for kernel_row in range(3):
    assert np.array_equal(every_row[:, kernel_row], one_row[:, :, kernel_row : kernel_row + 6])
print(f"{every_row.nbytes} bytes of columns, of which {one_row.nbytes} need to be written")

# %% [markdown]
# ## Tiling: read less
#
# Why is a matrix product C = A B so fast, when it multiplies as often as the loops do? A processor multiplies far
# faster than it reads memory. What counts is how often each number that was read is **used**.
#
# Take single entries of C: each multiplication reads two numbers. Take a **tile** of m x n entries at once, and hold
# it in the registers: a step reads m numbers of A and n of B, and does m n multiplications with them. Count it:


# %%
def multiply_in_tiles(a, b, m, n):
    """The product a @ b in tiles of m x n, and how many numbers it read of a and b."""
    c, read = np.zeros((len(a), b.shape[1])), 0
    for i in range(0, len(a), m):
        for j in range(0, b.shape[1], n):
            for k in range(a.shape[1]):
                from_a, from_b = a[i : i + m, k], b[k, j : j + n]
                read += len(from_a) + len(from_b)
                c[i : i + m, j : j + n] += np.outer(from_a, from_b)
    return c, read


a, b = rng.standard_normal((48, 10)), rng.standard_normal((10, 96))
multiplications = 48 * 10 * 96
print("tile      numbers read for each multiplication")
for m, n in ((1, 1), (2, 2), (4, 8), (6, 16), (8, 48)):
    product, read = multiply_in_tiles(a, b, m, n)
    print(f"{m} x {n:2}    {read / multiplications:.3f}")
    assert np.allclose(product, a @ b)
    assert np.isclose(read / multiplications, 1 / m + 1 / n)

# %% [markdown]
# A tile of 8 x 48 reads 14 times less than single entries do. It is also the tile of npseg's compiled engine on a
# processor with AVX-512: 24 vector registers of 16 numbers each. Larger tiles do not fit into the registers.
#
# The same thought holds at each level: tiles in registers, blocks in the caches. And the compiled engine goes one
# step further: its microkernel is told *where* each row of B begins, and a window's taps are such rows. So it
# convolves straight from the image, **without any columns**.
#
# ## Who is bound by what?
#
# How many multiplications can be done for each byte that *must* be moved (input, weights and output once)? Where it
# is much, the processor's arithmetic is the limit, and where it is little, its memory.

# %%
size = (56, 56)
kinds = {
    "3 x 3, 256 -> 256": formulas.conv2d(256, 256, 3, size, padding=1, bias=False),
    "1 x 1, 256 -> 256": formulas.conv2d(256, 256, 1, size, bias=False),
    "depthwise 3 x 3, 256": formulas.depthwise_conv2d(256, 3, size, padding=1, bias=False),
}
intensity = {}
for name, cost in kinds.items():
    moved = 4 * (256 * 56 * 56 + cost.parameters + 256 * 56 * 56)
    intensity[name] = cost.macs / moved
    print(f"{name:22} {cost.macs:13,} MACs  {moved:11,} bytes  {intensity[name]:6.1f} MACs for each byte")
assert list(intensity.values()) == sorted(intensity.values(), reverse=True)
assert intensity["depthwise 3 x 3, 256"] < 2

# %% [markdown]
# A depthwise convolution (깊이별 합성곱) waits for memory whatever one does; so do ReLU, pooling (풀링) and bilinear
# interpolation (양선형 보간). Measured against the limits of one machine, it looks like this (each dot an operation;
# the roof is what the machine can do):
#
# ![Achieved GFLOP/s against arithmetic intensity, under the machine's roof](../benchmarks/results/roofline.png)
#
# Some dots lie *above* the roof. They do not break physics: they do fewer multiplications than they are counted for.
#
# ## Winograd: multiply less
#
# Two neighbouring outputs of a filter with three taps, from four pixels:
#
#     y0 = d0 g0 + d1 g1 + d2 g2
#     y1 = d1 g0 + d2 g1 + d3 g2
#
# Six multiplications. Winograd does it with **four**:

# %%
d0, d1, d2, d3 = d = np.array([1.0, 3.0, 2.0, 5.0])
g0, g1, g2 = g = np.array([2.0, -1.0, 4.0])

p0 = (d0 - d2) * g0
p1 = (d1 + d2) * ((g0 + g1 + g2) / 2)
p2 = (d2 - d1) * ((g0 - g1 + g2) / 2)
p3 = (d1 - d3) * g2

y0, y1 = p0 + p1 + p2, p1 - p2 - p3
assert (y0, y1) == (d0 * g0 + d1 * g1 + d2 * g2, d1 * g0 + d2 * g1 + d3 * g2)
print(y0, y1)

# %% [markdown]
# It is called F(2, 3): 2 outputs, 3 taps. The sums of weights are made once for the whole image. The sums of pixels
# are additions, and with many channels they too are shared: each transformed pixel serves all output channels.
#
# As matrices: transform the pixels by B^T, the weights by G, multiply entry by entry, transform back by A^T. And F(4,
# 3), with 4 outputs, takes 6 multiplications for 12:

# %%
B, G, A = {}, {}, {}  # the transposes B^T and A^T, and G, by the number of outputs m
B[2] = [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]
G[2] = [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]
A[2] = [[1, 1, 1, 0], [0, 1, -1, -1]]
B[4] = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
G[4] = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
A[4] = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]

assert np.array_equal(np.array(A[2]) @ ((np.array(G[2]) @ g) * (np.array(B[2]) @ d)), [y0, y1])


def convolve_line(line, taps, m):
    """A line convolved with three taps, m outputs at a time, and how often it multiplied."""
    y, count = [], 0
    for start in range(0, len(line) - 2, m):
        products = (np.array(G[m]) @ taps) * (np.array(B[m]) @ line[start : start + m + 2])
        count += len(products)
        y += list(np.array(A[m]) @ products)
    return np.array(y), count


line = rng.standard_normal(26)  # 24 outputs
directly = sliding_window_view(line, 3) @ g
print(f"directly: {24 * 3} multiplications")
for m in (2, 4):
    y, count = convolve_line(line, g, m)
    print(f"F({m}, 3):  {count}")
    assert np.allclose(y, directly)
    assert count == 24 * (m + 2) // m

# %% [markdown]
# In two dimensions the transforms are applied along rows and columns, and the saving is squared: (m + 2)^2
# multiplications for m x m outputs instead of 9 m^2.

# %%
for m in (2, 4):
    print(f"F({m} x {m}, 3 x 3): {(m + 2) ** 2:2} instead of {9 * m * m:3}, {9 * m * m / (m + 2) ** 2:.2f} times fewer")

# %% [markdown]
# ## The price: rounding
#
# Why not F(8, 3)? The transforms' numbers grow (the 8 in A[4] is 2 x 2 x 2), large numbers cancel, and each rounding
# is magnified. Here is a whole convolution by Winograd in two dimensions, in float32, against float64:


# %%
def winograd(x, weight, m):
    """x (C, H, W) convolved with weight (C_out, C, 3, 3), in tiles of m x m outputs; H - 2 and W - 2 divisible by m."""
    b, g, a = (np.array(matrix, x.dtype) for matrix in (B[m], G[m], A[m]))
    tiles = sliding_window_view(x, (m + 2, m + 2), axis=(1, 2))[:, ::m, ::m]  # (C, rows, columns, m + 2, m + 2)
    pixels, weights = b @ tiles @ b.T, g @ weight @ g.T
    products = np.einsum("ocuv,crsuv->orsuv", weights, pixels)  # for each entry (u, v) a matrix product
    y = a @ products @ a.T  # (C_out, rows, columns, m, m)
    out, rows, columns = y.shape[:3]
    return y.transpose(0, 1, 3, 2, 4).reshape(out, rows * m, columns * m)


image = rng.standard_normal((64, 42, 42))
kernels = rng.standard_normal((16, 64, 3, 3))
exact = ops.conv2d(image[None], kernels, engine="im2col")[0]
single = image.astype(np.float32), kernels.astype(np.float32)
computed = {
    "directly": ops.conv2d(single[0][None], single[1], engine="im2col")[0],
    "F(2 x 2, 3 x 3)": winograd(*single, 2),
    "F(4 x 4, 3 x 3)": winograd(*single, 4),
}
errors = {name: np.abs(y - exact).max() / np.abs(exact).max() for name, y in computed.items()}

for m in (2, 4):
    assert np.allclose(winograd(image, kernels, m), exact)  # in float64: the method is exact, only rounding is not
assert errors["directly"] < errors["F(4 x 4, 3 x 3)"] < 5e-5
for name, error in errors.items():
    print(f"{name:16} largest error {error:.0e} of the largest output")

# %% tags=["thumbnail"]
picture = Picture(figsize=(9, 3), layout="constrained")
left, right = picture.subplots(1, 2)
names, colors = list(errors), (BLUE, GREEN, ORANGE)
left.bar(names, [9, 4, 2.25], color=colors)
left.set(title="Multiplications for each output and channel")
right.bar(names, errors.values(), color=colors)
right.set(title="Largest error in float32", yscale="log")
for axes in (left, right):
    quiet(axes)
    axes.tick_params(axis="x", labelsize=9, labelcolor="0.15")
picture

# %% [markdown]
# For networks an error of some 1e-5 does not matter: a training with F(4 x 4) reached mean IU 81.3%, the same without
# 81.2% (see the [README](../README.md)). npseg uses F(4 x 4) in networks with its compiled engine, and none in single
# operations, unless it is told otherwise: `npseg.set_engine("numba", winograd="off")`, or "f2", or "f4". Winograd is
# for 3 x 3 kernels of stride 1; for others it does not pay or does not work.

# %%
if "numba" in npseg.engines():
    for option in ("off", "f2", "f4"):
        with npseg.use_engine("numba", winograd=option):
            y = ops.conv2d(single[0][None], single[1])[0]
        assert np.abs(y - exact).max() < 5e-5 * np.abs(exact).max()

# %% [markdown]
# ## Threads: share the work
#
# Every output can be computed without the others, so cores can share them: each takes some rows, no two write to the
# same place. (The gradient of a weight is different: *all* outputs add to it. Each core makes a sum of its own, and
# the sums are added at the end.)
#
# How much is won? If a share p of the work can be split among n cores, the rest runs alone: the speed-up is 1 / (1 -
# p + p / n) (Amdahl's law). The little that stays alone soon rules:

# %%
cores = np.arange(1, 65)
picture = Picture(figsize=(9, 3), layout="constrained")
axes = picture.subplots()
for share, color in ((0.5, ORANGE), (0.9, BLUE), (0.99, GREEN)):
    axes.plot(cores, 1 / (1 - share + share / cores), color=color, label=f"{share:.0%} of the work is shared")
axes.plot(cores, cores, color="0.6", linestyle=":", label="all of it")
axes.set(title="Amdahl's law", xlabel="cores", ylabel="times faster", xscale="log", yscale="log")
axes.set_xticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"])
axes.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
axes.minorticks_off()
axes.legend(frameon=False)
quiet(axes)
picture

# %% [markdown]
# What waits for memory wins even less: the cores share one memory.
#
# And one thing more. Floating-point addition is not associative: (a + b) + c and a + (b + c) are rounded differently.
# Other numbers of threads add in another order, so the last bits differ, and a training magnifies them. Neither
# result is wrong.

# %%
numbers = rng.standard_normal(10_000).astype(np.float32)


def add_up(values):
    """One after the other, in float32, as one thread would."""
    return np.cumsum(values, dtype=np.float32)[-1]


sums = {threads: add_up([add_up(part) for part in np.split(numbers, threads)]) for threads in (1, 2, 4, 8)}
for threads, total in sums.items():
    print(f"{threads} parts: {total:.6f}")
assert len(set(sums.values())) > 1
assert np.ptp(list(sums.values())) < 1e-3

# %% [markdown]
# ## What it all wins
#
# The benchmarks measure it; the numbers below were stored by them, for a training step of FCN-8s with VGG16's widths
# on the machine that [models.md](../benchmarks/results/models.md) names. `python -m benchmarks.models` measures
# yours.

# %%
stored = Path("../benchmarks/results/models.md").read_text(encoding="utf-8")
step = stored[stored.index("## vgg16") :]
step = step[step.index("| training step") : step.index("| inference")]
measured = {
    name: float(median) for name, median in re.findall(r"^\| (npseg [^|]+|PyTorch [^|]+) \| ([\d.]+) \|", step, re.M)
}
assert "npseg im2col" in measured

picture = Picture(figsize=(9, 2.6), layout="constrained")
axes = picture.subplots()
names = list(measured)[::-1]
axes.barh(names, [measured[name] for name in names], color=[SKY if "npseg" in name else "0.75" for name in names])
axes.set(title="One training step, 224 x 224 pixels, 134 million parameters", xlabel="milliseconds")
axes.tick_params(axis="y", labelsize=9, labelcolor="0.15")
quiet(axes)
picture

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of `...` and run the cell, the folded one below it (it holds the solution, and uses it
# only where you gave no answer), and the check.
#
# **1.** How many bytes have the columns of a 3 x 3 convolution with padding 1 (same size) on one image of 16 channels
# and 40 x 30 pixels in float32?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = 16 * 9 * 40 * 30 * 4

# %%
assert answer == ops.im2col(np.zeros((1, 16, 40, 30), np.float32), 3, padding=1).nbytes
print(f"Right: {answer:,}, nine times the image.")

# %% [markdown]
# **2.** F(6 x 6, 3 x 3) makes tiles of 6 x 6 outputs. How many times fewer multiplications does it take than the
# direct way?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = 9 * 6 * 6 / (6 + 2) ** 2

# %%
assert np.isclose(answer, 324 / 64, atol=0.01)
print(f"Right: {answer:.2f} times; but its rounding is worse again.")

# %% [markdown]
# **3.** Write `two_outputs(d, g)`: from four pixels d and three taps g, the two outputs (y0, y1) by four
# multiplications; then `answer = two_outputs`.

# %% tags=["exercise"]
answer = ...


# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
def two_outputs(d, g):
    """F(2, 3); halving is no multiplication here, since it is done once for all pixels."""
    half_sum, half_difference = (g[0] + g[1] + g[2]) / 2, (g[0] - g[1] + g[2]) / 2
    p0, p1 = (d[0] - d[2]) * g[0], (d[1] + d[2]) * half_sum
    p2, p3 = (d[2] - d[1]) * half_difference, (d[1] - d[3]) * g[2]
    return p0 + p1 + p2, p1 - p2 - p3


if answer is ...:
    answer = two_outputs

# %%
some_pixels, some_taps = rng.standard_normal(4), rng.standard_normal(3)
assert np.allclose(answer(some_pixels, some_taps), np.correlate(some_pixels, some_taps, "valid"))
print("Right: four multiplications did the work of six.")
