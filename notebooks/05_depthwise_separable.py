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
# # 05 Depthwise and separable convolution
#
# After this lesson you can
#
# - say which channels a filter sees in a full, a depthwise and a separable convolution, and read it off the matrix;
# - write down what each of them costs, in parameters and in multiplications, and check the formulas by three counts;
# - say what a separable convolution cannot do.
#
# Previous: [04 dilation](04_dilation.ipynb) · next: [06 pooling and unpooling](06_pooling_unpooling.ipynb) · all
# lessons: [README](README.md)
#
# The code behind it: [`npseg/ops/depthwise.py`](../npseg/ops/depthwise.py),
# [`npseg/analysis/formulas/convolution.py`](../npseg/analysis/formulas/convolution.py),
# [`npseg/models/mobilenet.py`](../npseg/models/mobilenet.py)

# %%
import numpy as np

from npseg import matrices, ops
from npseg.analysis import formulas, measured, summary
from npseg.data import Shapes
from npseg.models.chains import chain
from npseg.models.named import named
from npseg.nn import Conv2d, Graph
from npseg.teaching import figures, trace
from npseg.teaching.figures.style import BLUE, GREEN, ORANGE, Picture, quiet

rng = np.random.default_rng(5)

# %% [markdown]
# ## A full convolution does two jobs at once
#
# A convolution (합성곱) of C channels has kernels (커널) of shape (C, K, K): one output looks *around*, at K x K
# pixels (픽셀), and it *mixes* all C channels. Below, one step with C = 2: both channels of the input take part.

# %%
x = rng.integers(0, 4, (1, 2, 3, 3)).astype(float)
full_weight = rng.integers(-1, 2, (1, 2, 2, 2)).astype(float)

figures.step(trace("conv2d", x, full_weight), 1)

# %% [markdown]
# Must one filter do both jobs? Take them apart.
#
# ## Job one: look around (depthwise)
#
# A **depthwise convolution** (깊이별 합성곱) has one K x K filter (필터) for each channel. Output channel 0 sees
# input channel 0 and nothing else.

# %%
depthwise_weight = np.array([[[[1.0, 0.0], [0.0, 2.0]]], [[[3.0, 0.0], [0.0, 4.0]]]])  # (C, 1, K, K)
depthwise = trace("depthwise_conv2d", x, depthwise_weight)

figures.step(depthwise, 1)

# %% [markdown]
# It is the same as a convolution of each channel by itself, and the same as `conv2d` with as many groups as channels.

# %%
y = ops.depthwise_conv2d(x, depthwise_weight)
each = [ops.conv2d(x[:, c : c + 1], depthwise_weight[c : c + 1]) for c in range(2)]

assert np.array_equal(y, np.concatenate(each, axis=1))
assert np.array_equal(y, ops.conv2d(x, depthwise_weight, groups=2))

# %% [markdown]
# The sparse matrix (희소 행렬) shows it at a glance. A full convolution with two filters fills all four blocks; a
# depthwise one only the blocks on the diagonal, since no output of one channel needs an input of the other.

# %%
all_weights = np.arange(1.0, 17.0).reshape(2, 2, 2, 2)
full_matrix = matrices.conv2d_matrix(all_weights, (3, 3))
depthwise_matrix = matrices.conv2d_matrix(all_weights[:, :1], (3, 3), groups=2)

assert not depthwise_matrix.toarray()[:4, 9:].any()
assert not depthwise_matrix.toarray()[4:, :9].any()
figures.side_by_side(
    {
        "full, 8 x 18": full_matrix.toarray() != 0,
        "depthwise, 8 x 18": depthwise_matrix.toarray() != 0,
    },
    title="A row for each output, a column for each input, white where they meet",
)

# %% [markdown]
# Here is what it can do to a picture: one edge filter for each colour channel. Red edges stay red, green ones green.

# %%
image = Shapes(8, image_size=(96, 96))[5].image
channels = image.transpose(2, 0, 1)[None] / 255
sobel = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
edges = ops.depthwise_conv2d(channels, np.stack([sobel] * 3)[:, None], padding="same")

figures.side_by_side(
    {"image": image} | {f"edges of {name}": np.abs(edges[0, c]) for c, name in enumerate(("red", "green", "blue"))}
)

# %% [markdown]
# ## Job two: mix the channels (pointwise)
#
# A **pointwise convolution** has 1 x 1 kernels. It looks at one pixel, and mixes its channels: at every pixel the
# same matrix product.

