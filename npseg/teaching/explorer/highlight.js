"use strict";
/* Lighting up: point at one thing, and all that its taps touch lights up with it, in every grid at once.

   seen   what the taps look at, padding and losers of a maximum included
   lit    the ends of the taps that count
   focus  the thing itself */

class Highlighter {
  constructor() {
    this.marked = [];
  }

  /** Take all marks of a name back, then mark these cells. */
  mark(name, cells) {
    this.clear(name);
    for (const cell of cells) {
      cell.classList.add(name);
      this.marked.push([name, cell]);
    }
  }

  clear(name) {
    this.marked = this.marked.filter(([marked, cell]) => {
      if (marked === name) cell.classList.remove(name);
      return marked !== name;
    });
  }

  /** Light what an item { space, index } touches; `names` are the classes for seen, lit and focus. */
  show(item, plan, taps, grids, names = ["seen", "lit", "focus"]) {
    const belongs = (tap) => touches(tap, item.space, item.index, plan);
    const reach = (plan.every.length ? plan.every : taps).filter(belongs);
    const counted = taps.filter(belongs);
    const cells = (chosen) => Object.values(grids).flatMap((grid) => cellsOf(grid, chosen, plan));
    const itself = Object.values(grids)
      .filter((grid) => grid.space === item.space)
      .flatMap((grid) => grid.find([item.index]));
    const [seen, lit, focus] = names;
    if (seen) this.mark(seen, [...cells(reach), ...ringCellsOf(grids, reach)]);
    this.mark(lit, [...cells(counted), ...stripsOf(grids, item, counted)]);
    this.mark(focus, itself);
  }
}

/** The cells of one grid that some taps touch. */
function cellsOf(grid, taps, plan) {
  const indices = new Set();
  for (const tap of taps) {
    if (grid.space === "weight") tap.weights.forEach((index) => indices.add(index));
    else if (grid.space === "columns") indices.add(tap.row * plan.columns[1] + tap.column);
    else if (grid.space === "matrix") {
      if (isInside(tap)) indices.add(tap.output * sizeOf(plan.input) + tap.input);
    } else indices.add(tap[grid.space]);
  }
  return grid.find(indices);
}

/** The padding that some taps look at, or the cropped places that they would stamp. */
function ringCellsOf(grids, taps) {
  const keys = taps.filter((tap) => !isInside(tap) && tap.place).map((tap) => tap.place.join());
  return Object.values(grids).flatMap((grid) => keys.map((key) => grid.ringCells.get(key)).filter(Boolean));
}

/** The strips of the matrix's rows and columns, and of the columns' columns. */
function stripsOf(grids, item, taps) {
  const strips = [];
  const { matrix, columns } = grids;
  if (matrix) {
    const rows = new Set(item.space === "output" ? [item.index] : taps.map((tap) => tap.output));
    const inputs = new Set(item.space === "input" ? [item.index] : taps.map((tap) => tap.input));
    if (item.space === "matrix") {
      rows.add(Math.floor(item.index / matrix.planes[0].columns));
      inputs.add(item.index % matrix.planes[0].columns);
    }
    strips.push(...[...rows].map((index) => matrix.strips.row[index]));
    strips.push(...[...inputs].map((index) => matrix.strips.column[index]));
  }
  if (columns) strips.push(...[...new Set(taps.map((tap) => tap.column))].map((index) => columns.strips.column[index]));
  return strips.filter(Boolean);
}

/** The item that an element of a grid stands for, or null. */
function itemAt(target) {
  const cell = target.closest?.("[data-index]");
  if (!cell) return null;
  const index = Number(cell.dataset.index);
  const { space } = cell.closest("[data-space]").dataset;
  if (cell.dataset.strip === undefined) return { space, index };
  if (space === "matrix") return { space: cell.dataset.strip === "row" ? "output" : "input", index };
  return { space: cell.dataset.strip, index }; // a row or a column of the columns
}
