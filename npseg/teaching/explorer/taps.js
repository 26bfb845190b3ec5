"use strict";
/* An operation is a set of taps, and everything on the page is a view of them.

   A tap is one multiplication: { output, input, weights, factor, row, column, place }

       y[output] += x[input] * factor * weights[0] * weights[1] ...

   Positions are flat: output in (C_out, H_out, W_out), input in (C_in, H, W), weights in all weight tensors laid end to
   end. A tap that looks at padding has input -1; one whose stamp is cropped away has output -1. `row` and `column` are
   its place in the im2col columns, `place` is [channel, h, w] on the padded side. */

const sizeOf = (shape) => shape.reduce((product, length) => product * length, 1);

const isInside = (tap) => tap.input >= 0 && tap.output >= 0;

// Making taps

/** Join the taps of both axes: what one plane does to another. */
function joinAxes(rows, columns, visit) {
  for (const row of rows) for (const column of columns) visit(row, column);
}

/** The taps of a convolution from (C_in, H, W) to (C_out, H_out, W_out). */
function convolutionTaps(axes, input, output, groups) {
  const [inChannels, height, width] = input;
  const [outChannels, outHeight, outWidth] = output;
  const groupChannels = inChannels / groups;
  const [kernelHeight, kernelWidth] = axes.map((axis) => axis.kernelSize);
  const rows = windowTaps(axes[0], height, outHeight);
  const columns = windowTaps(axes[1], width, outWidth);
  const taps = [];
  for (let out = 0; out < outChannels; out++) {
    const firstChannel = Math.floor(out / (outChannels / groups)) * groupChannels;
    for (let c = 0; c < groupChannels; c++) {
      const channel = firstChannel + c;
      joinAxes(rows, columns, (row, column) => {
        const inside = row.inside && column.inside;
        taps.push({
          output: (out * outHeight + row.output) * outWidth + column.output,
          input: inside ? (channel * height + row.input) * width + column.input : -1,
          weights: [((out * groupChannels + c) * kernelHeight + row.kernel) * kernelWidth + column.kernel],
          factor: 1,
          row: (channel * kernelHeight + row.kernel) * kernelWidth + column.kernel,
          column: row.output * outWidth + column.output,
          place: [channel, row.input, column.input],
        });
      });
    }
  }
  return taps;
}

/** The transpose: every multiplication in the other direction. */
function transposedTaps(taps) {
  return taps.map((tap) => ({ ...tap, output: tap.input, input: tap.output }));
}

/** A depthwise convolution followed by a 1x1 convolution: each depthwise tap goes on to every output channel. */
function separableTaps(depthwise, middle, outChannels, depthwiseWeights) {
  const [middleChannels, height, width] = middle;
  const plane = height * width;
  return depthwise.flatMap((tap) => {
    const channel = Math.floor(tap.output / plane);
    return Array.from({ length: outChannels }, (_, out) => ({
      ...tap,
      output: out * plane + (tap.output % plane),
      middle: tap.output,
      weights: [...tap.weights, depthwiseWeights + out * middleChannels + channel],
    }));
  });
}

/** The taps of an operation that treats every channel alike, has no weights, and comes apart into two axes. */
function channelwiseTaps(rows, columns, input, output, kernelSize = [1, 1]) {
  const [channels, height, width] = input;
  const [, outHeight, outWidth] = output;
  const taps = [];
  for (let channel = 0; channel < channels; channel++) {
    joinAxes(rows, columns, (row, column) => {
      taps.push({
        output: (channel * outHeight + row.output) * outWidth + column.output,
        input: row.inside && column.inside ? (channel * height + row.input) * width + column.input : -1,
        weights: [],
        factor: row.factor * column.factor,
        row: (channel * kernelSize[0] + row.kernel) * kernelSize[1] + column.kernel,
        column: row.output * outWidth + column.output,
        place: [channel, row.input, column.input],
      });
    });
  }
  return taps;
}

/** Of each window keep the tap to its first maximum, in row-major order; padding never wins. */
function winningTaps(taps, input) {
  const best = new Map();
  for (const tap of taps) {
    if (!isInside(tap)) continue;
    const leader = best.get(tap.output);
    if (leader === undefined || input[tap.input] > input[leader.input]) best.set(tap.output, tap);
  }
  return [...best.values()];
}

// Views of the taps

/** What a tap multiplies its input with. */
function coefficient(tap, weights) {
  return tap.weights.reduce((product, index) => product * weights[index], tap.factor);
}

/** y = A x, one multiplication after the other. */
function forward(taps, input, weights, size) {
  const output = new Array(size).fill(0);
  for (const tap of taps) output[tap.output] += input[tap.input] * coefficient(tap, weights);
  return output;
}

/** A^T g: every output's gradient goes back along its taps, and where taps meet, it adds up. */
function gradientToInput(taps, gradient, weights, size) {
  const result = new Array(size).fill(0);
  for (const tap of taps) result[tap.input] += gradient[tap.output] * coefficient(tap, weights);
  return result;
}

/** Each weight collects input times gradient over all of its taps: a correlation of the two maps. */
function gradientToWeights(taps, gradient, input, weights) {
  const result = new Array(weights.length).fill(0);
  for (const tap of taps) {
    for (const index of tap.weights)
      result[index] += gradient[tap.output] * input[tap.input] * rest(tap, index, weights);
  }
  return result;
}

/** A tap's coefficient without one of its weights. */
function rest(tap, index, weights) {
  return tap.weights.filter((other) => other !== index).reduce((product, i) => product * weights[i], tap.factor);
}

/** The sparse matrix: { row, column, value, taps } for each pair of output and input that some tap joins. */
function matrixEntries(taps, weights, inputs) {
  const entries = new Map();
  for (const tap of taps) {
    const key = tap.output * inputs + tap.input;
    const entry = entries.get(key) ?? { row: tap.output, column: tap.input, value: 0, taps: [] };
    entry.value += coefficient(tap, weights);
    entry.taps.push(tap);
    entries.set(key, entry);
  }
  return [...entries.values()];
}

/** im2col: the pixel that each tap sees; taps of several output channels see the same one. Padding is 0. */
function gatheredColumns(taps, input, [rows, columns]) {
  const values = new Array(rows * columns).fill(0);
  for (const tap of taps) values[tap.row * columns + tap.column] = tap.input < 0 ? 0 : input[tap.input];
  return values;
}

/** The transposed convolution's columns: the stamp of each input pixel, which col2im adds into the output. */
function stampedColumns(taps, input, weights, [rows, columns]) {
  const values = new Array(rows * columns).fill(0);
  for (const tap of taps) values[tap.row * columns + tap.column] += input[tap.input] * coefficient(tap, weights);
  return values;
}
