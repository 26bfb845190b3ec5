"use strict";
/* The operations: what each one is called, which settings it takes, and its plan.

   A plan says all that the rest of the page needs:

       input, output   shapes [channels, height, width]
       tensors         the weight tensors: [{ name, shape }]
       axes            the window's two axes, where there is a window
       every           all taps, padding and cropped ones included
       taps(values)    the taps that count, which may depend on the values (max pooling, max unpooling, deconvolution)
       columns         the shape [rows, columns] of the im2col columns, or null
       ring            "input" where padding surrounds the input, "output" where stamps are cropped, or null

   `geometry` checks the settings and finds the shapes; `plan` adds the taps. */

const LARGEST = { output: 24, matrix: 120000 };

/** Every control: its label, its kind, and the range that can be drawn. */
const CONTROLS = {
  input_size: { label: "input size", kind: "size", least: 1, most: 10 },
  output_size: { label: "output size", kind: "size", least: 1, most: 16 },
  in_channels: { label: "input channels", kind: "count", least: 1, most: 3 },
  out_channels: { label: "output channels", kind: "count", least: 1, most: 3 },
  multiplier: { label: "multiplier", kind: "count", least: 1, most: 2 },
  kernel_size: { label: "kernel size", kind: "pair", least: 1, most: 7 },
  stride: { label: "stride", kind: "pair", least: 1, most: 5 },
  padding: { label: "padding", kind: "padding", least: 0, most: 6 },
  dilation: { label: "dilation", kind: "pair", least: 1, most: 4 },
  groups: { label: "groups", kind: "count", least: 1, most: 3 },
  output_padding: { label: "output padding", kind: "pair", least: 0, most: 4 },
  scale: { label: "scale", kind: "pair", least: 1, most: 4 },
  regularization: { label: "regularization", kind: "number", least: 0, most: 10 },
  ceil_mode: { label: "ceil mode", kind: "flag" },
  count_include_pad: { label: "count padding", kind: "flag" },
  align_corners: { label: "align corners", kind: "flag" },
};

/** The settings, which are the fields' texts, as numbers. */
function parsed(settings) {
  const values = {};
  for (const [name, text] of Object.entries(settings)) {
    const { kind, least, most } = CONTROLS[name];
    if (kind === "flag") values[name] = text === "true";
    else if (kind === "padding") values[name] = parsePadding(text.trim(), most);
    else if (kind === "number") values[name] = parseNumber(name, text, least, most);
    else if (kind === "count") values[name] = parseCount(name, text, least, most);
    else values[name] = parsePair(name, text.trim(), least, most);
  }
  return values;
}

function parseCount(name, text, least, most) {
  const count = text.trim() === "" ? NaN : Number(text);
  if (!Number.isInteger(count)) throw new SettingError(name, `needs one whole number, got "${text}"`);
  checkRange(name, [count], least, most);
  return count;
}

function parseNumber(name, text, least, most) {
  const number = text.trim() === "" ? NaN : Number(text);
  if (!Number.isFinite(number)) throw new SettingError(name, `needs a number, got "${text}"`);
  checkRange(name, [number], least, most);
  return number;
}

const windowOf = (s) => ({
  kernelSize: s.kernel_size,
  stride: s.stride,
  padding: s.padding,
  dilation: s.dilation ?? [1, 1],
  outputPadding: s.output_padding ?? [0, 0],
});

const sizesOf = (axes, size) => axes.map((axis, a) => outputSize(axis, size[a]));

function checkGroups(groups, channels) {
  for (const [name, count] of Object.entries(channels)) {
    if (count % groups) throw new SettingError("groups", `must divide ${name}: ${count} / ${groups} is no whole number`);
  }
}

function checkDrawable({ input, output }) {
  const [rows, columns] = [sizeOf(output), sizeOf(input)];
  if (Math.max(output[1], output[2]) > LARGEST.output || rows * columns > LARGEST.matrix) {
    throw new SettingError(
      "input_size",
      `must give an output that can be drawn here: ${output[1]} x ${output[2]} with a matrix of ${rows} x ${columns} ` +
        `entries is too large (at most ${LARGEST.output} pixels a side, ${LARGEST.matrix} entries)`,
    );
  }
}

