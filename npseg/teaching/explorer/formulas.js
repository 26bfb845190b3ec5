"use strict";
/* What is written beside the pictures: the call, the index equations, and one step's sum with its numbers. */

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
  max_unpool2d: [
    "y[c, k[c, i, j]] = x[c, i, j], zeros elsewhere;  the index k = h·W_out + w",
    "dx[c, i, j] = g[c, k[c, i, j]]",
  ],
  nearest_unpool2d: ["y[c, h, w] = x[c, ⌊h / scale⌋, ⌊w / scale⌋]", "dx[c, i, j] = Σ of g over its cell"],
  bed_of_nails_unpool2d: [
    "y[c, i·scale, j·scale] = x[c, i, j], zeros elsewhere",
    "dx[c, i, j] = g[c, i·scale, j·scale]",
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
const UNSTATED = {
  stride: "1",
  padding: "valid",
  dilation: "1",
  groups: "1",
  output_padding: "0",
  regularization: "0",
};
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
  if (state.direction === "backward" && backwardArrays === null)
    return "the transpose of its matrix; npseg has no call for it";
  const backward = state.direction === "backward";
  const selects = backward && state.operation === "max_pool2d"; // the indices say it all
  const named = Object.keys(settings).filter((name) => !IN_SHAPES.includes(name) && !positional.includes(name));
  const words = [backward ? backwardArrays : forwardArrays];
  const dropped =
    selects || (backward && ["max_unpool2d", "resize_bilinear"].includes(state.operation)) ? [] : positional;
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
function gatherFormula(name, terms, sum) {
  if (terms.length === 0) return [name, " = 0: no tap leads here"];
  if (terms.length === 1 && terms[0].length === 1) return [name, " = ", ...terms[0]]; // a copy
  return [name, " = ", ...listed(terms, " + "), " = ", element("b", {}, shown(sum).replace("-", "−"))];
}

/** One value that goes to several places, where it is added. */
function scatterFormula(name, value, terms) {
  if (terms.length === 0) return [name, " = ", number(...value), " reaches nothing"];
  return [name, " = ", number(...value), ` reaches ${terms.length}: `, ...listed(terms, ",  ")];
}

/** Deconvolution goes from y to x, all others from x to y. */
const lettersOf = (plan) => (plan.convolved ? { input: "y", output: "x" } : { input: "x", output: "y" });

/** The sentence of one step: what an item of the walk collects, or where it goes. */
function stepFormula(walk, index, plan, taps, values, results) {
  if (walk.name === "forward gather" && plan.maximum) return maximumFormula(index, plan, values, results);
  const own = taps.filter((tap) => walk.touches(tap, index));
  const { input: x, output: y } = lettersOf(plan);
  const output = (tap) => `${y}${placeIn(tap.output, plan.output)}`;
  const inputGradient = (tap) => `d${x}${placeIn(tap.input, plan.input)}`;
  const pixel = (tap) => ["input", values.input[tap.input]];
  const arriving = (tap) => ["gradient", values.gradient[tap.output]];
  const weights = (tap) => weightFactors(tap, values);
  switch (walk.name) {
    case "forward gather": {
      const terms = own.map((tap) => product(plan, tap, pixel(tap), weights(tap)));
      return [...gatherFormula(output({ output: index }), terms, results.output[index]), ...paddingAside(plan, index)];
    }
    case "forward scatter": {
      const terms = own.map((tap) => [`${output(tap)} += `, ...product(plan, tap, pixel(tap), weights(tap))]);
      return scatterFormula(`${x}${placeIn(index, plan.input)}`, ["input", values.input[index]], terms);
    }
    case "input scatter": {
      const terms = own.map((tap) => [`${inputGradient(tap)} += `, ...product(plan, tap, arriving(tap), weights(tap))]);
      return scatterFormula(`g${placeIn(index, plan.output)}`, ["gradient", values.gradient[index]], terms);
    }
    case "input gather": {
      const terms = own.map((tap) => product(plan, tap, arriving(tap), weights(tap)));
      return gatherFormula(inputGradient({ input: index }), terms, results.inputGradient[index]);
    }
    case "weight gather": {
      const others = (tap) => [pixel(tap), ...weightFactors(tap, values, index)];
      const terms = own.map((tap) => product(plan, tap, arriving(tap), others(tap)));
      return gatherFormula(`dw${weightPlace(plan, index)}`, terms, results.weightGradient[index]);
    }
    default:
      throw new RangeError(`no walk ${walk.name}`);
  }
}

/** How many taps of an output look at padding. */
function paddingAside(plan, index) {
  const padded = plan.every.filter((tap) => tap.output === index && tap.input < 0).length;
  return padded ? [element("span", { class: "aside" }, `  (and ${padded} × padding, which is 0)`)] : [];
}

function maximumFormula(index, plan, values, results) {
  const seen = plan.every.filter((tap) => tap.output === index && tap.input >= 0);
  const winner = plan.taps(values).find((tap) => tap.output === index);
  const words = listed(
    seen.map((tap) => [number("input", values.input[tap.input])]),
    ", ",
  );
  return [
    `y${placeIn(index, plan.output)} = max(`,
    ...words,
    ") = ",
    element("b", {}, shown(results.output[index]).replace("-", "−")),
    element(
      "span",
      { class: "aside" },
      `  the first one, at x${placeIn(winner.input, plan.input)}; padding never wins`,
    ),
  ];
}

/** Which rows and columns of the input an output looks at. */
function positionFormula(plan, index) {
  const [i, j] = placeIn(index, plan.output).slice(1, -1).split(", ").slice(1).map(Number);
  return [
    ["row", i, 0],
    ["column", j, 1],
  ].map(([name, output, a]) => {
    const { stride, before, dilation, kernelSize } = plan.axes[a];
    const seen = range(kernelSize).map((k) => output * stride - before + k * dilation);
    const tap = kernelSize > 1 ? ` + {0…${kernelSize - 1}}·${dilation}` : "";
    return `${name}s ${output}·${stride} − ${before}${tap} = ${seen.join(", ")}`;
  });
}
