"use strict";
/* Grids of numbers: inputs, kernels, outputs, gradients, im2col columns and the sparse matrix are all drawn by this.

   A grid shows one or several planes. Its cells are found by their flat index, so that a tap, which knows flat indices,
   can light them up wherever they stand. */

/** A number as a cell shows it: whole numbers as they are, others with two decimals at most. */
function shown(value) {
  const text = String(Number(value.toFixed(2)));
  return text === "-0" ? "0" : text;
}

/** A number for the narrow cells of a matrix: no 0 before the point. */
const shownShort = (value) => shown(value).replace("0.", ".");

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** The thickness of a strip, in CSS pixels. */
const STRIP = 12;

class Grid {
  /**
   * role: what the grid is (data-role); space: which index of a tap its cells answer to; title: the caption's text;
   * planes: [{ label, rows, columns, first, channel, filter, ring }], first being the flat index of its first cell;
   * across: how many planes stand side by side, where that matters;
   * headers: whether rows and columns have strips to point at; edit(index, text): called when a cell is typed into.
   */
  constructor({
    role,
    of,
    space,
    title,
    note,
    planes,
    headers = false,
    edit = null,
    only = null,
    ringText = "0",
    size,
    across,
  }) {
    Object.assign(this, { role, space, planes, headers, edit, ringText, size });
    this.cells = new Map();
    this.ringCells = new Map();
    this.strips = { row: [], column: [] };
    const caption = element("figcaption", {}, element("b", {}, title), " ", element("span", {}, note));
    const host = element(
      "div",
      { class: across ? "planes table" : "planes" },
      ...planes.map((plane) => this.plane(plane, only)),
    );
    if (across) host.style.setProperty("--across", across);
    this.node = element(
      "figure",
      { class: "grid", "data-role": role, "data-of": of, "data-space": space },
      caption,
      host,
    );
    this.node.style.setProperty("--size", `${size}px`);
    this.node.classList.toggle("tiny", size < 12);
    this.node.classList.toggle("entries-only", only !== null);
    if (headers) Object.assign(this.node.dataset, { rows: planes[0].rows, columns: planes[0].columns });
    this.node.addEventListener("keydown", (event) => this.move(event));
    const first = this.cells.values().next().value;
    if (first && !headers) first.tabIndex = 0;
  }

  plane(plane, only) {
    const [top, bottom, left, right] = plane.ring ?? [0, 0, 0, 0];
    const board = element("div", { class: "plane" });
    const length = (count) => `${count * (this.size + 1) - 1 + (this.headers ? STRIP + 1 : 0)}px`;
    board.style.height = length(plane.rows + top + bottom);
    board.style.width = length(plane.columns + left + right);
    if (this.headers) this.addStrips(board, plane);
    for (let row = -top; row < plane.rows + bottom; row++) {
      for (let column = -left; column < plane.columns + right; column++) {
        const index = plane.first + row * plane.columns + column;
        const real = row >= 0 && row < plane.rows && column >= 0 && column < plane.columns;
        if (real && only && !only.has(index)) continue;
        const cell = real ? this.cell(plane, row, column, index) : this.ringCell(plane, row, column);
        this.put(cell, row + top, column + left);
        board.append(cell);
      }
    }
    const name = plane.label ? [element("span", { class: "plane-label" }, plane.label)] : [];
    return element("div", { class: "plane-box" }, ...name, board);
  }

  /** Put a cell in its place, a strip (row or column null) before the cells. Many cells are placed faster by hand. */
  put(cell, row, column) {
    const pitch = this.size + 1;
    const margin = this.headers ? STRIP + 1 : 0;
    cell.style.top = row === null ? 0 : `${margin + row * pitch}px`;
    cell.style.left = column === null ? 0 : `${margin + column * pitch}px`;
  }

  cell(plane, row, column, index) {
    const cell = element("div", {
      class: "cell",
      "data-row": row,
      "data-col": column,
      "data-channel": plane.channel,
      "data-filter": plane.filter,
      "data-index": index,
      role: this.edit ? "textbox" : this.headers ? undefined : "button",
      contenteditable: this.edit ? "true" : undefined,
      inputmode: this.edit ? "decimal" : undefined,
      spellcheck: this.edit ? "false" : undefined,
      tabindex: this.headers ? undefined : -1,
    });
    this.cells.set(index, cell);
    if (this.edit) this.listen(cell, index);
    return cell;
  }