// One function for each family: from parsed settings to the shapes, and from these to the taps

const convolution = {
  geometry(s) {
    checkGroups(s.groups, { in_channels: s.in_channels, out_channels: s.out_channels });
    const axes = convolutionAxes(windowOf(s), s.input_size);
    return {
      axes,
      ring: "input",
      input: [s.in_channels, ...s.input_size],
      output: [s.out_channels, ...sizesOf(axes, s.input_size)],
      tensors: [{ name: "weight", shape: [s.out_channels, s.in_channels / s.groups, ...s.kernel_size] }],
    };
  },
  plan(shapes, s) {
    const every = convolutionTaps(shapes.axes, shapes.input, shapes.output, s.groups);
    return { every, columns: [s.in_channels * sizeOf(s.kernel_size), sizeOf(shapes.output.slice(1))] };
  },
};

/** A convolution with a group for each channel. */
const asGroups = (s) => ({ ...s, groups: s.in_channels, out_channels: s.in_channels * s.multiplier });

const depthwise = {
  geometry: (s) => convolution.geometry(asGroups(s)),
  plan: (shapes, s) => convolution.plan(shapes, asGroups(s)),
};

const separable = {
  geometry(s) {
    const first = depthwise.geometry(s);
    const [{ shape }] = first.tensors;
    return {
      ...first,
      middle: first.output,
      output: [s.out_channels, ...first.output.slice(1)],
      tensors: [
        { name: "depthwise_weight", shape },
        { name: "pointwise_weight", shape: [s.out_channels, shape[0], 1, 1] },
      ],
    };
  },
  plan(shapes, s) {
    const { every: depthwiseTaps, columns } = depthwise.plan({ ...shapes, output: shapes.middle }, s);
    const weights = sizeOf(shapes.tensors[0].shape);
    return {
      columns,
      depthwiseTaps,
      every: separableTaps(depthwiseTaps, shapes.middle, s.out_channels, weights),
      multiplications: depthwiseTaps.length + sizeOf(shapes.tensors[1].shape) * sizeOf(shapes.output.slice(1)),
    };
  },
};

const transposedConvolution = {
  geometry(s) {
    checkGroups(s.groups, { in_channels: s.in_channels, out_channels: s.out_channels });
    const axes = transposedAxes(windowOf(s), s.input_size);
    return {
      axes,
      ring: "output",
      input: [s.in_channels, ...s.input_size],
      output: [s.out_channels, ...axes.map((axis, a) => inputSize(axis, s.input_size[a]))],
      tensors: [{ name: "weight", shape: [s.in_channels, s.out_channels / s.groups, ...s.kernel_size] }],
    };
  },
  plan(shapes, s) {
    const every = transposedTaps(convolutionTaps(shapes.axes, shapes.output, shapes.input, s.groups));
    return { every, columns: [s.out_channels * sizeOf(s.kernel_size), sizeOf(s.input_size)] };
  },
};

const deconvolution = {
  geometry(s) {
    const shapes = transposedConvolution.geometry({ ...s, in_channels: 1, out_channels: 1, groups: 1 });
    return { ...shapes, ring: null, tensors: [{ name: "kernel", shape: [1, 1, ...s.kernel_size] }] };
  },
  plan(shapes, s) {
    const convolved = convolutionTaps(shapes.axes, shapes.output, shapes.input, 1).filter(isInside);
    return {
      every: [],
      columns: null,
      convolved, // from the unknown x to y
      taps: ({ weights }) => denseTaps(pseudoInverse(denseMatrix(convolved, weights, shapes), s.regularization)),
    };
  },
};

/** The convolution's matrix from x, our output, to y, our input. */
function denseMatrix(taps, weights, { input, output }) {
  const matrix = Array.from({ length: sizeOf(input) }, () => new Array(sizeOf(output)).fill(0));
  for (const tap of taps) matrix[tap.output][tap.input] += coefficient(tap, weights);
  return matrix;
}

/** Every entry of a matrix as a tap; what is 0 but for rounding is none. */
function denseTaps(matrix) {
  const largest = Math.max(...matrix.flat().map(Math.abs));
  return matrix.flatMap((row, output) =>
    row
      .map((factor, input) => ({ output, input, weights: [], factor }))
      .filter((tap) => Math.abs(tap.factor) > 1e-14 * largest),
  );
}

