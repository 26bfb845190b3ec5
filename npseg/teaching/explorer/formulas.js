"use strict";
/* What is written beside the pictures: index equations, one step's sum with its numbers, sizes and counts, the call. */

/** The index equations: forward, and the gradients of the input and of the weights. */
const EQUATIONS = {
  conv2d: [
    "y[o, i, j] = Σ x[c, i·stride − top + k·dilation, j·stride − left + l·dilation] · w[o, c, k, l]",
    "dx[c, i·stride − top + k·dilation, j·stride − left + l·dilation] += g[o, i, j] · w[o, c, k, l]",
    "dw[o, c, k, l] = Σ g[o, i, j] · x[c, i·stride − top + k·dilation, j·stride − left + l·dilation]",
  ],
  depthwise_conv2d: [
    "y[c·m + q, i, j] = Σ x[c, i·stride − top + k·dilation, j·stride − left + l·dilation] · w[c·m + q, 0, k, l]",
    "dx[c, i·stride − top + k·dilation, j·stride − left + l·dilation] += g[c·m + q, i, j] · w[c·m + q, 0, k, l]",
    "dw[c·m + q, 0, k, l] = Σ g[c·m + q, i, j] · x[c, i·stride − top + k·dilation, j·stride − left + l·dilation]",
  ],
  separable_conv2d: [
    "y[o, i, j] = Σ x[c, i·stride − top + k·dilation, j·stride − left + l·dilation] · depthwise[m, 0, k, l] · pointwise[o, m]",
    "dx[c, i·stride − top + k·dilation, …] += g[o, i, j] · depthwise[m, 0, k, l] · pointwise[o, m]",
    "each weight collects g · x · (the other weight of the tap)",
  ],
  conv_transpose2d: [
    "y[o, i·stride − top + k·dilation, j·stride − left + l·dilation] += x[c, i, j] · w[c, o, k, l]",
    "dx[c, i, j] = Σ g[o, i·stride − top + k·dilation, j·stride − left + l·dilation] · w[c, o, k, l]",
    "dw[c, o, k, l] = Σ g[o, i·stride − top + k·dilation, j·stride − left + l·dilation] · x[c, i, j]",
  ],
  deconvolve2d: ["x = argmin |A·x − y|² + regularization · |x|²,  so  x = A⁺ · y", "dy = (A⁺)ᵀ · g"],
  max_pool2d: [
    "y[c, i, j] = max of x[c, i·stride − top + k·dilation, j·stride − left + l·dilation]",
    "dx[c, where the maximum was] += g[c, i, j]",
  ],
  avg_pool2d: [
    "y[c, i, j] = Σ x[c, i·stride − top + k, j·stride − left + l] / count",
    "dx[c, i·stride − top + k, j·stride − left + l] += g[c, i, j] / count",
  ],
  max_unpool2d: ["y[c, k[c, i, j]] = x[c, i, j], zeros elsewhere;  the index k = h·W_out + w", "dx[c, i, j] = g[c, k[c, i, j]]"],
  nearest_unpool2d: ["y[c, h, w] = x[c, ⌊h / scale⌋, ⌊w / scale⌋]", "dx[c, i, j] = Σ of g over its cell"],
  bed_of_nails_unpool2d: [
    "y[c, i·scale, j·scale] = x[c, i, j], zeros elsewhere", "dx[c, i, j] = g[c, i·scale, j·scale]",
  ],
  resize_bilinear: [
    "y[c, i, j] = (1−a)(1−b)·x[h, w] + (1−a)b·x[h, w+1] + a(1−b)·x[h+1, w] + ab·x[h+1, w+1]",
    "dx[c, h, w] += g[c, i, j] · the same weights",
  ],
};

