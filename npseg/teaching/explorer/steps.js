"use strict";
/* Walking through an operation: the taps, grouped by one of their ends, are done group after group.

       forward gather     output by output: each one collects over its window
       forward scatter    input by input: each one is stamped into the outputs, where stamps add up
       input scatter      backward, output by output: each gradient goes back along its taps and adds up
       input gather       backward, input by input: each one collects from the outputs that it reached
       weight gather      backward, weight by weight: a correlation of the input with the gradient

   `space` is the end that a step stands for, `target` the grid that fills up, `adds` whether it fills by adding. */

const WALKS = {
  "forward gather": { space: "output", target: "output", adds: false },
  "forward scatter": { space: "input", target: "output", adds: true },
  "input scatter": { space: "output", target: "inputGradient", adds: true },
  "input gather": { space: "input", target: "inputGradient", adds: false },
  "weight gather": { space: "weight", target: "weightGradient", adds: false },
};

/** The walk that the state asks for. */
function walkOf(state, plan) {
  const wanted = isLearned(plan) ? state.wanted : "input";
  let name = `forward ${state.walk}`;
  if (state.direction === "backward") name = wanted === "weight" ? "weight gather" : `input ${state.walk}`;
  const walk = WALKS[name];
  const lengths = { output: sizeOf(plan.output), input: sizeOf(plan.input), weight: plan.weights };
  return { name, ...walk, length: lengths[walk.space], touches: (tap, index) => touches(tap, walk.space, index) };
}

/** Deconvolution has a kernel, but its inverse is no sum over the kernel's weights. */
const isLearned = (plan) => plan.tensors.length > 0 && !plan.convolved;

/** Whether a tap belongs to an item: an output, an input, a weight, a place in the columns, an entry of the matrix. */
function touches(tap, space, index, plan) {
  switch (space) {
    case "weight":
      return tap.weights.includes(index);
    case "columns":
      return tap.row * plan.columns[1] + tap.column === index;
    case "matrix":
      return tap.output * sizeOf(plan.input) + tap.input === index;
    default: // output, input, middle; row and column of the columns
      return tap[space] === index;
  }
}

/** Everything that the grids show, computed from the taps. */
function resultsOf(plan, taps, values) {
  const { input, weights, gradient } = values;
  const results = {
    output: forward(taps, input, weights, sizeOf(plan.output)),
    inputGradient: gradientToInput(taps, gradient, weights, sizeOf(plan.input)),
    weightGradient: isLearned(plan) ? gradientToWeights(taps, gradient, input, weights) : [],
    entries: matrixEntries(taps, weights, sizeOf(plan.input)),
  };
  if (plan.middle) results.middle = forward(plan.depthwiseTaps.filter(isInside), input, weights, sizeOf(plan.middle));
  if (plan.convolved) results.again = forward(plan.convolved, results.output, weights, sizeOf(plan.input));
  if (plan.columns) {
    results.columns =
      plan.ring === "output"
        ? stampedColumns(plan.every, input, weights, plan.columns)
        : gatheredColumns(plan.every, input, plan.columns);
  }
  return results;
}

/** What has been added up after `step`, in a walk that adds. */
function partialResult(walk, step, plan, taps, values) {
  const done = taps.filter((tap) => tap[walk.space] <= step);
  if (walk.target === "output") return forward(done, values.input, values.weights, sizeOf(plan.output));
  return gradientToInput(done, values.gradient, values.weights, sizeOf(plan.input));
}

/** Plays the steps, one after the other. */
class Player {
  constructor(advance) {
    this.advance = advance;
    this.timer = null;
  }

  get playing() {
    return this.timer !== null;
  }

  /** Start with so many milliseconds a step. */
  play(pause) {
    this.pause();
    this.timer = setInterval(this.advance, pause);
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
  }
}