  /** A pixel of padding around an input, or of what is cropped around an output. */
  ringCell(plane, row, column) {
    const cell = element("div", { class: "cell ring", "aria-hidden": "true" }, this.ringText);
    this.ringCells.set([plane.channel, row, column].join(), cell);
    return cell;
  }

  /** The strips before the rows and above the columns, which stand for a whole row or column. */
  addStrips(board, plane) {
    for (const [axis, count] of [
      ["row", plane.rows],
      ["column", plane.columns],
    ]) {
      for (let index = 0; index < count; index++) {
        const strip = element("div", { class: `strip ${axis}-strip`, "data-strip": axis, "data-index": index });
        this.put(strip, axis === "row" ? index : null, axis === "row" ? null : index);
        this.strips[axis].push(strip);
        board.append(strip);
      }
    }
  }

  // Typing

  listen(cell, index) {
    cell.addEventListener("focus", () => getSelection().selectAllChildren(cell));
    cell.addEventListener("input", () => this.edit(index, cell.textContent.trim()));
    cell.addEventListener("blur", () => this.restore(cell));
  }

  /** After typing, a cell shows the number that it holds. */
  restore(cell) {
    cell.removeAttribute("aria-invalid");
    cell.textContent = shown(Number(cell.dataset.value));
    getSelection().removeAllRanges();
    cell.dispatchEvent(new CustomEvent("settled", { bubbles: true }));
  }

  /** Arrow keys go from cell to cell; Enter and Escape leave off typing. */
  move(event) {
    const cell = event.target.closest(".cell");
    const turns = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (event.key === "Enter" || event.key === "Escape") {
      event.preventDefault();
      if (this.edit) this.restore(cell);
      else cell.click();
    } else if (event.key in turns) {
      event.preventDefault();
      event.stopPropagation();
      const [row, column] = [
        Number(cell.dataset.row) + turns[event.key][0],
        Number(cell.dataset.col) + turns[event.key][1],
      ];
      cell.parentNode.querySelector(`[data-row="${row}"][data-col="${column}"]`)?.focus();
    }
  }

  // Showing

  /** Put values into the cells; the one that is being typed into is left alone. */
  fill(values, exact = values) {
    for (const [index, cell] of this.cells) {
      cell.dataset.value = exact[index];
      const text = (this.headers ? shownShort : shown)(values[index]);
      const typing = this.edit && cell === document.activeElement;
      if (!typing && cell.textContent !== text) {
        cell.textContent = text;
        cell.style.setProperty("--characters", text.length);
      }
      cell.classList.toggle("zero", values[index] === 0);
      const { row, col, channel } = cell.dataset;
      const of = channel === undefined ? "" : `channel ${channel}, `;
      if (!this.headers)
        cell.setAttribute("aria-label", `${this.role}, ${of}row ${row}, column ${col}: ${shown(values[index])}`);
    }
  }

  /** The cells of these flat indices, as far as they are drawn. */
  find(indices) {
    return [...indices].map((index) => this.cells.get(index)).filter(Boolean);
  }
}

// The planes of an array

/** One plane for each channel of [channels, height, width]. */
function channelPlanes([channels, rows, columns], ring) {
  return range(channels).map((channel) => ({
    label: channels > 1 ? `channel ${channel}` : "",
    rows,
    columns,
    channel,
    ring,
    first: channel * rows * columns,
  }));
}

/** One plane for each filter and channel of a weight tensor [filters, channels, height, width]. */
function kernelPlanes([filters, channels, rows, columns], first) {
  return range(filters * channels).map((number) => {
    const [filter, channel] = [Math.floor(number / channels), number % channels];
    const label = filters * channels > 1 ? `[${filter}, ${channel}]` : "";
    return { label, rows, columns, channel, filter, first: first + number * rows * columns };
  });
}

/** The ring around a plane: before and after of both axes, as far as they are there. */
function ringOf(axes) {
  return axes.flatMap((axis) => [Math.max(axis.before, 0), Math.max(axis.after, 0)]);
}
