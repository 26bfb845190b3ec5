"use strict";
/* What the page shows, and how it is written into the address: a link to a setting is a link to the whole picture.

   The numbers of the grids are not written out: `seed` gives them, and `edits` holds what was typed, by its position. */

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
const EDITS = new Map(["input", "weight", "gradient", "indices"].map((kind) => [`${kind}_values`, kind]));
const CHOICES = {
  direction: ["forward", "backward"],
  wanted: ["input", "weight"],
  walk: ["gather", "scatter"],
};

/** The state as the part of the address after "#"; what is as it would be anyway is left out. */
function toHash(state) {
  const plain = { ...freshState(state.operation), walk: naturalWalk(state.operation, state.direction) };
  const words = new URLSearchParams({ operation: state.operation });
  for (const [name, value] of Object.entries(state.settings))
    if (value !== plain.settings[name]) words.set(name, value);
  for (const name of [...PLAIN_FIELDS, "seed", "step", "pinned"]) {
    if (state[name] !== plain[name]) words.set(name, String(state[name]));
  }
  for (const [name, edits] of Object.entries(state.edits)) {
    const texts = Object.entries(edits).map(([place, value]) => `${place}:${value}`);
    if (texts.length) words.set(`${name}_values`, texts.join(";"));
  }
  return (
    "#" + words.toString().replaceAll("+", "%20").replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%3B", ";")
  );
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
    else if (EDITS.has(name)) Object.assign(state.edits[EDITS.get(name)], editsIn(value));
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