/** How npseg is called: the arrays forward and backward, then the settings that stand without a name. */
const CALLS = {
  conv2d: ["x, weight", "grad, x, weight", []],
  depthwise_conv2d: ["x, weight", "grad, x, weight", []],
  separable_conv2d: ["x, depthwise_weight, pointwise_weight", "grad, x, depthwise_weight, pointwise_weight", []],
  conv_transpose2d: ["x, weight", "grad, x, weight", []],
  deconvolve2d: ["y, kernel", null, []],
  max_pool2d: ["x", "grad, indices, input_size", ["kernel_size"]],
  avg_pool2d: ["x", "grad, input_size", ["kernel_size"]],
  max_unpool2d: ["x, indices", "grad, indices", ["output_size"]],
  nearest_unpool2d: ["x", "grad", ["scale"]],
  bed_of_nails_unpool2d: ["x", "grad", ["scale"]],
  resize_bilinear: ["x", "grad, input_size", ["output_size"]],
};
const UNSTATED = { stride: "1", padding: "valid", dilation: "1", groups: "1", output_padding: "0", regularization: "0" };
/** Settings that the arrays' shapes say. */
const IN_SHAPES = ["input_size", "in_channels", "out_channels", "multiplier", "kernel_size"];

/** A setting as Python writes it. */
function inPython(name, text) {
  const { kind } = CONTROLS[name];
  if (kind === "flag") return text === "true" ? "True" : "False";
  if (text === "valid" || text === "same") return `"${text}"`;
  return text.includes(",") && !text.trim().startsWith("(") ? `(${text.trim()})` : text.trim();
}

/** The call that computes what the page shows. */
function callOf(state) {
  const [forwardArrays, backwardArrays, positional] = CALLS[state.operation];
  const { settings } = state;
  if (state.direction === "backward" && backwardArrays === null) return "the transpose of its matrix; npseg has no call for it";
  const backward = state.direction === "backward";
  const selects = backward && state.operation === "max_pool2d"; // the indices say it all
  const named = Object.keys(settings).filter((name) => !IN_SHAPES.includes(name) && !positional.includes(name));
  const words = [backward ? backwardArrays : forwardArrays];
  const dropped = selects || (backward && ["max_unpool2d", "resize_bilinear"].includes(state.operation)) ? [] : positional;
  for (const name of dropped) words.push(inPython(name, settings[name]));
  for (const name of selects ? [] : named) {
    if (UNSTATED[name] !== settings[name] && settings[name] !== defaultFlag(name)) {
      words.push(`${name}=${inPython(name, settings[name])}`);
    }
  }
  return `npseg.ops.${state.operation}${backward ? "_backward" : ""}(${words.join(", ")})`;
}

const defaultFlag = (name) => ({ ceil_mode: "false", count_include_pad: "true", align_corners: "false" })[name];

// One step with its numbers

const number = (kind, value) => element("span", { class: `of-${kind}` }, shown(value).replace("-", "−"));

const placeIn = (index, shape) => {
  const places = [];
  for (const length of [...shape].reverse()) {
    places.unshift(index % length);
    index = Math.floor(index / length);
  }
  return `[${places.join(", ")}]`;
};

/** The place of a weight in its tensor. */
function weightPlace(plan, index) {
  for (const { shape } of plan.tensors) {
    if (index < sizeOf(shape)) return placeIn(index, shape);
    index -= sizeOf(shape);
  }
  throw new RangeError(`no weight ${index}`);
}

/** The factors of one product, coloured by what they are. */
function product(plan, tap, first, others) {
  const factors = [number(...first), ...others.map((other) => number(...other))];
  if (tap.factor !== 1) factors.push(String(Number(tap.factor.toPrecision(plan.convolved ? 2 : 4))).replace("-", "−"));
  return factors.flatMap((factor, place) => (place ? ["·", factor] : [factor]));
}

const weightFactors = (tap, values, without) =>
  tap.weights.filter((index) => index !== without).map((index) => ["weight", values.weights[index]]);

const MOST_TERMS = 36;

