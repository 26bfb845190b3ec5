"use strict";
/* What to do about a setting that makes no sense: the nearest values of each control that do. */

/** All values that a control can take, as texts, the nearest to the present one first. */
function candidates(name, text, fallback) {
  const { kind, least, most } = CONTROLS[name];
  const numbers = range(most - least + 1).map((index) => least + index);
  if (kind === "flag") return ["true", "false"];
  if (kind === "padding") return ["valid", "same", ...numbers.map(String)];
  const typed = numbersIn(text);
  const given = typed.length > 0 && typed.every((value) => typeof value === "number") ? typed : numbersIn(fallback);
  const [height, width] = given.length === 2 ? given : [given[0], given[0]];
  if (kind === "count" || kind === "number") {
    return numbers.sort((a, b) => Math.abs(a - height) - Math.abs(b - height)).map(String);
  }
  const distance = ([h, w]) => Math.abs(h - height) + Math.abs(w - width);
  return numbers
    .flatMap((h) => numbers.map((w) => [h, w]))
    .filter(([h, w]) => height !== width || h === w || kind === "size")
    .sort((a, b) => distance(a) - distance(b))
    .map(([h, w]) => (h === w && kind === "pair" ? String(h) : `${h}, ${w}`));
}

/** Up to `most` changes of one control each that make the settings valid, the blamed control's first. */
function nearestValid(operation, settings, blamed, most = 4) {
  const names = Object.keys(settings).sort((a, b) => (b === blamed) - (a === blamed));
  const found = [];
  for (const name of names) {
    const valid = candidates(name, settings[name], OPERATIONS[operation].settings[name]).find(
      (value) => value !== settings[name] && isValid(operation, { ...settings, [name]: value }),
    );
    if (valid !== undefined) found.push({ name, value: valid });
  }
  return found.slice(0, most);
}

function isValid(operation, settings) {
  try {
    geometryOf(operation, settings);
    return true;
  } catch (error) {
    if (error instanceof SettingError) return false;
    throw error;
  }
}
