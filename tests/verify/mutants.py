"""Faults to plant in npseg, each a few characters of its source, and which part of `verify` must find it."""

import ast
import functools
import gc
import importlib
import inspect
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass

CASES = 8


@dataclass(frozen=True)
class Mutant:
    """A fault.

    Attributes:
        name: what is wrong.
        where: "module:function" or "module:Class.method", after "npseg.".
        old, new: the part of its source that is replaced; it stands there once.
        operation, engine, check: what shows it.
        cases: how many cases are tried.
    """

    name: str
    where: str
    old: str
    new: str
    operation: str
    engine: str
    check: str
    cases: int = CASES

    @property
    def selection(self):
        return {
            "operations": [self.operation],
            "engines": [self.engine],
            "checks": [self.check],
            "cases": self.cases,
        }


@contextmanager
def planted(mutant):
    """npseg with the fault in it."""
    module, function, is_kernel = _place(mutant)
    with _kernel_in_place(module, function, mutant) if is_kernel else _code_in_place(function, mutant):
        _forget()
        try:
            yield
        finally:
            _forget()


def has_its_place(mutant):
    """Whether what the fault replaces stands in its function, once."""
    _, function, _ = _place(mutant)
    return inspect.getsource(function).count(mutant.old) == 1


def _place(mutant):
    """The module, the function, and whether it is a kernel."""
    module, path = mutant.where.split(":")
    module = importlib.import_module(f"npseg.{module}")
    found = module
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    if hasattr(found, "compiled"):
        return module, found.compiled.py_func, True
    return module, inspect.unwrap(getattr(found, "__func__", found)), False


def _faulty_source(function, mutant):
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(mutant.old) == 1, f"{mutant.old!r} stands {source.count(mutant.old)} times in {mutant.where}"
    return source.replace(mutant.old, mutant.new)


@contextmanager
def _code_in_place(function, mutant):
    """Change what the function does, whoever has imported it and under whatever name."""
    tree = ast.parse(_faulty_source(function, mutant))
    tree.body[0].decorator_list = []
    namespace = {}
    exec(compile(tree, inspect.getfile(function), "exec"), dict(function.__globals__), namespace)
    healthy = function.__code__
    function.__code__ = namespace[function.__name__].__code__
    try:
        yield
    finally:
        function.__code__ = healthy


@contextmanager
def _kernel_in_place(module, function, mutant):
    """Compile the faulty kernel, which is kept in no cache since it comes from no file."""
    namespace = {}
    exec(compile(_faulty_source(function, mutant), "<planted>", "exec"), dict(vars(module)), namespace)
    healthy = getattr(module, function.__name__)
    setattr(module, function.__name__, namespace[function.__name__])
    try:
        yield
    finally:
        setattr(module, function.__name__, healthy)


def _forget():
    """What was computed with or without the fault must not be remembered."""
    for cached in _caches():
        cached.cache_clear()


@functools.cache
def _caches():
    importlib.import_module("npseg.verify")
    if importlib.util.find_spec("numba"):
        importlib.import_module("npseg.engines.numba")
    return [
        thing
        for thing in gc.get_objects()
        if type(thing) is functools._lru_cache_wrapper
        and (thing.__module__ or "").startswith("npseg.")
        and thing.__module__ != "npseg.verify.references"
    ]


