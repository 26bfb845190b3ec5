"""The operations written a second time, straight from their definitions: plain loops, none of npseg's code.

Each takes what its namesake in `npseg.ops` takes. Images are padded for real here; the library never pads.
"""

import itertools
import math

import numpy as np


def both(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def padding_sides(padding, size, kernel, stride, dilation):
    """((top, bottom), (left, right))"""
    if isinstance(padding, str) and padding == "valid":
        return (0, 0), (0, 0)
    if isinstance(padding, str):
        sides = []
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
            missing = max(0, (math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n)
            sides.append((missing // 2, missing - missing // 2))
        return tuple(sides)
    height, width = both(padding)
    return both(height), both(width)


def padded(x, sides, value=0.0):
    return np.pad(x, ((0, 0), (0, 0), *sides), constant_values=value)


def windows(x, kernel, stride, dilation):
    """(i, j, window) for every window (N, C, K_h, K_w) that fits on a padded image."""
    (height, width), (k_h, k_w), (s_h, s_w), (d_h, d_w) = x.shape[2:], kernel, stride, dilation
    for i, top in enumerate(range(0, height - d_h * (k_h - 1), s_h)):
        for j, left in enumerate(range(0, width - d_w * (k_w - 1), s_w)):
            rows = [top + k * d_h for k in range(k_h)]
            columns = [left + k * d_w for k in range(k_w)]
            yield i, j, x[:, :, rows][:, :, :, columns]


def windows_to_map(entries, lead):
    """Values at (i, j) gathered into (..., H_out, W_out)."""
    height, width = (1 + max(entry[axis] for entry in entries) for axis in (0, 1))
    y = np.zeros((*lead, height, width))
    for i, j, value in entries:
        y[..., i, j] = value
    return y


def conv2d(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    kernel, stride, dilation = weight.shape[2:], both(stride), both(dilation)
    x = padded(x, padding_sides(padding, x.shape[2:], kernel, stride, dilation))
    out_channels, group_channels = weight.shape[:2]
    entries = []
    for i, j, window in windows(x, kernel, stride, dilation):
        value = np.zeros((len(x), out_channels))
        for n, o in itertools.product(range(len(x)), range(out_channels)):
            first = (o * groups // out_channels) * group_channels
            value[n, o] = np.sum(window[n, first : first + group_channels] * weight[o]) + (
                0 if bias is None else bias[o]
            )
        entries.append((i, j, value))
    return windows_to_map(entries, (len(x), out_channels))


def linear_map_transposed(function, shape, grad):
    """The adjoint of a linear function, applied to grad: one unit array after the other."""
    result = np.zeros(shape)
    for place in np.ndindex(shape):
        unit = np.zeros(shape)
        unit[place] = 1
        result[place] = np.sum(function(unit) * grad)
    return result


def conv2d_grad_input(grad, weight, input_size, *, groups=1, **arguments):
    shape = len(grad), weight.shape[1] * groups, *input_size
    return linear_map_transposed(lambda x: conv2d(x, weight, groups=groups, **arguments), shape, grad)


def conv2d_grad_weight(grad, x, kernel_size, *, groups=1, **arguments):
    shape = grad.shape[1], x.shape[1] // groups, *both(kernel_size)
    return linear_map_transposed(lambda weight: conv2d(x, weight, groups=groups, **arguments), shape, grad)


def depthwise_conv2d(x, weight, bias=None, **arguments):
    multiplier = len(weight) // x.shape[1]
    channels = []
    for channel in range(len(weight)):
        source = channel // multiplier
        own_bias = None if bias is None else bias[channel : channel + 1]
        channels.append(conv2d(x[:, source : source + 1], weight[channel : channel + 1], own_bias, **arguments))
    return np.concatenate(channels, axis=1)


def separable_conv2d(x, depthwise_weight, pointwise_weight, bias=None, **arguments):
    mixed = np.einsum("nchw,oc->nohw", depthwise_conv2d(x, depthwise_weight, **arguments), pointwise_weight[:, :, 0, 0])
    return mixed if bias is None else mixed + bias[:, None, None]


def conv_transpose2d(x, weight, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """Stamp the kernel on a large enough canvas, then cut off what padding says, or append."""
    kernel, stride, dilation, extra = weight.shape[2:], both(stride), both(dilation), both(output_padding)
    extent = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    full = [(n - 1) * s + e for n, s, e in zip(x.shape[2:], stride, extent, strict=True)]
    if padding == "same":
        size = [n * s for n, s in zip(x.shape[2:], stride, strict=True)]
        first = [max(0, e - s) // 2 for e, s in zip(extent, stride, strict=True)]
    else:
        sides = padding_sides(padding, None, kernel, stride, dilation)
        size = [f - sum(side) + p for f, side, p in zip(full, sides, extra, strict=True)]
        first = [side[0] for side in sides]

    in_channels, group_channels = weight.shape[:2]
    canvas = np.zeros((len(x), group_channels * groups, *(f + n for f, n in zip(full, size, strict=True))))
    for n, c, i, j in np.ndindex(x.shape):
        start = (c * groups // in_channels) * group_channels
        for o, k, l in np.ndindex(weight.shape[1:]):  # noqa: E741
            h, w = i * stride[0] + k * dilation[0], j * stride[1] + l * dilation[1]
            canvas[n, start + o, h, w] += x[n, c, i, j] * weight[c, o, k, l]
    y = canvas[:, :, first[0] : first[0] + size[0], first[1] : first[1] + size[1]]
    return y if bias is None else y + bias[:, None, None]


def im2col(x, kernel_size, *, stride=1, padding=0, dilation=1):
    kernel, stride, dilation = both(kernel_size), both(stride), both(dilation)
    x = padded(x, padding_sides(padding, x.shape[2:], kernel, stride, dilation))
    columns = [window.reshape(len(x), -1) for _, _, window in windows(x, kernel, stride, dilation)]
    return np.stack(columns, axis=2)


def col2im(columns, input_size, kernel_size, **arguments):
    channels = columns.shape[1] // math.prod(both(kernel_size))
    shape = len(columns), channels, *input_size
    return linear_map_transposed(lambda x: im2col(x, kernel_size, **arguments), shape, columns)


def pooling_axis(size, kernel, stride, sides, dilation, ceil_mode):
    """The number of windows along one axis, and how far the last one reaches beyond the padded line."""
    room = size + sum(sides) - dilation * (kernel - 1) - 1
    outputs = (math.ceil(room / stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (outputs - 1) * stride >= size + sides[0]:
        outputs -= 1
    return outputs, max(0, (outputs - 1) * stride - room)


def pooling_windows(x, kernel_size, stride, padding, dilation, ceil_mode, values):
    """Windows on an image extended by (the padding, the overhang), filled with `values`."""
    kernel = both(kernel_size)
    stride, dilation = kernel if stride is None else both(stride), both(dilation)
    sides = padding_sides(padding, x.shape[2:], kernel, stride, dilation)
    ceil_mode = ceil_mode and padding != "same"
    axes = [pooling_axis(*axis, ceil_mode) for axis in zip(x.shape[2:], kernel, stride, sides, dilation, strict=True)]
    x = padded(padded(x, sides, values[0]), [(0, overhang) for _, overhang in axes], values[1])
    for i, j, window in windows(x, kernel, stride, dilation):
        if i < axes[0][0] and j < axes[1][0]:
            yield i, j, window


def max_pool2d(x, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Walk each window in row-major order, taking what is strictly larger, or the first NaN."""
    positions = np.broadcast_to(np.arange(x[0, 0].size).reshape(x.shape[2:]), x.shape).astype(float)
    arguments = kernel_size, stride, padding, dilation, ceil_mode
    maxima, winners = [], []
    for (i, j, pixels), (_, _, places) in zip(
        pooling_windows(x, *arguments, (0, 0)), pooling_windows(positions, *arguments, (-1, -1)), strict=True
    ):
        best, place = np.zeros(x.shape[:2]), np.full(x.shape[:2], -1.0)
        for n, c, k, l in np.ndindex(pixels.shape):  # noqa: E741
            challenger = pixels[n, c, k, l]
            if places[n, c, k, l] < 0:
                continue
            if place[n, c] < 0 or challenger > best[n, c] or (math.isnan(challenger) and not math.isnan(best[n, c])):
                best[n, c], place[n, c] = challenger, places[n, c, k, l]
        maxima.append((i, j, best))
        winners.append((i, j, place))
    return windows_to_map(maxima, x.shape[:2]), windows_to_map(winners, x.shape[:2]).astype(np.int64)


def avg_pool2d(x, kernel_size, *, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    arguments = kernel_size, stride, padding, 1, ceil_mode
    counted = (1, 0) if count_include_pad else (0, 0)
    return windows_to_map(
        [
            (i, j, window.sum(axis=(2, 3)) / counts.sum(axis=(2, 3)))
            for (i, j, window), (_, _, counts) in zip(
                pooling_windows(x, *arguments, (0, 0)),
                pooling_windows(np.ones(x.shape), *arguments, counted),
                strict=True,
            )
        ],
        x.shape[:2],
    )


def global_avg_pool2d(x):
    return x.sum(axis=(2, 3), keepdims=True) / (x.shape[2] * x.shape[3])


def nearest_unpool2d(x, scale):
    return np.kron(x, np.ones((1, 1, *both(scale))))


def bed_of_nails_unpool2d(x, scale):
    nail = np.zeros((1, 1, *both(scale)))
    nail[..., 0, 0] = 1
    return np.kron(x, nail)


def max_unpool2d(x, indices, output_size):
    y = np.zeros((*x.shape[:2], *output_size))
    for n, c, i, j in np.ndindex(x.shape):
        y[n, c].flat[indices[n, c, i, j]] = x[n, c, i, j]
    return y


def resize_bilinear(x, output_size, *, align_corners=False):
    def sample(line, outputs):
        """One line, its pixels at 0, 1, 2, ...; beyond its ends it stays as it is."""
        n, places = len(line), np.arange(outputs)
        if align_corners:
            places = places * ((n - 1) / (outputs - 1) if outputs > 1 else 0.0)
        else:
            places = (places + 0.5) * n / outputs - 0.5
        return np.interp(places, np.arange(n), line)

    rows = np.apply_along_axis(sample, 2, x, output_size[0])
    return np.apply_along_axis(sample, 3, rows, output_size[1])


def crop2d(x, size, offset):
    top, left = both(offset)
    rows, columns = [top + i for i in range(size[0])], [left + j for j in range(size[1])]
    return x[:, :, rows][:, :, :, columns]


def linear(x, weight, bias=None):
    return np.einsum("nc,oc->no", x, weight) + (0 if bias is None else bias)


def relu(x):
    return np.where(x > 0, x, 0)


def relu6(x):
    return np.where(x > 6, 6, np.where(x > 0, x, 0))


def softmax(x, axis=1):
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def log_softmax(x, axis=1):
    return np.log(softmax(x, axis))


def segmentation_map(logits):
    best = np.zeros((len(logits), *logits.shape[2:]), np.int64)
    for n, h, w in np.ndindex(best.shape):
        scores = logits[n, :, h, w].tolist()
        best[n, h, w] = scores.index(max(scores))
    return best


def local_response_norm(x, size, *, alpha=1e-4, beta=0.75, k=1.0):
    y = np.zeros(x.shape)
    for c in range(x.shape[1]):
        span = range(max(0, c - size // 2), min(x.shape[1] - 1, c + (size - 1) // 2) + 1)
        y[:, c] = x[:, c] / (k + alpha / size * sum(x[:, b] ** 2 for b in span)) ** beta
    return y


def deconvolve2d(y, kernel, *, stride=1, padding=0, dilation=1, regularization=0.0):
    """The normal equations' minimiser of smallest norm, with the matrix found column by column."""
    stride, dilation = both(stride), both(dilation)
    if padding == "same":
        size = tuple(n * s for n, s in zip(y.shape, stride, strict=True))
    else:
        sides = padding_sides(padding, None, None, None, None)
        extents = [d * (k - 1) + 1 for d, k in zip(dilation, kernel.shape, strict=True)]
        size = tuple(
            (n - 1) * s + extent - sum(side) for n, s, extent, side in zip(y.shape, stride, extents, sides, strict=True)
        )
    arguments = {"stride": stride, "padding": padding, "dilation": dilation}
    pixels = np.eye(math.prod(size)).reshape(-1, 1, *size)
    matrix = conv2d(pixels, kernel[None, None], **arguments).reshape(len(pixels), -1).T
    if regularization == 0:
        return (np.linalg.pinv(matrix) @ y.ravel()).reshape(size)
    normal = matrix.T @ matrix + regularization * np.eye(len(pixels))
    return np.linalg.solve(normal, matrix.T @ y.ravel()).reshape(size)
