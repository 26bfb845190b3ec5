"use strict";
/* What the page shows, and how it is written into the address: a link to a setting is a link to the whole picture.

   Values are drawn from `seed` by their position, so that a larger input keeps the numbers of the smaller one; what is
   typed into a cell is kept by position too. */

function freshState(operation) {
  return {
    operation,
    settings: { ...OPERATIONS[operation].settings },
    direction: "forward", // or "backward"
    wanted: "input", // of which the gradient is: "input" or "weight"
    walk: naturalWalk(operation, "forward"),
    step: null, // null is the last one, when all is computed
    pinned: null,
    seed: 1,
    edits: { input: {}, weight: {}, gradient: {}, indices: {} },
  };
}

/** Forward an operation gathers or scatters; backward it is the other way round. */
function naturalWalk(operation, direction) {
  return Boolean(OPERATIONS[operation].scatters) === (direction === "forward") ? "scatter" : "gather";
}

// The address

const PLAIN_FIELDS = ["direction", "wanted", "walk"];
const CHOICES = {
  direction: ["forward", "backward"], wanted: ["input", "weight"], walk: ["gather", "scatter"],
};

/** The state as the part of the address after "#"; what is as it would be anyway is left out. */
function toHash(state) {
  const plain = { ...freshState(state.operation), walk: naturalWalk(state.operation, state.direction) };
  const words = new URLSearchParams({ operation: state.operation });
  for (const [name, value] of Object.entries(state.settings)) if (value !== plain.settings[name]) words.set(name, value);
  for (const name of [...PLAIN_FIELDS, "seed", "step", "pinned"]) {
    if (state[name] !== plain[name]) words.set(name, String(state[name]));
  }
  for (const [name, edits] of Object.entries(state.edits)) {
    const texts = Object.entries(edits).map(([place, value]) => `${place}:${value}`);
    if (texts.length) words.set(`${name}_values`, texts.join(";"));
  }
  return "#" + words.toString().replaceAll("+", "%20").replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%3B", ";");
}

/** The state that an address describes; words it does not know are ignored. */
function fromHash(hash) {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const operation = words.get("operation");
  const state = freshState(Object.hasOwn(OPERATIONS, operation) ? operation : "conv2d");
  if (words.get("direction") === "backward") state.walk = naturalWalk(state.operation, "backward");
  for (const [name, value] of words) {
    if (Object.hasOwn(state.settings, name)) state.settings[name] = value;
    else if (PLAIN_FIELDS.includes(name) && CHOICES[name].includes(value)) state[name] = value;
    else if (["seed", "step", "pinned"].includes(name) && /^\d{1,9}$/.test(value)) state[name] = Number(value);
    else if (name.endsWith("_values")) Object.assign(state.edits[name.slice(0, -7)] ?? {}, editsIn(value));
  }
  return state;
}

function editsIn(text) {
  const edits = {};
  for (const word of text.split(";")) {
    const [place, value] = word.split(":");
    if (/^\d+(,\d+)*$/.test(place) && value !== "" && Number.isFinite(Number(value))) edits[place] = Number(value);
  }
  return edits;
}

// The values

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