MUTANTS = [
    # The definition in loops.
    Mutant(
        "kernel rows and columns swapped",
        "engines.loops:taps",
        "(o, c, k, l))",
        "(o, c, min(l, weight_shape[2] - 1), min(k, weight_shape[3] - 1)))",
        "conv2d",
        "loops",
        "definition",
    ),
    Mutant(
        "wrong group slice",
        "engines.loops:taps",
        "group = o // (out_channels // groups)",
        "group = o % groups",
        "conv2d",
        "loops",
        "definition",
    ),
    Mutant(
        "missing += in the input gradient",
        "engines.loops:conv_grad_input",
        "grad_x[tap.input] +=",
        "grad_x[tap.input] =",
        "conv2d",
        "loops",
        "adjoint",
    ),
    Mutant(
        "missing += in the weight gradient",
        "engines.loops:conv_grad_weight",
        "grad_weight[tap.weight] +=",
        "grad_weight[tap.weight] =",
        "conv2d",
        "loops",
        "gradient",
    ),
    Mutant(
        "the last of equal pixels wins",
        "engines.loops:_beats",
        "challenger > champion",
        "challenger >= champion",
        "max_pool2d",
        "loops",
        "bit-equality",
    ),
    Mutant(
        "overwriting instead of adding where windows overlap",
        "engines.loops:scatter",
        "x[n, c, h, w] += ",
        "x[n, c, h, w] = ",
        "max_pool2d",
        "loops",
        "adjoint",
    ),
    Mutant(
        "positions divided by the height",
        "engines.loops:gather",
        "divmod(indices[n, c, i, j], x.shape[3])",
        "divmod(indices[n, c, i, j] % x[0, 0].size, x.shape[2])",
        "max_unpool2d",
        "loops",
        "gradient",
    ),
    Mutant(
        "the weights along the columns forgotten",
        "engines.loops:resize",
        "rows.data[a] * columns.data[b] *",
        "rows.data[a] *",
        "resize_bilinear",
        "loops",
        "definition",
    ),
    # im2col.
    Mutant(
        "missing += of overlapping columns",
        "engines.columns:add_columns",
        "pixels[:, :, h, w] +=",
        "pixels[:, :, h, w] =",
        "col2im",
        "im2col",
        "definition",
    ),
    Mutant(
        "padding of ones",
        "engines.columns:fill_columns",
        "tap[..., : j.start] = tap[..., j.stop :] = 0",
        "tap[..., : j.start] = tap[..., j.stop :] = 1",
        "conv2d",
        "im2col",
        "cross-engine",
    ),
    Mutant(
        "zeros around the image win the maximum",
        "engines.im2col:max_pool",
        "-np.inf",
        "0",
        "max_pool2d",
        "im2col",
        "definition",
    ),
    Mutant(
        "the last of equal pixels wins, for all windows at once",
        "engines.im2col:max_pool",
        "~(challenger <= best)",
        "~(challenger < best)",
        "max_pool2d",
        "im2col",
        "bit-equality",
    ),
    Mutant(
        "blocks not added up",
        "engines.im2col:conv_grad_weight",
        "grad_weights += part @",
        "grad_weights[...] = part @",
        "conv2d",
        "im2col",
        "cross-engine",
    ),
    Mutant(
        "the last group dropped",
        "engines.im2col:conv",
        "part = y[block.images, :, block.rows]",
        "product[groups - 1 :] *= groups == 1; part = y[block.images, :, block.rows]",
        "conv2d",
        "im2col",
        "bit-equality",
    ),
    Mutant(
        "every block starts at the first row",
        "engines.im2col:conv_grad_input",
        "window.from_row(block.rows.start)",
        "window",
        "conv_transpose2d",
        "im2col",
        "cross-engine",
    ),
    Mutant(
        "unpooling overwrites",
        "engines.im2col:scatter",
        "np.add.at(x.reshape(-1), _flat_positions(indices, size[0] * size[1]), values.ravel())",
        "x.reshape(-1)[_flat_positions(indices, size[0] * size[1])] = values.ravel()",
        "max_pool2d",
        "im2col",
        "cross-engine",
    ),
    # The sparse matrix.
    Mutant(
        "the weight upside down in the gradient",
        "engines.sparse:conv_grad_input",
        "(grad.shape[2], grad.shape[3]), weight,",
        "(grad.shape[2], grad.shape[3]), weight[:, :, ::-1],",
        "conv2d",
        "sparse",
        "adjoint",
    ),
    Mutant(
        "a batch's weight gradient is its last image's",
        "engines.sparse:conv_grad_weight",
        "grad_entries += ",
        "grad_entries = ",
        "conv2d",
        "sparse",
        "gradient",
    ),
    Mutant(
        "the last of equal entries",
        "engines.sparse:max_pool",
        "np.minimum.reduceat(entries",
        "np.maximum.reduceat(np.where(is_maximum, np.arange(pattern.nnz), -1)",
        "max_pool2d",
        "sparse",
        "bit-equality",
    ),
    Mutant(
        "the kernel's axes swapped",
        "matrices.convolution:convolution_taps",
        "rows.kernel[row]) * kernel_size[1] + columns.kernel[column]",
        "columns.kernel[column]) * kernel_size[0] + rows.kernel[row]",
        "conv2d",
        "sparse",
        "reference",
    ),
    # Geometry, which all engines share.
    Mutant(
        "off by one in the padding",
        "geometry:_padded",
        "before=side[0], after=side[1]",
        "before=max(side[0] - 1, 0), after=side[1] + min(side[0], 1)",
        "conv2d",
        "im2col",
        "definition",
    ),
    Mutant(
        "top and bottom padding swapped",
        "geometry:_padded",
        "before=side[0], after=side[1]",
        "before=side[1], after=side[0]",
        "im2col",
        "im2col",
        "definition",
    ),
    Mutant(
        'the odd pixel of "same" at the top',
        "geometry:_same_padding",
        "return total // 2, total - total // 2",
        "return total - total // 2, total // 2",
        "depthwise_conv2d",
        "im2col",
        "reference",
        cases=16,
    ),
    Mutant(
        "dilation of rows and columns swapped",
        "geometry:_unpadded_axes",
        "dilation=dilations[a]",
        "dilation=dilations[1 - a]",
        "conv2d",
        "im2col",
        "definition",
    ),
    Mutant(
        "stride ignored",
        "geometry:pooling_window",
        "stride = kernel_size if stride is None else stride",
        "stride = kernel_size",
        "avg_pool2d",
        "im2col",
        "definition",
    ),
    Mutant(
        "dilation ignored",
        "ops.pooling:max_pool2d",
        "dilation=dilation, ",
        "dilation=1, ",
        "max_pool2d",
        "sparse",
        "definition",
    ),
    Mutant(
        "ceil mode keeps a window that starts beyond the image",
        "geometry:_ceil_axis",
        "if (outputs - 1) * axis.stride >= size + axis.before:",
        "if False:",
        "avg_pool2d",
        "im2col",
        "definition",
        cases=24,
    ),
    Mutant(
        "output padding at the top",
        "geometry:transposed_window",
        "before=before, after=after - extras[a]",
        "before=before - extras[a], after=after",
        "conv_transpose2d",
        "im2col",
        "definition",
    ),
    # Pooling, resizing and cropping.
    Mutant(
        "padding counted where it should not",
        "matrices.pooling:averaging_rows",
        "if count_padding else (axis, size)",
        "if True else (axis, size)",
        "avg_pool2d",
        "im2col",
        "reference",
        cases=24,
    ),
    Mutant(
        "ceil mode's overhang counted",
        "matrices.pooling:averaging_rows",
        "len(line.taps_of(i, length))",
        "line.kernel_size if count_padding else len(line.taps_of(i, length))",
        "avg_pool2d",
        "im2col",
        "definition",
        cases=24,
    ),
    Mutant(
        "align_corners the other way round",
        "matrices.resizing:bilinear_axes",
        "align_corners=aligned",
        "align_corners=not aligned",
        "resize_bilinear",
        "im2col",
        "definition",
    ),
    Mutant(
        "the matrix forgets align_corners",
        "matrices.resizing:resize_bilinear_matrix",
        "output_size, align_corners,",
        "output_size, False,",
        "resize_bilinear",
        "im2col",
        "matrix",
    ),
    Mutant(
        "nails at the wrong corner",
        "matrices.resizing:nail_rows",
        "pixels * scale, pixels",
        "pixels * scale + scale - 1, pixels",
        "bed_of_nails_unpool2d",
        "im2col",
        "definition",
    ),
    Mutant(
        "the crop's offset swapped",
        "ops.cropping:crop2d_backward",
        "top : top + height, left : left + width",
        "full[0] - height - top : full[0] - top, left : left + width",
        "crop2d",
        "im2col",
        "adjoint",
    ),
    Mutant(
        "the mean's gradient divided by H * H",
        "ops.pooling:global_avg_pool2d_backward",
        "(size[0] * size[1])",
        "(size[0] * size[0])",
        "global_avg_pool2d",
        "im2col",
        "adjoint",
    ),
    # Weights and biases.
    Mutant(
        "the bias gradient misses the sum over the batch",
        "ops.convolution:bias_gradient",
        "grad.sum(axis=(0, 2, 3))",
        "grad[0].sum(axis=(1, 2))",
        "conv2d",
        "im2col",
        "gradient",
    ),
    Mutant(
        "the bias in reverse",
        "engines.finishing:finished",
        "y += bias[:, None, None]",
        "y += bias[::-1, None, None]",
        "conv2d",
        "sparse",
        "bit-equality",
    ),
    Mutant(
        "the bias gradient of a linear layer is a mean",
        "ops.linear:linear_backward",
        "grad.sum(axis=0)",
        "grad.mean(axis=0)",
        "linear",
        "im2col",
        "bit-equality",
    ),
    Mutant(
        "the regularisation not under the root",
        "ops.deconvolution:deconvolve2d",
        "np.sqrt(regularization)",
        "regularization",
        "deconvolve2d",
        "im2col",
        "reference",
    ),
    # Normalisation, activation, loss.
    Mutant(
        "the running variance biased",
        "ops.normalisation:batch_norm2d",
        "(var * (count / (count - 1)))",
        "var",
        "batch_norm2d",
        "im2col",
        "definition",
    ),
    Mutant(
        "the batch variance unbiased",
        "ops.normalisation:_batch_norm",
        "np.square(x - _per_channel(mean)).mean(axis=(0, 2, 3))",
        "np.var(x, axis=(0, 2, 3), ddof=1)",
        "batch_norm2d",
        "im2col",
        "definition",
    ),
    Mutant(
        "the gradient takes the variance for a constant",
        "ops.normalisation:batch_norm2d_backward",
        " - normalised * _per_channel(grad_gamma / count)",
        "",
        "batch_norm2d",
        "im2col",
        "gradient",
    ),
    Mutant(
        "an even span reaches too far",
        "ops.normalisation:_channel_pairs",
        "min((size - 1) // 2, channels - 1)",
        "min(size // 2, channels - 1)",
        "local_response_norm",
        "im2col",
        "definition",
    ),
    Mutant(
        "the gradient passes at zero",
        "ops.activation:relu_backward",
        "~(y <= 0)",
        "~(y < 0)",
        "relu",
        "im2col",
        "gradient",
    ),
    Mutant(
        "float32 becomes float64",
        "ops.activation:relu",
        "np.maximum(x, 0, out=buffers.empty_like(x))",
        "np.maximum(x, np.float64(0))",
        "relu",
        "im2col",
        "definition",
    ),
    Mutant(
        "what dropout keeps is not enlarged",
        "ops.activation:dropout",
        "x.dtype.type(1 / (1 - p))",
        "x.dtype.type(1)",
        "dropout",
        "im2col",
        "definition",
    ),
    Mutant(
        "softmax over the channels whatever the axis",
        "ops.classification:softmax",
        "exponentials.sum(axis=axis",
        "exponentials.sum(axis=1",
        "softmax",
        "im2col",
        "definition",
    ),
    Mutant(
        "the highest of equal classes",
        "ops.classification:segmentation_map",
        "np.argmax(logits, axis=1)",
        "logits.shape[1] - 1 - np.argmax(logits[:, ::-1], axis=1)",
        "segmentation_map",
        "im2col",
        "bit-equality",
    ),
    Mutant(
        "ignored pixels counted in the mean",
        "ops.classification:_checked_pixels",
        "weights[...] = kept",
        "weights[...] = 1",
        "cross_entropy2d",
        "im2col",
        "definition",
    ),
    Mutant(
        "class weights ignored in the gradient",
        "ops.classification:_gradient",
        "grad *= shares[:, None]",
        "grad *= shares.max()",
        "cross_entropy2d",
        "im2col",
        "gradient",
    ),
    # The forms that networks use.
    Mutant(
        "the ReLU after a convolution forgotten",
        "ops.convolution:conv2d_relu",
        "relu=True",
        "relu=False",
        "conv2d",
        "im2col",
        "definition",
    ),
    Mutant(
        "the bias's gradient not sent through the ReLU",
        "ops.convolution:relu_and_bias_gradient",
        "bias_gradient(grad_sums)",
        "bias_gradient(grad)",
        "relu",
        "im2col",
        "definition",
        cases=16,
    ),
    Mutant(
        "the loss with its gradient counts a sum as a mean",
        "ops.classification:cross_entropy2d_and_gradient",
        "_reduced(losses, pixels, reduction), grad",
        '_reduced(losses, pixels, "mean"), grad',
        "cross_entropy2d",
        "im2col",
        "definition",
    ),
    # Optimisers.
    Mutant(
        "no momentum",
        "training.optimisers:_sgd_update",
        "velocity *= momentum",
        "velocity *= 0",
        "sgd",
        "im2col",
        "definition",
    ),
    Mutant(
        "the rate outside the velocity",
        "training.optimisers:_sgd_update",
        "velocity -= rate * (gradient + decay * parameter if decay else gradient)\n    parameter += velocity",
        "velocity -= gradient + decay * parameter if decay else gradient\n    parameter += rate * velocity",
        "sgd",
        "im2col",
        "definition",
    ),
    Mutant(
        "an infinite step not told",
        "training.optimisers:_sgd_update",
        "bool(np.isfinite(parameter).all())",
        "True",
        "sgd",
        "im2col",
        "definition",
    ),
    Mutant(
        "biases learn no faster",
        "training.optimisers:SGD.update",
        "2 * own_rate if bias else own_rate",
        "own_rate",
        "sgd",
        "im2col",
        "definition",
    ),
    Mutant(
        "biases decay",
        "training.optimisers:SGD.update",
        "0.0 if bias else self.weight_decay",
        "self.weight_decay",
        "sgd",
        "im2col",
        "definition",
    ),
    Mutant(
        "one rate for all parameters",
        "training.optimisers:SGD.update",
        "rate * scales.get(name, 1.0)",
        "rate",
        "sgd",
        "im2col",
        "definition",
    ),
    Mutant(
        "the mean corrected as if every update were the first",
        "training.optimisers:Adam.update",
        "1 - self.beta1**updates",
        "1 - self.beta1",
        "adam",
        "im2col",
        "definition",
    ),
    Mutant(
        "epsilon added before the correction",
        "training.optimisers:Adam.update",
        "self.epsilon * root",
        "self.epsilon",
        "adam",
        "im2col",
        "definition",
    ),
    Mutant(
        "biases decay in Adam",
        "training.optimisers:Adam.update",
        "0.0 if _is_bias(name) else own_rate * self.weight_decay",
        "own_rate * self.weight_decay",
        "adam",
        "im2col",
        "definition",
    ),
    Mutant(
        "no decay in Adam",
        "training.optimisers:_adam_update",
        "if decay:",
        "if False:",
        "adam",
        "im2col",
        "definition",
    ),
    Mutant(
        "the decay joins the moments",
        "training.optimisers:_adam_update",
        "first *= beta1",
        "gradient, decay = gradient + decay * parameter, 0; first *= beta1",
        "adam",
        "im2col",
        "definition",
    ),
    Mutant(
        "the stepped parameter decays",
        "training.optimisers:_adam_update",
        "parameter -= step_size",
        "parameter -= (1 - decay) * step_size",
        "adam",
        "im2col",
        "definition",
    ),
    Mutant(
        "epsilon under the root",
        "training.optimisers:_adam_update",
        "np.sqrt(second) + epsilon",
        "np.sqrt(second + epsilon)",
        "adam",
        "im2col",
        "definition",
    ),
    Mutant(
        "NaN taken for finite",
        "training.optimisers:_adam_update",
        "np.isfinite(parameter).all()",
        "not np.isinf(parameter).any()",
        "adam",
        "im2col",
        "definition",
    ),
    # Checkpoints.
    Mutant(
        "the optimiser's memory lost on resuming",
        "training.checkpoints:load",
        "restore(optimiser, moments, model.parameters)",
        "pass",
        "training",
        "im2col",
        "checkpoint-resume",
        cases=1,
    ),
    Mutant(
        "dropout starts again on resuming",
        "training.batches:Batches.dropout",
        '"dropout", step, place',
        '"dropout", step - self.__dict__.setdefault("first", step), place',
        "training",
        "im2col",
        "checkpoint-resume",
        cases=1,
    ),
    Mutant(
        "the order of the samples starts again on resuming",
        "training.batches:Batches.indices",
        "places = range(step",
        'step -= self.__dict__.setdefault("first", step); places = range(step',
        "training",
        "im2col",
        "checkpoint-resume",
        cases=1,
    ),
    Mutant(
        "running statistics not read back",
        "models.files:read",
        'model.buffers = _fitting(path, model.buffer_specs, model.dtype, arrays, "buffers")',
        "pass",
        "training",
        "im2col",
        "checkpoint-resume",
        cases=1,
    ),
    Mutant(
        "the step forgotten",
        "training.checkpoints:load",
        'step=checks.integer(metadata["step"], "step", at_least=0)',
        "step=0",
        "training",
        "im2col",
        "checkpoint-resume",
        cases=1,
    ),
]