/** max_pool2d and avg_pool2d share the window; they differ in the taps that count. */
function pooling(finish) {
  return {
    geometry(s) {
      const { asked, axes } = poolingAxes(windowOf(s), s.input_size, s.ceil_mode);
      if (s.count_include_pad !== true) checkRealPixels(axes, s.input_size);
      return {
        asked,
        axes,
        ring: "input",
        input: [s.in_channels, ...s.input_size],
        output: [s.in_channels, ...sizesOf(axes, s.input_size)],
        tensors: [],
      };
    },
    plan(shapes, s) {
      const lines = shapes.axes.map((axis, a) => windowTaps(axis, s.input_size[a], shapes.output[a + 1]));
      const plan = finish(lines, shapes, s);
      return { ...plan, columns: [s.in_channels * sizeOf(s.kernel_size), sizeOf(shapes.output.slice(1))] };
    },
  };
}

const maxPooling = pooling((lines, shapes, s) => {
  const every = channelwiseTaps(...lines, shapes.input, shapes.output, s.kernel_size);
  return { every, taps: ({ input }) => winningTaps(every, input), multiplications: 0, maximum: true };
});

const averagePooling = pooling((lines, shapes, s) => {
  const [rows, columns] = lines.map((line, a) => averaged(line, shapes.asked[a], s.input_size[a], s.count_include_pad));
  return { every: channelwiseTaps(rows, columns, shapes.input, shapes.output, s.kernel_size) };
});

/** Each tap divided by the number of pixels in its window: with the padding that was asked for, or the real ones. */
function averaged(line, asked, size, countPadding) {
  const [first, last] = countPadding ? [-asked.before, size + asked.after] : [0, size];
  const counts = new Map();
  for (const tap of line) {
    if (tap.input >= first && tap.input < last) counts.set(tap.output, (counts.get(tap.output) ?? 0) + 1);
  }
  return line.map((tap) => ({ ...tap, factor: counts.has(tap.output) ? 1 / counts.get(tap.output) : 0 }));
}

/** An operation of two axes without window and weights; `line(a, settings)` gives the taps of axis a. */
function resizing(line, outputOf, more = {}) {
  return {
    geometry: (s) => ({
      axes: null,
      ring: null,
      input: [s.in_channels, ...s.input_size],
      output: [s.in_channels, ...outputOf(s)],
      tensors: [],
    }),
    plan(shapes, s) {
      const lines = [0, 1].map((a) => line(a, s).map((tap) => ({ ...tap, kernel: 0, inside: true })));
      return { every: channelwiseTaps(...lines, shapes.input, shapes.output), columns: null, ...more };
    },
  };
}

const scaled = (s) => s.input_size.map((length, a) => length * s.scale[a]);

const range = (length) => Array.from({ length }, (_, index) => index);

const nearestUnpooling = resizing(
  (a, s) => range(s.input_size[a] * s.scale[a]).map((i) => ({ output: i, input: Math.floor(i / s.scale[a]), factor: 1 })),
  scaled,
  { multiplications: 0 },
);

const nailUnpooling = resizing(
  (a, s) => range(s.input_size[a]).map((i) => ({ output: i * s.scale[a], input: i, factor: 1 })),
  scaled,
  { multiplications: 0 },
);

const bilinear = resizing((a, s) => bilinearLine(s.input_size[a], s.output_size[a], s.align_corners), (s) => s.output_size);

/** Half-pixel centres, clamped at 0, or aligned corners: at most two neighbours, their factors adding up to 1. */
function bilinearLine(size, outputs, alignCorners) {
  return range(outputs).flatMap((i) => {
    // Whole numbers up to the last division, so that a factor that should be 0 or 1 is.
    const numerator = alignCorners ? i * (size - 1) : Math.max((2 * i + 1) * size - outputs, 0);
    const denominator = alignCorners ? Math.max(outputs - 1, 1) : 2 * outputs;
    const left = Math.floor(numerator / denominator);
    const remainder = left + 1 > size - 1 ? 0 : numerator % denominator;
    return [
      { output: i, input: left, factor: (denominator - remainder) / denominator },
      { output: i, input: left + 1, factor: remainder / denominator },
    ].filter((tap) => tap.factor !== 0);
  });
}

