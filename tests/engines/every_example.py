"""Runs every operation on the compiled engine, forward and backward, and compares it with the engine in NumPy.

    python every_example.py [--dtype float32 | float64] [--threads N] [--guard start | end]

The last line printed is a digest of every bit of every result. With `--guard`, each argument and each array of the
engine's own lies against a page of memory that may not be touched, before its start or behind its end, so that reading
or writing outside of it ends the process; what the engine has not written yet is NaN.
"""

import argparse
import ctypes
import hashlib
import math
import mmap
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))

import calls

from npseg import buffers, ops, use_engine
from npseg.ops.examples import Example
from npseg.training.optimisers import SGD, Adam

LARGE = [  # enough work for several threads, several blocks, and what remains behind the last whole tile
    Example("conv2d", {"x": (2, 19, 29, 37), "weight": (33, 19, 3, 3), "bias": (33,)}, {"padding": 1}),
    Example("conv2d", {"x": (1, 64, 28, 28), "weight": (64, 64, 3, 3)}, {"padding": 1}),
    Example("conv2d", {"x": (2, 24, 21, 18), "weight": (16, 24, 3, 3)}, {"padding": 2, "dilation": 2}),
    Example("conv2d", {"x": (2, 18, 30, 23), "weight": (27, 18, 3, 2)}, {"stride": (2, 1), "padding": (1, 0)}),
    Example("conv2d", {"x": (3, 40, 11, 13), "weight": (50, 40, 1, 1), "bias": (50,)}),
    Example("conv2d", {"x": (2, 32, 7, 8), "weight": (48, 32, 7, 7), "bias": (48,)}, {"padding": 3}),
    Example("conv2d", {"x": (3, 22, 3, 5), "weight": (38, 11, 5, 6)}, {"padding": (3, 4), "groups": 2}),
    Example("conv2d", {"x": (2, 12, 17, 19), "weight": (20, 3, 3, 3)}, {"groups": 4, "padding": 1}),
    Example("conv_transpose2d", {"x": (2, 21, 15, 11), "weight": (21, 5, 4, 4)}, {"stride": 2, "padding": 1}),
    Example("conv_transpose2d", {"x": (1, 6, 9, 7), "weight": (6, 6, 16, 16)}, {"stride": 8, "padding": 4}),
    Example("depthwise_conv2d", {"x": (2, 35, 33, 29), "weight": (35, 1, 3, 3), "bias": (35,)}, {"padding": 1}),
    Example("depthwise_conv2d", {"x": (2, 17, 30, 31), "weight": (34, 1, 3, 3)}, {"stride": 2, "padding": 1}),
    Example("max_pool2d", {"x": (2, 35, 37, 41)}, {"kernel_size": 2, "ceil_mode": True}),
    Example("max_pool2d", {"x": (2, 9, 37, 41)}, {"kernel_size": 3, "stride": 2, "padding": 1}),
    Example("avg_pool2d", {"x": (2, 35, 37, 41)}, {"kernel_size": (3, 2), "padding": (1, 0)}),
    Example("resize_bilinear", {"x": (2, 21, 19, 23)}, {"output_size": (61, 47)}),
    Example("nearest_unpool2d", {"x": (2, 21, 19, 23)}, {"scale": (2, 3)}),
    Example("relu", {"x": (3, 33, 35, 37)}),
    Example("linear", {"x": (9, 77), "weight": (35, 77), "bias": (35,)}),
    Example("local_response_norm", {"x": (2, 33, 19, 21)}, {"size": 5}),
    Example("log_softmax", {"x": (2, 21, 33, 35)}),
    Example("segmentation_map", {"logits": (2, 21, 33, 35)}),
]


def batch_norm():
    shapes = {"x": (3, 19, 23, 29), "grad": (3, 19, 23, 29), "gamma": (19,), "beta": (19,)}
    x, grad, gamma, beta = map(placed, calls.draw(Example("batch_norm2d", shapes), np.float32).values())
    mean, variance = placed(np.zeros(19, np.float32)), placed(np.ones(19, np.float32))
    results = [mean, variance]
    for training in (True, False):
        y, saved = ops.batch_norm2d(x, gamma, beta, mean, variance, training=training)
        results += [y, *ops.batch_norm2d_backward(grad, x, gamma, saved)]
    return results