COMPILED = [
    Mutant(
        "rows and columns of the padding swapped",
        "engines.numba.convolution:_forward",
        "taps[:, 1] * window.columns.dilation - window.columns.before",
        "taps[:, 1] * window.columns.dilation - window.rows.before",
        "conv2d",
        "numba",
        "cross-engine",
        cases=16,
    ),
    Mutant(
        "the kernel mirrored on small maps",
        "engines.numba.small_maps:pairs_of_taps",
        "row * window.columns.kernel_size + column:",
        "(row + 1) * window.columns.kernel_size - 1 - column:",
        "conv2d",
        "numba",
        "definition",
    ),
    Mutant(
        "phases of the transposed convolution take each other's taps",
        "engines.numba.transposed:grids",
        "columns.taps[b][u] for t, u in taps",
        "columns.taps[b][-1 - u] for t, u in taps",
        "conv_transpose2d",
        "numba",
        "adjoint",
        cases=16,
    ),
    Mutant(
        "the padding of the depthwise gradient not turned around",
        "engines.numba.depthwise:_turned_around",
        "before=axis.extent - 1 - axis.before",
        "before=axis.before",
        "depthwise_conv2d",
        "numba",
        "bit-equality",
    ),
    Mutant(
        "the mode of batch normalisation lost on the way back",
        "engines.numba.normalisation:batch_norm_backward",
        "        training,\n",
        "        False,\n",
        "batch_norm2d",
        "numba",
        "gradient",
    ),
    Mutant(
        "ignored pixels kept in the compiled loss",
        "engines.numba.loss:cross_entropy",
        "rows(weights if shares is None else shares)",
        "rows(weights)",
        "cross_entropy2d",
        "numba",
        "cross-engine",
    ),
    Mutant(
        "values gathered from the plane beside",
        "engines.numba.pooling:gather",
        "_planes(x), _planes(indices)",
        "_planes(x[:, ::-1]), _planes(indices)",
        "max_unpool2d",
        "numba",
        "adjoint",
    ),
    Mutant(
        "what does not lie in one row is not copied back",
        "engines.numba.updates:_updated",
        "if not array.flags.c_contiguous:",
        "if False:",
        "sgd",
        "numba",
        "definition",
        cases=1,
    ),
    Mutant(
        "only the first task asked whether it is finite",
        "engines.numba.updates:_updated",
        "finite.all()",
        "finite[0]",
        "adam",
        "numba",
        "cross-engine",
    ),
    Mutant(
        "the compiled moments' memories swapped",
        "engines.numba.updates:adam_update",
        "[beta1, 1 - beta1, beta2, 1 - beta2,",
        "[beta2, 1 - beta2, beta1, 1 - beta1,",
        "adam",
        "numba",
        "definition",
    ),
]

