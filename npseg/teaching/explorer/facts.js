"use strict";
/* Sizes and counts: the output's size, parameters, multiplications, non-zeros and the receptive field, each with its why. */

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
  return AXIS_NAMES.map(
    (name, a) => `${name} = ${formula(plan.axes[a], plan.input[a + 1])} = ${plan.output[a + 1]}`,
  ).join(";  ");
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