def cross_entropy():
    logits = calls.draw(Example("cross_entropy2d", {"logits": (3, 21, 33, 35)}), np.float32)["logits"]
    labels = calls.generator("labels").integers(0, 22, (3, 33, 35)).astype(np.uint8)
    labels[labels == 21] = 255
    logits, labels = placed(3 * logits), placed(labels)
    weights = placed(np.linspace(0, 2, 21, dtype=np.float32))
    results = []
    for options in ({}, {"class_weight": weights}, {"reduction": "sum"}, {"reduction": "none"}):
        results.append(np.asarray(ops.cross_entropy2d(logits, labels, **options)))
        results.append(ops.cross_entropy2d_backward(logits, labels, **options))
    return results


def dropout():
    x = placed(calls.draw(Example("dropout", {"x": (3, 33, 35, 37)}), np.float32)["x"])
    y, mask = ops.dropout(x, 0.3, np.random.default_rng(0))
    return [y, mask, ops.dropout_backward(placed(y), mask)]


def max_unpool():
    x = placed(calls.draw(Example("max_unpool2d", {"x": (2, 17, 26, 28)}), np.float32)["x"])
    y, indices = ops.max_pool2d(x, 2)
    indices = placed(indices)
    up = ops.max_unpool2d(placed(y), indices, (26, 28))
    return [up, ops.max_unpool2d_backward(placed(up), indices)]


def optimisers():
    results = []
    for optimiser in (Adam(weight_decay=0.1), SGD(0.9, 0.1)):
        shapes = {"conv.weight": (33, 17, 3, 3), "conv.bias": (33,)}
        parameters = {name: placed(a) for name, a in calls.draw(Example("parameters", shapes), np.float32).items()}
        for step in range(3):
            drawn = calls.draw(Example(f"gradients {step}", shapes), np.float32)
            optimiser.update(parameters, {name: placed(array) for name, array in drawn.items()}, 0.01)
        results += [*parameters.values(), *optimiser.state.values()]
    return results


def of_example(example, dtype):
    arrays = {name: placed(array) for name, array in calls.draw(example, dtype).items()}
    result = calls.forward(example, arrays)
    results = calls.arrays_in(result)
    if calls.has_backward(example.operation):
        grad = calls.generator("grad", example.operation).standard_normal(calls.output(result).shape).astype(dtype)
        results += calls.backward(example, arrays, result, placed(grad)).values()
    return results


PAGE = mmap.PAGESIZE
place = None


def guarded(shape, dtype):
    """An array between two pages that may not be touched, against one of them; its content is NaN, or absurd."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    pages = max(1, -(-size // PAGE))
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    mprotect = ctypes.CDLL(None, use_errno=True).mprotect
    for page in (start, start + (pages + 1) * PAGE):
        if mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0):  # PROT_NONE
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = PAGE if place == "start" else (pages + 1) * PAGE - size
    array = np.frombuffer(memory, dtype, math.prod(shape), offset).reshape(shape)
    array.fill(np.nan if dtype.kind == "f" else np.iinfo(dtype).max)
    return array


def placed(array):
    """The array where the guard wants it."""
    if place is None:
        return array
    copy = guarded(array.shape, array.dtype)
    copy[...] = array
    return copy


def compare(ours, theirs, what):
    assert len(ours) == len(theirs), what
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype, what
        scale = np.abs(other).max(initial=0)
        single = other.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=0, atol=scale * (1e-5 if single else 1e-12), err_msg=what)


def main():
    global place
    parser = argparse.ArgumentParser()
    parser.add_argument("--dtype", choices=("float32", "float64"), nargs="*", default=("float32", "float64"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--guard", choices=("start", "end"))
    options = parser.parse_args()
    if options.threads:
        import numba

        numba.set_num_threads(options.threads)

    cases = {}
    for dtype in map(np.dtype, options.dtype):
        for number, example in enumerate([*calls.EXAMPLES, *(LARGE if dtype == np.float32 else [])]):
            name = f"{number} {calls.named(example)} {dtype}"
            cases[name] = lambda example=example, dtype=dtype: of_example(example, dtype)
    if "float32" in options.dtype:
        cases |= {case.__name__: case for case in (batch_norm, cross_entropy, dropout, max_unpool, optimisers)}

    expected = {}
    with use_engine("im2col"):
        for name, case in cases.items():
            expected[name] = case()
    place = options.guard
    if place:
        buffers.empty = guarded  # where all of the engine's large arrays come from
    digest = hashlib.sha256()
    with use_engine("numba"):
        for name, case in cases.items():
            print(name, flush=True)
            results = case()
            compare(results, expected[name], name)
            for array in results:
                digest.update(np.ascontiguousarray(array).tobytes())
    print(digest.hexdigest())


if __name__ == "__main__":
    main()