# %%
pointwise_weight = np.array([[1.0, 10.0], [1.0, -1.0], [0.5, 0.5]])[:, :, None, None]  # (M, C, 1, 1)
mixed = ops.conv2d(y, pointwise_weight)

assert np.allclose(mixed, np.einsum("mc,nchw->nmhw", pointwise_weight[:, :, 0, 0], y))
figures.side_by_side(
    {
        "channel 0": y[0, 0],
        "channel 1": y[0, 1],
        "1 and 10 of them": mixed[0, 0],
        "difference": mixed[0, 1],
        "mean": mixed[0, 2],
    },
    title="Two channels, mixed in three ways",
)

# %% [markdown]
# ## Both jobs, one after the other (separable)
#
# A depthwise convolution and then a pointwise one: a (depthwise) **separable convolution** (분리 합성곱).

# %%
separable = trace("separable_conv2d", x, depthwise_weight, pointwise_weight)

assert np.array_equal(ops.separable_conv2d(x, depthwise_weight, pointwise_weight), mixed)
print(separable[0])
print(separable[8])

# %% [markdown]
# Two convolutions without anything between them are one convolution. Its kernels are products: filter m is, on
# channel c, the depthwise filter c times the number `pointwise[m, c]`.

# %%
product = pointwise_weight * depthwise_weight[:, 0]  # (M, C, 1, 1) * (C, K, K) -> (M, C, K, K)

assert np.allclose(ops.conv2d(x, product), mixed)

# %% [markdown]
# So what does it give up? On channel c, all M filters have one and the same form, only stronger, weaker or turned in
# sign. Write the M filters of a channel as the rows of a matrix (M, K K): it has rank 1. A full convolution's may
# have any rank up to the smaller of M and K K.

# %%
learned = rng.standard_normal((3, 2, 2, 2))

for name, weight in (("full", learned), ("separable", product)):
    ranks = [np.linalg.matrix_rank(weight[:, c].reshape(3, 4)) for c in range(2)]
    print(f"{name:10} rank of the filters on each channel: {[int(rank) for rank in ranks]}")
    assert ranks == ([3, 3] if name == "full" else [1, 1])

# %% [markdown]
# **A word with two meanings.** In image processing a kernel is called separable when it is a column times a row, *in
# space*. Sobel's is. There the K x K taps are taken apart; here the channels are. A depthwise separable convolution
# may have any K x K filters.

# %%
column, row = np.array([[1.0], [2.0], [1.0]]), np.array([[-1.0, 0.0, 1.0]])

assert np.array_equal(column @ row, sobel)
assert np.linalg.matrix_rank(sobel) == 1

# %% [markdown]
# ## What it costs
#
# Count the weights. C channels in, M out, kernel K x K, no bias:
#
# | convolution | parameters | multiply-accumulates (곱셈-누산, MACs) |
# |---|---|---|
# | full | K K C M | K K C M x H_out W_out |
# | depthwise | K K C | K K C x H_out W_out |
# | pointwise | C M | C M x H_out W_out |
# | separable | K K C + C M | (K K C + C M) x H_out W_out |
#
# Every weight is used once at each output position: MACs = parameters x positions. The formulas in the library show
# their work:

# %%
print(formulas.separable_conv2d(64, 128, 3, (56, 56), padding="same", bias=False).explain())

# %% [markdown]
# The last line is the one to keep. Divide the separable count by the full one, and all but M and K cancels:
#
# $$\frac{K^2 C + C M}{K^2 C M} = \frac{1}{M} + \frac{1}{K^2}$$
#
# ## Three counts
#
# A formula can be wrong. So count three times, in three ways that do not know of each other:
#
# 1. the **formula**;
# 2. the **summary** of a network that is declared, layer by layer;
# 3. a **measurement**: run the nested loops on numbers that count how often they are multiplied.

# %%
C, M, K, size = 4, 6, 3, (8, 7)

full = {"full": Conv2d(C, M, K, bias=False)}
apart = {"depthwise": Conv2d(C, C, K, groups=C, bias=False), "pointwise": Conv2d(C, M, 1, bias=False)}