function listed(terms, separator) {
  const words = terms.slice(0, MOST_TERMS).flatMap((term, place) => (place ? [separator, ...term] : term));
  if (terms.length > MOST_TERMS) words.push(`${separator}… ${terms.length - MOST_TERMS} more`);
  return words;
}

/** target = a sum over the taps that reach it. */
function gatherFormula(name, terms, sum, empty) {
  if (terms.length === 0) return [name, " = 0: ", empty];
  return [name, " = ", ...listed(terms, " + "), " = ", element("b", {}, shown(sum).replace("-", "−"))];
}

/** One value that goes to several places, where it is added. */
function scatterFormula(name, value, terms, empty) {
  if (terms.length === 0) return [name, " = ", value, ": ", empty];
  return [name, " = ", value, ` reaches ${terms.length}: `, ...listed(terms, ",  ")];
}

/** Deconvolution goes from y to x, all others from x to y. */
const lettersOf = (plan) => (plan.convolved ? { input: "y", output: "x" } : { input: "x", output: "y" });

/** The sentence of one step. `walk` is as in steps.js. */
function stepFormula(walk, index, plan, taps, values, results) {
  const of = taps.filter((tap) => walk.touches(tap, index));
  const at = { input: plan.input, output: plan.output };
  const { input: x, output: y } = lettersOf(plan);
  const nothing = "no tap leads here";
  if (walk.name === "forward gather") {
    const name = `${y}${placeIn(index, plan.output)}`;
    if (plan.maximum) return maximumFormula(name, index, plan, values, results);
    const terms = of.map((tap) => product(plan, tap, ["input", values.input[tap.input]], weightFactors(tap, values)));
    const padded = plan.every.filter((tap) => tap.output === index && tap.input < 0).length;
    const formula = gatherFormula(name, terms, results.output[index], nothing);
    return padded ? [...formula, element("span", { class: "aside" }, `  (and ${padded} × padding, which is 0)`)] : formula;
  }
  if (walk.name === "forward scatter") {
    const terms = of.map((tap) => [
      `${y}${placeIn(tap.output, at.output)} += `,
      ...product(plan, tap, ["input", values.input[tap.input]], weightFactors(tap, values)),
    ]);
    return scatterFormula(`${x}${placeIn(index, at.input)}`, number("input", values.input[index]), terms, nothing);
  }
  if (walk.name === "input scatter") {
    const terms = of.map((tap) => [
      `d${x}${placeIn(tap.input, at.input)} += `,
      ...product(plan, tap, ["gradient", values.gradient[index]], weightFactors(tap, values)),
    ]);
    return scatterFormula(`g${placeIn(index, at.output)}`, number("gradient", values.gradient[index]), terms, nothing);
  }
  if (walk.name === "input gather") {
    const terms = of.map((tap) => product(plan, tap, ["gradient", values.gradient[tap.output]], weightFactors(tap, values)));
    return gatherFormula(`d${x}${placeIn(index, at.input)}`, terms, results.inputGradient[index], nothing);
  }
  const terms = of.map((tap) =>
    product(plan, tap, ["gradient", values.gradient[tap.output]], [
      ["input", values.input[tap.input]], ...weightFactors(tap, values, index),
    ]),
  );
  return gatherFormula(`dw${weightPlace(plan, index)}`, terms, results.weightGradient[index], nothing);
}

function maximumFormula(name, index, plan, values, results) {
  const seen = plan.every.filter((tap) => tap.output === index && tap.input >= 0);
  const winner = plan.taps(values).find((tap) => tap.output === index);
  const words = listed(seen.map((tap) => [number("input", values.input[tap.input])]), ", ");
  return [
    name, " = max(", ...words, ") = ", element("b", {}, shown(results.output[index]).replace("-", "−")),
    element("span", { class: "aside" }, `  the first one, at x${placeIn(winner.input, plan.input)}; padding never wins`),
  ];
}

