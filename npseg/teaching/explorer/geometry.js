"use strict";
/* Where a window looks, one axis at a time: the arithmetic of npseg/geometry.py.

   Output i of an axis looks through tap k at input

       h = i * stride - before + k * dilation            0 <= k < kernelSize

   and a tap outside 0 <= h < size looks at padding. "same", ceil mode and output padding only change before and after. */

const AXIS_NAMES = ["height", "width"];

/** A setting that makes no sense; `argument` is the control to blame. */
class SettingError extends Error {
  constructor(argument, message) {
    super(`${argument} ${message}`);
    this.argument = argument;
  }
}

// What is typed into a field

/** "3", "3, 2", "(3, 2)" or "((0, 1), (2, 0))" as nested arrays of numbers; empty where the text is none of these. */
function numbersIn(text) {
  let numbers;
  try {
    numbers = JSON.parse(`[${text.replaceAll("(", "[").replaceAll(")", "]")}]`);
  } catch {
    return [];
  }
  while (numbers.length === 1 && Array.isArray(numbers[0])) numbers = numbers[0];
  return numbers;
}

/** One whole number for both axes, or two: (rows, columns). */
function parsePair(name, text, least, most) {
  const numbers = numbersIn(text);
  const pair = numbers.length === 1 ? [numbers[0], numbers[0]] : numbers;
  if (pair.length !== 2 || !pair.every(Number.isInteger)) {
    throw new SettingError(name, `needs one whole number, or two for rows and columns, got "${text}"`);
  }
  checkRange(name, pair, least, most);
  return pair;
}

/** "valid", "same", one number, (rows, columns) or ((top, bottom), (left, right)): the sides, or "same". */
function parsePadding(text, most) {
  if (text === "same") return "same";
  if (text === "valid")
    return [
      [0, 0],
      [0, 0],
    ];
  const numbers = numbersIn(text);
  const perAxis = numbers.length === 1 ? [numbers[0], numbers[0]] : numbers;
  const sides = perAxis.map((side) => (Array.isArray(side) ? side : [side, side]));
  if (sides.length !== 2 || !sides.every((side) => side.length === 2 && side.every(Number.isInteger))) {
    throw new SettingError(
      "padding",
      `needs "valid", "same", a number, (rows, columns) or ((top, bottom), (left, right)), got "${text}"`,
    );
  }
  checkRange("padding", sides.flat(), 0, most);
  return sides;
}

function checkRange(name, numbers, least, most) {
  const low = Math.min(...numbers);
  const high = Math.max(...numbers);
  if (low < least) throw new SettingError(name, `must be at least ${least}, got ${low}`);
  if (high > most) throw new SettingError(name, `must be at most ${most} to be drawn here, got ${high}`);
}

// One axis of a window: { kernelSize, stride, before, after, dilation }

/** Pixels from the first tap to the last. */
function extentOf(axis) {
  return axis.dilation * (axis.kernelSize - 1) + 1;
}

function outputSize(axis, size) {
  return Math.floor((size + axis.before + axis.after - extentOf(axis)) / axis.stride) + 1;
}

function outputFormula(axis, size, rounding = "floor") {
  const padded = `${size} + ${axis.before} + ${axis.after}`;
  const extent = `${axis.dilation} * (${axis.kernelSize} - 1) + 1`;
  return `${rounding}((${padded} - (${extent})) / ${axis.stride}) + 1`;
}

/** The transposed convolution's size. */
function inputSize(axis, outputs) {
  return (outputs - 1) * axis.stride + extentOf(axis) - axis.before - axis.after;
}

function inputFormula(axis, outputs) {
  const stamped = `(${outputs} - 1) * ${axis.stride} + ${axis.dilation} * (${axis.kernelSize} - 1) + 1`;
  return `${stamped} - ${axis.before} ${axis.after < 0 ? "+" : "-"} ${Math.abs(axis.after)}`;
}

/** Every tap of an axis, those that look at padding too: { output, kernel, input, inside, factor }. */
function windowTaps(axis, size, outputs) {
  const taps = [];
  for (let output = 0; output < outputs; output++) {
    for (let kernel = 0; kernel < axis.kernelSize; kernel++) {
      const input = output * axis.stride - axis.before + kernel * axis.dilation;
      taps.push({ output, kernel, input, inside: input >= 0 && input < size, factor: 1 });
    }
  }
  return taps;
}

// Both axes of a window

function unpaddedAxes(kernelSize, stride, dilation) {
  return [0, 1].map((a) => ({
    kernelSize: kernelSize[a],
    stride: stride[a],
    dilation: dilation[a],
    before: 0,
    after: 0,
  }));
}