def counted(layers):
    """Parameters and MACs of layers one after another: by summary; and the multiplications that the loops do."""
    network = Graph(chain(list(layers.items())), input_channels=C)
    shapes = {"image": (C, *size)} | network.shapes(size)
    multiplied = sum(measured.multiplications(node.layer, shapes[node.inputs[0]]) for node in network.nodes)
    by_summary = summary(network, size)
    return by_summary.parameters, by_summary.macs, multiplied


by_formula = {
    "full": formulas.conv2d(C, M, K, size, bias=False),
    "separable": formulas.separable_conv2d(C, M, K, size, bias=False),
}
print(f"{'':10} {'parameters':>22} {'MACs':>22} {'multiplications':>16}")
print(f"{'':10} {'formula':>11}{'summary':>11} {'formula':>11}{'summary':>11} {'measured':>16}")
for (name, formula), layers in zip(by_formula.items(), (full, apart), strict=True):
    parameters, macs, multiplied = counted(layers)
    print(f"{name:10} {formula.parameters:11,}{parameters:11,} {formula.macs:11,}{macs:11,} {multiplied:16,}")
    assert formula.parameters == parameters
    assert formula.macs == macs == multiplied

# %% [markdown]
# They agree. With padding (패딩) there is a subtlety: the formula counts multiplications by padding zeros, the loops
# do not do them. The `exact` convention leaves them out, and so do the non-zeros of the sparse matrix:

# %%
padded = Conv2d(C, C, K, padding=1, groups=C, bias=False)
network = Graph(chain([("depthwise", padded)]), input_channels=C)
counts = {
    "summary": summary(network, size).macs,
    "summary, exact": summary(network, size, convention="exact").macs,
    "measured": measured.multiplications(padded, (C, *size)),
    "non-zeros of the matrix": measured.nonzeros(padded, (C, *size)),
}

for name, count in counts.items():
    print(f"{name:24} {count:6,}")
assert counts["summary"] == K * K * C * 8 * 7
assert counts["summary, exact"] == counts["measured"] == counts["non-zeros of the matrix"] < counts["summary"]

# %% [markdown]
# ## How much is won
#
# With many channels, 1/M vanishes and 1/(K K) remains: a 3 x 3 convolution becomes up to 9 times cheaper, never more.
# Larger kernels win more.

# %% tags=["thumbnail"]
picture = Picture(figsize=(7, 4), layout="constrained")
axes = picture.subplots()
widths = [2**n for n in range(1, 11)]
for kernel, color, marker in ((3, BLUE, "o"), (5, ORANGE, "s"), (7, GREEN, "D")):
    shares = []
    for width in widths:
        dense = formulas.conv2d(64, width, kernel, (56, 56), padding="same", bias=False)
        cheap = formulas.separable_conv2d(64, width, kernel, (56, 56), padding="same", bias=False)
        shares.append(cheap.macs / dense.macs)
        assert np.isclose(shares[-1], 1 / width + 1 / kernel**2)
    axes.loglog(widths, shares, color=color, marker=marker, markersize=5, label=f"K = {kernel}")
    axes.axhline(1 / kernel**2, color=color, linestyle=":")
axes.set_xticks(widths, [str(width) for width in widths])
axes.set(title="MACs, separable / full", xlabel="output channels M", ylabel="share")
axes.minorticks_off()
axes.set_yticks([1, 1 / 9, 1 / 25, 1 / 49], ["1", "1/9", "1/25", "1/49"])
axes.legend(frameon=False)
quiet(axes)
picture

# %% [markdown]
# ## A whole network: MobileNet
#
# MobileNet v1 (Howard et al., 2017) is 13 separable convolutions after a first full one. What would it cost with full
# convolutions? Put each pair together again and count.

# %%
mobilenet, image_size = named("mobilenet-v1")


def put_together(network):
    """The network with each depthwise and pointwise pair replaced by one full convolution."""
    layers, stride = [], 1
    for node in network.nodes:
        if "/dw" in node.name:  # the depthwise convolution, its batch norm and its ReLU: only its stride is kept
            stride = getattr(node.layer, "stride", stride)
        elif "/sep" in node.name and isinstance(node.layer, Conv2d):
            channels, width = node.layer.in_channels, node.layer.out_channels
            layers.append((node.name, Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)))
        else:
            layers.append((node.name, node.layer))
    return Graph(chain(layers))


