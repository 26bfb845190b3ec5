"use strict";
/* The controls of an operation: a field for what one would write in Python, and sliders beside it. */

/** All controls of an operation in `host`; `change(name, text)` is called at each keystroke and each move. */
function buildControls(host, state, change) {
  host.replaceChildren(...Object.entries(state.settings).map(([name, text]) => control(name, text, change)));
}

function control(name, text, change) {
  const { label, kind, least, most } = CONTROLS[name];
  const id = `control-${name}`;
  if (kind === "flag") {
    const box = element("input", { type: "checkbox", name, id });
    box.checked = text === "true";
    box.addEventListener("change", () => change(name, String(box.checked)));
    return element("div", { class: "control flag" }, box, element("label", { for: id }, label, " ", code(name)));
  }
  const field = element("input", { type: "text", name, id, autocomplete: "off", spellcheck: "false" });
  field.value = text;
  for (const event of ["input", "change"]) {
    field.addEventListener(event, () => {
      alignSliders(field);
      change(name, field.value);
    });
  }
  const box = element(
    "div",
    { class: `control ${kind}` },
    element("label", { for: id }, label, " ", code(name)),
    field,
  );
  const write = (value) => {
    field.value = value;
    field.dispatchEvent(new Event("input"));
  };
  for (const [axis, title] of kind === "size"
    ? [
        [0, "rows"],
        [1, "columns"],
      ]
    : [["both", label]]) {
    const slider = element("input", {
      type: "range",
      min: least,
      max: most,
      step: kind === "number" ? 0.1 : 1,
      "aria-label": `${label}, ${kind === "size" ? title : "slider"}`,
      "data-axis": axis,
    });
    slider.addEventListener("input", () => write(moved(field.value, axis, slider.value)));
    box.append(kind === "size" ? element("span", { class: "axis" }, title, slider) : slider);
  }
  if (kind === "padding") box.append(...["valid", "same"].map((word) => wordButton(word, write)));
  alignSliders(field, box);
  return box;
}

const code = (name) => element("code", {}, name);

function wordButton(word, write) {
  const button = element("button", { type: "button", class: "word", "data-word": word }, word);
  button.addEventListener("click", () => write(word));
  return button;
}

/** The field's text after a slider has moved. */
function moved(text, axis, value) {
  if (axis === "both") return value;
  const numbers = numbersIn(text);
  const pair = numbers.length === 2 ? numbers : [numbers[0] ?? value, numbers[0] ?? value];
  pair[axis] = Number(value);
  return pair.join(", ");
}

/** Sliders and buttons follow what stands in the field. */
function alignSliders(field, box = field.parentNode) {
  const numbers = numbersIn(field.value).flat();
  for (const slider of box.querySelectorAll("input[type=range]")) {
    const at = slider.dataset.axis === "1" ? (numbers[1] ?? numbers[0]) : numbers[0];
    if (typeof at === "number") slider.value = at;
    else if (field.value === "valid") slider.value = 0;
  }
  box.classList.toggle("same", field.value.trim() === "same");
  for (const button of box.querySelectorAll("[data-word]")) {
    button.setAttribute("aria-pressed", button.dataset.word === field.value.trim());
  }
}

/** Put a value into a control, as a suggestion does. */
function setControl(name, value) {
  const field = document.querySelector(`#controls [name="${name}"]`);
  if (field.type === "checkbox") {
    field.checked = value === "true";
    field.dispatchEvent(new Event("change"));
  } else {
    field.value = value;
    field.dispatchEvent(new Event("input"));
  }
}

/** Mark the field that an error blames, and it alone. */
function blame(argument) {
  for (const field of document.querySelectorAll("#controls [name]")) {
    const blamed = field.name === argument;
    field.toggleAttribute("aria-invalid", blamed);
    if (blamed) {
      field.setAttribute("aria-invalid", "true");
      field.setAttribute("aria-describedby", "error-message");
    } else field.removeAttribute("aria-describedby");
  }
}
