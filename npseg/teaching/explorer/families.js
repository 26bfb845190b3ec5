"use strict";
/* What the operations do, family by family: from the settings to the shapes (`geometry`), and on to the plan (`plan`).

   A plan says all that the rest of the page needs:

       input, output   shapes [channels, height, width]
       tensors         the weight tensors: [{ name, shape }]
       axes            the window's two axes, where there is a window
       every           all taps, padding and cropped ones included
       taps(values)    the taps that count, where they depend on the values (max pooling and unpooling, deconvolution)
       columns         the shape [rows, columns] of the im2col columns, or null
       ring            "input" where padding surrounds the input, "output" where stamps are cropped, or null
       multiplications their number, where it is not the number of taps */

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
    if (count % groups)
      throw new SettingError("groups", `must divide ${name}: ${count} / ${groups} is no whole number`);
  }
}

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
  (a, s) =>
    range(s.input_size[a] * s.scale[a]).map((i) => ({ output: i, input: Math.floor(i / s.scale[a]), factor: 1 })),
  scaled,
  { multiplications: 0 },
);

const nailUnpooling = resizing(
  (a, s) => range(s.input_size[a]).map((i) => ({ output: i * s.scale[a], input: i, factor: 1 })),
  scaled,
  { multiplications: 0 },
);

const bilinear = resizing(
  (a, s) => bilinearLine(s.input_size[a], s.output_size[a], s.align_corners),
  (s) => s.output_size,
);

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
          output: Math.floor(input / inputs) * outputs + index,
          input,
          weights: [],
          factor: 1,
        })),
    };
  },
};
