"use strict";
/* The operations: what each one is called, which settings it begins with, and which family does it. */

const LARGEST = { output: 24, matrix: 120000 };

const SIZE = { input_size: "5, 5" };
const CONVOLUTION = { kernel_size: "3", stride: "1", padding: "valid", dilation: "1" };
const POOL = { input_size: "6, 6", in_channels: "1", kernel_size: "2", stride: "2", padding: "valid" };

const OPERATIONS = {
  conv2d: {
    title: "Convolution",
    family: convolution,
    settings: { ...SIZE, in_channels: "1", out_channels: "1", ...CONVOLUTION, groups: "1" },
  },
  depthwise_conv2d: {
    title: "Depthwise convolution",
    family: depthwise,
    settings: { ...SIZE, in_channels: "3", multiplier: "1", ...CONVOLUTION },
  },
  separable_conv2d: {
    title: "Separable convolution",
    family: separable,
    settings: { ...SIZE, in_channels: "2", multiplier: "1", out_channels: "2", ...CONVOLUTION },
  },
  conv_transpose2d: {
    title: "Transposed convolution",
    family: transposedConvolution,
    scatters: true,
    settings: {
      input_size: "3, 3",
      in_channels: "1",
      out_channels: "1",
      ...CONVOLUTION,
      stride: "2",
      output_padding: "0",
      groups: "1",
    },
  },
  deconvolve2d: {
    title: "Deconvolution (the inverse)",
    family: deconvolution,
    settings: { ...SIZE, kernel_size: "3", stride: "1", padding: "2", dilation: "1", regularization: "0" },
  },
  max_pool2d: {
    title: "Max pooling",
    family: maxPooling,
    settings: { ...POOL, dilation: "1", ceil_mode: "false" },
  },
  avg_pool2d: {
    title: "Average pooling",
    family: averagePooling,
    settings: { ...POOL, ceil_mode: "false", count_include_pad: "true" },
  },
  max_unpool2d: {
    title: "Max unpooling",
    family: maxUnpooling,
    scatters: true,
    hasIndices: true,
    settings: { input_size: "3, 3", in_channels: "1", output_size: "6, 6" },
  },
  nearest_unpool2d: {
    title: "Nearest unpooling",
    family: nearestUnpooling,
    settings: { input_size: "3, 3", in_channels: "1", scale: "2" },
  },
  bed_of_nails_unpool2d: {
    title: "Bed-of-nails unpooling",
    family: nailUnpooling,
    scatters: true,
    settings: { input_size: "3, 3", in_channels: "1", scale: "2" },
  },
  resize_bilinear: {
    title: "Bilinear interpolation",
    family: bilinear,
    settings: { input_size: "3, 3", in_channels: "1", output_size: "6, 6", align_corners: "false" },
  },
};

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