/** Which rows and columns of the input an output looks at. */
function positionFormula(plan, index) {
  const [i, j] = placeIn(index, plan.output).slice(1, -1).split(", ").slice(1).map(Number);
  return [["row", i, 0], ["column", j, 1]].map(([name, output, a]) => {
    const { stride, before, dilation, kernelSize } = plan.axes[a];
    const seen = range(kernelSize).map((k) => output * stride - before + k * dilation);
    const tap = kernelSize > 1 ? ` + {0…${kernelSize - 1}}·${dilation}` : "";
    return `${name}s ${output}·${stride} − ${before}${tap} = ${seen.join(", ")}`;
  });
}

// Sizes and counts

const by = (sizes) => sizes.join(" × ");

/** [[name, value, how it comes about]]. */
function factsOf(state, plan, taps, values, results) {
  const facts = [["output", by(plan.output), plan.axes ? sizeFormula(state, plan) : ""]];
  if (plan.tensors.length) {
    const shapes = plan.tensors.map(({ shape }) => by(shape)).join(" + ");
    facts.push(["parameters", String(plan.weights), `${shapes}, without a bias`]);
  }
  const every = plan.multiplications ?? (plan.every.length || taps.length);
  facts.push(["MACs", String(every), macsFormula(plan, every)]);
  const entries = new Set(taps.map((tap) => tap.output * sizeOf(plan.input) + tap.input));
  const missing = { input: "; taps on padding have none", output: "; what is cropped has none" }[plan.ring] ?? "";
  const possible = `of ${sizeOf(plan.output)} × ${sizeOf(plan.input)} entries of the matrix`;
  facts.push(["non-zeros", String(entries.size), possible + missing]);
  facts.push(["receptive field", ...receptiveField(plan, taps)]);
  if (plan.convolved) {
    const misses = results.again.map((value, index) => Math.abs(value - values.input[index]));
    facts.push(["largest |A·x − y|", shown(Math.max(...misses)), "0 where y is the convolution of some image"]);
  }
  return facts;
}

function sizeFormula(state, plan) {
  const transposed = ["conv_transpose2d", "deconvolve2d"].includes(state.operation);
  const formula = transposed ? inputFormula : outputFormula;
  return AXIS_NAMES.map((name, a) => `${name} = ${formula(plan.axes[a], plan.input[a + 1])} = ${plan.output[a + 1]}`).join(";  ");
}

function macsFormula(plan, every) {
  if (every === 0) return "it multiplies nothing: values are compared or copied";
  if (plan.middle) {
    const [first, second] = plan.tensors.map(({ shape }) => sizeOf(shape));
    const places = sizeOf(plan.output.slice(1));
    return `${first} × ${places} + ${second} × ${places} positions`;
  }
  if (plan.weights && plan.every.length) {
    const positions = plan.ring === "output" ? plan.input : plan.output;
    const side = plan.ring === "output" ? "input" : "output";
    return `${plan.weights} parameters × ${by(positions.slice(1))} ${side} positions`;
  }
  return "one for each tap";
}

/** How many pixels an output sees; for a window, also after two and three such layers. */
function receptiveField(plan, taps) {
  if (plan.axes && plan.ring === "input") {
    const after = (layers) =>
      by(plan.axes.map((axis) => range(layers).reduce((sum, l) => sum + (extentOf(axis) - 1) * axis.stride ** l, 1)));
    return [after(1), `pixels of the input; after two such layers ${after(2)}, after three ${after(3)}`];
  }
  const spans = [1, 2].map((a) => widestSpan(plan, taps, a));
  return [by(spans), "pixels of the input that an output depends on, at most"];
}

function widestSpan(plan, taps, axis) {
  const seen = new Map();
  for (const { output, input } of taps) {
    const at = axis === 1 ? Math.floor(input / plan.input[2]) % plan.input[1] : input % plan.input[2];
    const [low, high] = seen.get(output) ?? [at, at];
    seen.set(output, [Math.min(low, at), Math.max(high, at)]);
  }
  return Math.max(0, ...[...seen.values()].map(([low, high]) => high - low + 1));
}