KERNELS = [
    Mutant(
        "missing += in the compiled scatter",
        "engines.numba.pooling:_scatter",
        "x[plane, place] += values",
        "x[plane, place] = values",
        "max_pool2d",
        "numba",
        "adjoint",
    ),
    Mutant(
        "the last pixel of a 2x2 window never looked at",
        "engines.numba.pooling:_halve",
        "largest, to, contested = _challenged(largest, to, contested, fourth, diagonal)",
        "pass",
        "max_pool2d",
        "numba",
        "definition",
        cases=16,
    ),
    Mutant(
        "the compiled variance unbiased",
        "engines.numba.normalisation:_batch_norm",
        "total / count, squares / count",
        "total / count, squares / (count - 1)",
        "batch_norm2d",
        "numba",
        "definition",
    ),
    Mutant(
        "the compiled map takes the highest of equal classes",
        "engines.numba.loss:_segmentation_map",
        "not scores[i] <= best[i]",
        "not scores[i] < best[i]",
        "segmentation_map",
        "numba",
        "bit-equality",
    ),
    Mutant(
        "the velocity decays in place of the parameter",
        "engines.numba.updates:_sgd",
        "decay * p[i]",
        "decay * v[i]",
        "sgd",
        "numba",
        "definition",
    ),
    Mutant(
        "the compiled step takes every number for finite",
        "engines.numba.updates:_sgd",
        "beyond == 0",
        "True",
        "sgd",
        "numba",
        "cross-engine",
    ),
    Mutant(
        "the last number of a task left out",
        "engines.numba.updates:_sgd",
        "task * TASK + TASK",
        "task * TASK + TASK - 1",
        "sgd",
        "numba",
        "definition",
    ),
    Mutant(
        "the gradient not squared",
        "engines.numba.updates:_adam",
        "rest2 * g[i] * g[i]",
        "rest2 * abs(g[i])",
        "adam",
        "numba",
        "definition",
    ),
    Mutant(
        "the compiled Adam does not decay",
        "engines.numba.updates:_adam",
        "decay * p[i] + step_size",
        "step_size",
        "adam",
        "numba",
        "cross-engine",
    ),
]
