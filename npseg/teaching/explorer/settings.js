"use strict";
/* The settings of all operations: how each is written, and the range that can be drawn. */

/** Every control: its label, its kind, and the range that can be drawn. */
const CONTROLS = {
  input_size: { label: "input size", kind: "size", least: 1, most: 10 },
  output_size: { label: "output size", kind: "size", least: 1, most: 16 },
  in_channels: { label: "input channels", kind: "count", least: 1, most: 3 },
  out_channels: { label: "output channels", kind: "count", least: 1, most: 3 },
  multiplier: { label: "multiplier", kind: "count", least: 1, most: 2 },
  kernel_size: { label: "kernel size", kind: "pair", least: 1, most: 7 },
  stride: { label: "stride", kind: "pair", least: 1, most: 5 },
  padding: { label: "padding", kind: "padding", least: 0, most: 6 },
  dilation: { label: "dilation", kind: "pair", least: 1, most: 4 },
  groups: { label: "groups", kind: "count", least: 1, most: 3 },
  output_padding: { label: "output padding", kind: "pair", least: 0, most: 4 },
  scale: { label: "scale", kind: "pair", least: 1, most: 4 },
  regularization: { label: "regularization", kind: "number", least: 0, most: 10 },
  ceil_mode: { label: "ceil mode", kind: "flag" },
  count_include_pad: { label: "count padding", kind: "flag" },
  align_corners: { label: "align corners", kind: "flag" },
};

/** The settings, which are the fields' texts, as numbers. */
function parsed(settings) {
  const values = {};
  for (const [name, text] of Object.entries(settings)) {
    const { kind, least, most } = CONTROLS[name];
    if (kind === "flag") values[name] = text === "true";
    else if (kind === "padding") values[name] = parsePadding(text.trim(), most);
    else if (kind === "number") values[name] = parseNumber(name, text, least, most);
    else if (kind === "count") values[name] = parseCount(name, text, least, most);
    else values[name] = parsePair(name, text.trim(), least, most);
  }
  return values;
}

function parseCount(name, text, least, most) {
  const count = text.trim() === "" ? NaN : Number(text);
  if (!Number.isInteger(count)) throw new SettingError(name, `needs one whole number, got "${text}"`);
  checkRange(name, [count], least, most);
  return count;
}

function parseNumber(name, text, least, most) {
  const number = text.trim() === "" ? NaN : Number(text);
  if (!Number.isFinite(number)) throw new SettingError(name, `needs a number, got "${text}"`);
  checkRange(name, [number], least, most);
  return number;
}
