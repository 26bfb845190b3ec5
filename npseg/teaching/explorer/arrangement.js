"use strict";
/* Which grids stand on the page, in which order, how large, and with which signs between them. */

const LARGEST_FULL_MATRIX = 1600; // entries; beyond, only those that some tap makes are drawn

/** What each Grid is built from, in the order of the page. */
function gridsOf(plan, state, results, edit) {
  const backward = state.direction === "backward";
  const letters = lettersOf(plan);
  const size = sizeFor(plan);
  const map = (name, role, space, title, letter, shape, more = {}) => ({
    name,
    role,
    space,
    title: `${title} ${letter}`,
    note: by(shape),
    planes: channelPlanes(shape, more.ring),
    size,
    ...more,
  });
  const typed = (kind, shape) => (index, text) => edit(kind, positions(shape)[index].join(), text);
  const padding = plan.ring === "input" ? ringOf(plan.axes) : undefined;
  const cropped = plan.ring === "output" ? ringOf(plan.axes) : undefined;
  const ringText = plan.ring === "output" ? "×" : plan.maximum ? "−∞" : "0";

  const specifications = [
    map("input", "input", "input", "input", letters.input, plan.input, {
      ring: padding,
      ringText,
      edit: typed("input", plan.input),
    }),
  ];
  if (state.operation === "max_unpool2d") {
    specifications.push(
      map("indices", "indices", "input", "indices", "k", plan.input, { edit: typed("indices", plan.input) }),
    );
  }
  plan.tensors.forEach((tensor, number) => specifications.push(kernelGrid(plan, number, "kernel", "w", size, edit)));
  if (!backward) {
    if (plan.middle) specifications.push(map("middle", "middle", "middle", "after depthwise", "", plan.middle));
    specifications.push(
      map("output", "output", "output", "output", letters.output, plan.output, { ring: cropped, ringText }),
    );
    if (plan.convolved) specifications.push(map("again", "check", "check", "convolved again", "A·x", plan.input));
  } else {
    specifications.push(
      map("gradient", "gradient", "output", "gradient", "g", plan.output, {
        of: "output",
        edit: typed("gradient", plan.output),
        ring: cropped,
        ringText,
      }),
      map("inputGradient", "gradient", "input", "gradient", `d${letters.input}`, plan.input, { of: "input" }),
    );
    if (isLearned(plan)) {
      plan.tensors.forEach((tensor, number) =>
        specifications.push(kernelGrid(plan, number, "gradient", "dw", size, null)),
      );
    }
  }
  return [...specifications, ...viewsOf(plan, results)];
}

/** The grid of a weight tensor or of its gradient; its indices go on where the tensor before it ends. */
function kernelGrid(plan, number, role, letter, size, edit) {
  const { name, shape } = plan.tensors[number];
  const first = plan.tensors.slice(0, number).reduce((sum, tensor) => sum + sizeOf(tensor.shape), 0);
  const called = plan.tensors.length > 1 ? name.replace("_weight", " kernel") : "kernel";
  return {
    name: role === "kernel" ? `kernel${number}` : `weightGradient${number}`,
    role,
    of: name,
    space: "weight",
    title: `${role === "kernel" ? called : "gradient"} ${letter}`,
    note: by(shape),
    planes: kernelPlanes(shape, first),
    across: shape[1] > 1 ? shape[1] : null, // a row for each filter
    size,
    edit: edit && ((index, text) => edit("weight", [number, ...positions(shape)[index - first]].join(), text)),
  };
}