const maxUnpooling = {
  geometry(s) {
    if (sizeOf(s.output_size) < sizeOf(s.input_size)) {
      throw new SettingError(
        "output_size",
        `must have a place for each value: ${s.output_size.join(" x ")} = ${sizeOf(s.output_size)} places for ` +
          `${s.input_size.join(" x ")} = ${sizeOf(s.input_size)} values`,
      );
    }
    return {
      axes: null,
      ring: null,
      input: [s.in_channels, ...s.input_size],
      output: [s.in_channels, ...s.output_size],
      tensors: [],
    };
  },
  plan(shapes) {
    const [inputs, outputs] = [sizeOf(shapes.input.slice(1)), sizeOf(shapes.output.slice(1))];
    return {
      every: [],
      columns: null,
      multiplications: 0,
      taps: ({ indices }) =>
        indices.map((index, input) => ({
          output: Math.floor(input / inputs) * outputs + index, input, weights: [], factor: 1,
        })),
    };
  },
};

// The table

const SIZE = { input_size: "5, 5" };
const CONVOLUTION = { kernel_size: "3", stride: "1", padding: "valid", dilation: "1" };
const POOL = { input_size: "6, 6", in_channels: "1", kernel_size: "2", stride: "2", padding: "valid" };

const OPERATIONS = {
  conv2d: {
    title: "Convolution", family: convolution,
    settings: { ...SIZE, in_channels: "1", out_channels: "1", ...CONVOLUTION, groups: "1" },
  },
  depthwise_conv2d: {
    title: "Depthwise convolution", family: depthwise,
    settings: { ...SIZE, in_channels: "3", multiplier: "1", ...CONVOLUTION },
  },
  separable_conv2d: {
    title: "Separable convolution", family: separable,
    settings: { ...SIZE, in_channels: "2", multiplier: "1", out_channels: "2", ...CONVOLUTION },
  },
  conv_transpose2d: {
    title: "Transposed convolution", family: transposedConvolution, scatters: true,
    settings: {
      input_size: "3, 3", in_channels: "1", out_channels: "1", ...CONVOLUTION, stride: "2", output_padding: "0", groups: "1",
    },
  },
  deconvolve2d: {
    title: "Deconvolution (the inverse)", family: deconvolution,
    settings: { ...SIZE, kernel_size: "3", stride: "1", padding: "2", dilation: "1", regularization: "0" },
  },
  max_pool2d: {
    title: "Max pooling", family: maxPooling,
    settings: { ...POOL, dilation: "1", ceil_mode: "false" },
  },
  avg_pool2d: {
    title: "Average pooling", family: averagePooling,
    settings: { ...POOL, ceil_mode: "false", count_include_pad: "true" },
  },
  max_unpool2d: {
    title: "Max unpooling", family: maxUnpooling, scatters: true, hasIndices: true,
    settings: { input_size: "3, 3", in_channels: "1", output_size: "6, 6" },
  },
  nearest_unpool2d: {
    title: "Nearest unpooling", family: nearestUnpooling,
    settings: { input_size: "3, 3", in_channels: "1", scale: "2" },
  },
  bed_of_nails_unpool2d: {
    title: "Bed-of-nails unpooling", family: nailUnpooling, scatters: true,
    settings: { input_size: "3, 3", in_channels: "1", scale: "2" },
  },
  resize_bilinear: {
    title: "Bilinear interpolation", family: bilinear,
    settings: { input_size: "3, 3", in_channels: "1", output_size: "6, 6", align_corners: "false" },
  },
};

/** The shapes that these settings lead to, or a SettingError. */
function geometryOf(operation, settings) {
  const shapes = OPERATIONS[operation].family.geometry(parsed(settings));
  checkDrawable(shapes);
  return shapes;
}

/** The whole plan of an operation with these settings, or a SettingError. */
function planOf(operation, settings) {
  const shapes = geometryOf(operation, settings);
  const plan = { ...shapes, ...OPERATIONS[operation].family.plan(shapes, parsed(settings)) };
  const fixed = plan.every.filter(isInside);
  return { taps: () => fixed, ...plan, weights: plan.tensors.reduce((sum, { shape }) => sum + sizeOf(shape), 0) };
}