/** The window of a convolution; refused where not even one output fits. */
function convolutionAxes({ kernelSize, stride, dilation, padding }, size) {
  return unpaddedAxes(kernelSize, stride, dilation).map((axis, a) => {
    const [before, after] = padding === "same" ? samePadding(axis, size[a]) : padding[a];
    const padded = { ...axis, before, after };
    checkOutput(padded, size[a], outputSize(padded, size[a]), AXIS_NAMES[a], "floor");
    return padded;
  });
}

/** TensorFlow's: just enough for ceil(size / stride) outputs, the odd pixel at the end. */
function samePadding(axis, size) {
  const total = Math.max((Math.ceil(size / axis.stride) - 1) * axis.stride + extentOf(axis) - size, 0);
  const before = Math.floor(total / 2);
  return [before, total - before];
}

/** The window of a pool: with the padding asked for, and with ceil mode's overhang added to it. */
function poolingAxes(window, size, ceilMode) {
  if (!ceilMode || window.padding === "same") {
    const axes = convolutionAxes(window, size);
    return { asked: axes, axes };
  }
  const asked = unpaddedAxes(window.kernelSize, window.stride, window.dilation).map((axis, a) => ({
    ...axis,
    before: window.padding[a][0],
    after: window.padding[a][1],
  }));
  return { asked, axes: asked.map((axis, a) => ceilAxis(axis, size[a], AXIS_NAMES[a])) };
}

/** Round the number of outputs up, but drop a last window that would start past the image and its first padding. */
function ceilAxis(axis, size, name) {
  let outputs = Math.ceil((size + axis.before + axis.after - extentOf(axis)) / axis.stride) + 1;
  if ((outputs - 1) * axis.stride >= size + axis.before) outputs -= 1;
  checkOutput(axis, size, outputs, name, "ceil");
  return { ...axis, after: (outputs - 1) * axis.stride + extentOf(axis) - size - axis.before };
}

/** The window of the convolution that a transposed convolution is the transpose of. */
function transposedAxes({ kernelSize, stride, dilation, padding, outputPadding }, size) {
  if (padding === "same" && Math.max(...outputPadding) > 0) {
    throw new SettingError("output_padding", `must be 0 with padding="same", got ${outputPadding}`);
  }
  return unpaddedAxes(kernelSize, stride, dilation).map((axis, a) => {
    const limit = Math.max(axis.stride, axis.dilation);
    if (outputPadding[a] >= limit) {
      throw new SettingError(
        "output_padding",
        `must be below max(stride, dilation) = max(${axis.stride}, ${axis.dilation}) = ${limit} along the ` +
          `${AXIS_NAMES[a]}, got ${outputPadding[a]}`,
      );
    }
    const [before, after] = padding === "same" ? sameCrop(axis) : padding[a];
    const cropped = { ...axis, before, after: after - outputPadding[a] };
    if (inputSize(cropped, size[a]) < 1) {
      throw new SettingError(
        "padding",
        `must leave an output: ${AXIS_NAMES[a]} = (input - 1) * stride + dilation * (kernel_size - 1) + 1 - padding ` +
          `= ${inputFormula(cropped, size[a])} = ${inputSize(cropped, size[a])}, which must be at least 1`,
      );
    }
    return cropped;
  });
}

/** Crop the surplus so that output = input * stride; a negative `after` appends what the stamps do not reach. */
function sameCrop(axis) {
  const surplus = extentOf(axis) - axis.stride;
  const before = Math.floor(Math.max(surplus, 0) / 2);
  return [before, surplus - before];
}

function checkOutput(axis, size, outputs, name, rounding) {
  if (outputs < 1) {
    throw new SettingError(
      "kernel_size",
      `must fit the padded input: ${name} = ${rounding}((input + padding - (dilation * (kernel_size - 1) + 1)) / ` +
        `stride) + 1 = ${outputFormula(axis, size, rounding)} = ${outputs}, which must be at least 1`,
    );
  }
}

/** Refuse a window that would see nothing but padding: it has no maximum and no mean. */
function checkRealPixels(axes, size) {
  axes.forEach((axis, a) => {
    for (let output = 0; output < outputSize(axis, size[a]); output++) {
      const first = output * axis.stride - axis.before;
      const seen = Array.from({ length: axis.kernelSize }, (_, kernel) => first + kernel * axis.dilation);
      if (!seen.some((input) => input >= 0 && input < size[a])) {
        throw new SettingError(
          "padding",
          `must leave every window a real pixel: window ${output} covers ${seen.join(", ")} of a ` +
            `${AXIS_NAMES[a]} of ${size[a]} (pixels 0 to ${size[a] - 1})`,
        );
      }
    }
  });
}