/** The two views that are made of rows and columns: im2col's columns and the sparse matrix. */
function viewsOf(plan, results) {
  const letters = lettersOf(plan);
  const [rows, columns] = [sizeOf(plan.output), sizeOf(plan.input)];
  const entries = new Set(results.entries.map(({ row, column }) => row * columns + column));
  const view = (name, title, note, shape, width, only) => ({
    name,
    role: name,
    space: name,
    title,
    note,
    only,
    headers: true,
    size: stripSize(shape, width),
    planes: [{ label: "", rows: shape[0], columns: shape[1], first: 0 }],
  });
  const matrix = view(
    "matrix",
    plan.convolved ? "inverse matrix A⁺" : "sparse matrix A",
    `${rows} × ${columns}, ${entries.size} entries: ${letters.output} = A${plan.convolved ? "⁺" : ""}·${letters.input}, ` +
      `backward d${letters.input} = A${plan.convolved ? "⁺" : ""}ᵀ·g`,
    [rows, columns],
    560,
    rows * columns > LARGEST_FULL_MATRIX ? entries : null,
  );
  if (!plan.columns) return [matrix];
  const [title, note] =
    plan.ring === "output"
      ? ["columns for col2im", "each is a stamp"]
      : ["im2col columns", plan.maximum ? "each is a window; padding is passed over" : "each is a window"];
  const width = plan.ring === "output" ? 160 : 300; // beside a high matrix there is less room
  return [view("columns", title, `${by(plan.columns)}, ${note}`, plan.columns, width, null), matrix];
}

/** The numbers of each grid, by its name. */
function numbersOf(name, plan, values, results) {
  switch (name.replace(/\d$/, "")) {
    case "kernel":
      return values.weights;
    case "matrix":
      return denseEntries(results.entries, sizeOf(plan.output), sizeOf(plan.input));
    case "weightGradient":
      return results.weightGradient;
    default:
      return values[name] ?? results[name];
  }
}

function denseEntries(entries, rows, columns) {
  const values = new Array(rows * columns).fill(0);
  for (const { row, column, value } of entries) values[row * columns + column] = value;
  return values;
}

/** The sign between a grid and the one before it. */
function signBefore(name, plan) {
  if (name === "output") return plan.tensors.length && !plan.convolved ? "=" : "→";
  if (name === "kernel0") return plan.convolved ? "∗⁻¹" : plan.ring === "output" ? "∗ᵀ" : "∗";
  return { middle: "→", again: "→" }[name] ?? "";
}

/** Give each weight its tint, in the kernels and wherever it stands in the matrix: its diagonals show. */
function tintWeights(grids, taps, plan) {
  if (!isLearned(plan)) return;
  const tint = (cell, index) => cell?.style.setProperty("--tint", `${Math.round(8 + (52 * index) / plan.weights)}%`);
  for (const grid of Object.values(grids).filter(({ role }) => role === "kernel")) {
    for (const [index, cell] of grid.cells) tint(cell, index);
  }
  for (const tap of taps) tint(grids.matrix.cells.get(tap.output * sizeOf(plan.input) + tap.input), tap.weights[0]);
}

/** Where there are no weights, an entry is the darker the larger it is. */
function tintEntries(matrix, entries, plan) {
  const largest = Math.max(...entries.map(({ value }) => Math.abs(value)));
  for (const { row, column, value } of entries) {
    const cell = matrix.cells.get(row * sizeOf(plan.input) + column);
    cell?.style.setProperty("--tint", `${Math.round((45 * Math.abs(value)) / largest)}%`);
  }
}

// How large a cell may be, in CSS pixels

/** Of the maps and kernels: all channels of the widest map side by side. */
function sizeFor(plan) {
  const ring = plan.axes && plan.ring ? ringOf(plan.axes) : [0, 0, 0, 0];
  const across = Math.max(plan.input[2], plan.output[2]) + ring[2] + ring[3];
  const down = Math.max(plan.input[1], plan.output[1]) + ring[0] + ring[1];
  const widest = across * Math.min(Math.max(plan.input[0], plan.output[0]), 2);
  const onScreen = Math.floor((innerWidth - 48) / widest) - 1; // less than the rest on a phone only
  return Math.max(18, Math.min(36, Math.floor(360 / widest), Math.floor(250 / down), onScreen));
}

/** Of the columns and the matrix, which share the page's width. */
function stripSize([rows, columns], width) {
  const wide = columns * 8 > width ? 940 : width; // many columns get a line of their own
  return Math.max(3, Math.min(22, Math.floor(wide / columns) - 1, Math.floor(640 / rows)));
}