ours, dense = summary(mobilenet, image_size), summary(put_together(mobilenet), image_size)
print(f"{'':10} {'parameters':>12} {'MACs':>15}")
print(f"{'separable':10} {ours.parameters:12,} {ours.macs:15,}")
print(f"{'full':10} {dense.parameters:12,} {dense.macs:15,}")
print(f"{'ratio':10} {dense.parameters / ours.parameters:12.1f} {dense.macs / ours.macs:15.1f}")
assert (ours.parameters, ours.macs) == (4_231_976, 568_740_352)
assert round(dense.parameters / 1e5) == 293  # table 4: 29.3 million
assert abs(dense.macs / 4866e6 - 1) < 0.001  # table 4: 4866 million

# %% [markdown]
# Table 4 of the paper has these numbers too: 29.3 million parameters and 4866 million multiply-accumulates (we count
# 1 million more), against 4.2 and 569. On ImageNet, says the same table, the full network was right in 71.7% of the
# images and the separable one in 70.6%: what was given up is little.
#
# Where do the remaining multiplications go? Not into looking around:

# %%
kinds = {"depthwise 3 x 3": "/dw", "pointwise 1 x 1": "/sep"}
shares = {
    name: sum(layer.macs for layer in ours.layers if layer.name.endswith(end)) / ours.macs
    for name, end in kinds.items()
}
for name, share in shares.items():
    print(f"{name:16} {share:6.1%} of the MACs")
assert shares["pointwise 1 x 1"] > 0.94

# %% [markdown]
# **Fewer multiplications, not that much less time.** A depthwise convolution multiplies each value that it fetches
# from memory only K K times, a full one K K M times. So it often waits for memory, not for arithmetic; MACs say how
# much work there is, not how long it takes. And its map lies between the two parts, which costs memory too:

# %%
one, two = (
    formulas.conv2d(64, 128, 3, (56, 56), padding="same"),
    formulas.separable_conv2d(64, 128, 3, (56, 56), padding="same"),
)
print(f"MACs:             full {one.macs:13,}   separable {two.macs:13,}")
print(f"bytes of outputs: full {one.activation_bytes:13,}   separable {two.activation_bytes:13,}")
assert two.macs < one.macs / 8
assert two.activation_bytes > one.activation_bytes

# %% [markdown]
# ## Exercises
#
# Put your answer in the place of `...` and run the cell, the folded one below it (it holds the solution, and uses it
# only where you gave no answer), and the check.
#
# **1.** How many parameters has a separable convolution with 32 channels in, 64 out, and 5 x 5 kernels, without bias?

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = 5 * 5 * 32 + 32 * 64

# %%
assert answer == formulas.separable_conv2d(32, 64, 5, bias=False).parameters
print(f"Right: {answer:,}, where a full convolution has {formulas.conv2d(32, 64, 5, bias=False).parameters:,}.")

# %% [markdown]
# **2.** From how many output channels on does a separable 3 x 3 convolution need less than an eighth of the MACs of a
# full one? Find the smallest M.

# %% tags=["exercise"]
answer = ...

# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
if answer is ...:
    answer = 73  # 1/M + 1/9 < 1/8 means 1/M < 1/72

# %%
assert 1 / answer + 1 / 9 < 1 / 8 <= 1 / (answer - 1) + 1 / 9
print(f"Right: from M = {answer} on.")

# %% [markdown]
# **3.** Write `depthwise_loops(x, weight)`, the depthwise convolution of x (N, C, H, W) with weight (C, 1, K_h, K_w),
# as loops over rows and columns of the output, without `npseg.ops`; then `answer = depthwise_loops`.

# %% tags=["exercise"]
answer = ...


# %% jupyter={"source_hidden": true} tags=["hide-input", "solution"]
def depthwise_loops(x, weight):
    """Each window times its channel's filter."""
    images, channels, height, width = x.shape
    kernel_height, kernel_width = weight.shape[2:]
    y = np.zeros((images, channels, height - kernel_height + 1, width - kernel_width + 1))
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            window = x[:, :, i : i + kernel_height, j : j + kernel_width]
            y[:, :, i, j] = (window * weight[:, 0]).sum(axis=(2, 3))
    return y


if answer is ...:
    answer = depthwise_loops

# %%
some_x, some_weight = rng.standard_normal((2, 3, 6, 5)), rng.standard_normal((3, 1, 2, 3))
assert np.allclose(answer(some_x, some_weight), ops.depthwise_conv2d(some_x, some_weight))
print("Right: your loops and the library agree.")
