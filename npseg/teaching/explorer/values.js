"use strict";
/* The numbers in the grids: what was typed into a cell, and what the seed gives elsewhere.

   They are drawn by their position, so that a larger input keeps the numbers of the smaller one. */

/** A number in [0, 1) that depends on all of the integers given, and hardly on anything between them. */
function chance(...numbers) {
  let hash = 2166136261;
  for (const number of numbers) {
    hash = Math.imul(hash ^ (number + 1), 16777619);
    hash = Math.imul(hash ^ (hash >>> 15), 2246822507);
    hash ^= hash >>> 13;
  }
  return (hash >>> 0) / 4294967296;
}

const DRAWN = {
  input: (fraction) => Math.floor(fraction * 10), // 0 ... 9
  weight: (fraction) => [-2, -1, 1, 2, 3][Math.floor(fraction * 5)],
  gradient: (fraction) => [-3, -2, -1, 1, 2, 3][Math.floor(fraction * 6)],
};

/** Every position of a shape, in row-major order. */
function positions(shape) {
  return shape.reduce((heads, length) => heads.flatMap((head) => range(length).map((i) => [...head, i])), [[]]);
}

/** The numbers of an array: what was typed, and what the seed gives elsewhere. */
function drawn(state, kind, shape, tensor = 0) {
  const place = (position) => (kind === "weight" ? [tensor, ...position] : position);
  return positions(shape).map((position) => {
    const chosen = state.edits[kind][place(position).join()];
    return chosen ?? DRAWN[kind](chance(state.seed, kind.length, ...place(position)));
  });
}

/** Positions as max pooling might have found them: one in each cell of the larger map, none twice. */
function drawnIndices(state, input, output) {
  const [height, width] = [1, 2].map((a) => output[a] / input[a]);
  const taken = new Set();
  return positions(input).map(([c, i, j]) => {
    const inCell = (k, index, size) => {
      const [first, next] = [Math.floor(index * size), Math.floor((index + 1) * size)];
      return first + Math.floor(chance(state.seed, k, c, i, j) * Math.max(next - first, 1));
    };
    let flat = inCell(11, i, height) * output[2] + inCell(12, j, width);
    while (taken.has([c, flat].join())) flat = (flat + 1) % (output[1] * output[2]); // fewer rows or columns than before
    taken.add([c, flat].join());
    return state.edits.indices[[c, i, j].join()] ?? flat;
  });
}

/** All arrays that the plan works on. */
function valuesOf(state, plan) {
  const weights = plan.tensors.flatMap(({ shape }, tensor) => drawn(state, "weight", shape, tensor));
  const values = { weights, input: drawn(state, "input", plan.input), gradient: drawn(state, "gradient", plan.output) };
  if (OPERATIONS[state.operation].hasIndices) values.indices = drawnIndices(state, plan.input, plan.output);
  if (plan.convolved) values.input = convolvedInput(state, plan);
  return values;
}

/** Deconvolution starts from the convolution of an image, so that there is something to find again. */
function convolvedInput(state, plan) {
  const secret = drawn({ ...state, edits: { input: {} } }, "input", plan.output);
  const original = drawn({ ...state, edits: { weight: {} } }, "weight", plan.tensors[0].shape);
  const y = forward(plan.convolved, secret, original, sizeOf(plan.input));
  return positions(plan.input).map((position, index) => state.edits.input[position.join()] ?? y[index]);
}

/** Max unpooling's positions must lie in the plane, each named once. */
function checkIndices(next, indices) {
  const [places, cells] = [sizeOf(next.output.slice(1)), sizeOf(next.input.slice(1))];
  const taken = new Set();
  indices.forEach((index, at) => {
    const channel = Math.floor(at / cells);
    const inside = Number.isInteger(index) && index >= 0 && index < places;
    if (inside && !taken.has(channel * places + index)) {
      taken.add(channel * places + index);
      return;
    }
    const why = inside
      ? `must name each position once in a plane, got ${index} twice in plane ${channel}`
      : `must lie in 0 ... ${places - 1}, got ${index}`;
    const error = new SettingError("indices", why);
    const others = new Set(indices.filter((_, k) => k !== at && Math.floor(k / cells) === channel));
    const free = range(places).filter((place) => !others.has(place));
    const nearest = free.sort((a, b) => Math.abs(a - index) - Math.abs(b - index))[0];
    error.fix = { kind: "indices", place: positions(next.input)[at], value: nearest };
    throw error;
  });
}
