"use strict";
/* The page: from the state to the plan, the grids and the words, and back from every click and key to the state. */

const find = (id) => document.getElementById(id);
const highlighter = new Highlighter();
const player = new Player(() => goBy(1, true));

let state = fromHash(location.hash);
let plan, taps, values, results; // of the last valid settings
let walk = { length: 1 };
let grids = {};
let signature = "";
let pointed = null; // the item under the pointer or the focus
let hovered = null; // the element under the pointer
let broken = false; // whether the settings make no sense, and the picture is an older one
let refused = false; // whether the error is about a value that was typed

// From the state to the page

/** Compute all anew and show it; where a setting makes no sense, say so and leave the last picture, dimmed. */
function update() {
  try {
    const next = planOf(state.operation, state.settings);
    const numbers = valuesOf(state, next);
    if (numbers.indices) checkIndices(next, numbers.indices);
    [plan, values] = [next, numbers];
  } catch (error) {
    if (!(error instanceof SettingError)) throw error;
    broken = true;
    player.pause();
    showError(error);
    writeAddress();
    return;
  }
  broken = false;
  hideError();
  taps = plan.taps(values);
  results = resultsOf(plan, taps, values);
  walk = walkOf(state, plan);
  if (state.step !== null) state.step = Math.min(state.step, walk.length - 1);
  if (state.pinned !== null) state.pinned = Math.min(state.pinned, walk.length - 1);
  showSwitches();
  arrange();
  find("call").firstChild.textContent = callOf(state);
  showFacts();
  showStep();
  if (pointed) light(pointed);
}

/** The numbers above the grids, how they come about below them. */
function showFacts() {
  const facts = factsOf(state, plan, taps, values, results);
  const entry = ([name, value]) =>
    element("div", { "data-fact": name }, element("dt", {}, name), element("dd", {}, value));
  find("facts").replaceChildren(...facts.map(entry));
  const reason = ([name, value, why]) => element("p", {}, element("b", {}, `${name} ${value}`), `: ${why}`);
  find("reasons").replaceChildren(...facts.filter(([, , why]) => why).map(reason));
}

function showSwitches() {
  find("operation").value = state.operation;
  for (const name of PLAIN_FIELDS) {
    for (const choice of document.querySelectorAll(`input[name="${name}"]`))
      choice.checked = choice.value === state[name];
  }
  find("wanted").hidden = state.direction === "forward" || !isLearned(plan);
  find("walk").hidden = walk.space === "weight";
}

/** Draw new grids where shapes have changed, and fill them. */
function arrange() {
  const specifications = gridsOf(plan, state, results, edit);
  find("picture").classList.toggle("tall", sizeOf(plan.output) > 2 * sizeOf(plan.input));
  const drawn = JSON.stringify([specifications, plan.ring, state.operation], (key, value) =>
    value instanceof Set ? [...value] : value,
  );
  if (drawn !== signature) {
    signature = drawn;
    grids = Object.fromEntries(specifications.map((specification) => [specification.name, new Grid(specification)]));
    const all = Object.entries(grids);
    find("grids").replaceChildren(
      ...all.filter(([, grid]) => !grid.headers).map(([name, grid]) => withSign(name, grid)),
    );
    find("views").replaceChildren(...all.filter(([, grid]) => grid.headers).map(([, grid]) => grid.node));
    tintWeights(grids, taps, plan);
  }
  if (!isLearned(plan)) tintEntries(grids.matrix, results.entries, plan);
  for (const [name, grid] of Object.entries(grids)) grid.fill(numbersOf(name, plan, values, results));
}

/** A grid and the sign between it and the one before it, which stay together. */
function withSign(name, grid) {
  const sign = signBefore(name, plan);
  const before = sign ? [element("span", { class: "sign", "aria-hidden": "true" }, sign)] : [];
  return element("div", { class: "signed" }, ...before, grid.node);
}

const currentStep = () => state.step ?? walk.length - 1;

/** The present step: its window, its formula, and how far the result has come. */
function showStep() {
  const step = currentStep();
  const complete = results[walk.target];
  const present = walk.adds ? partialResult(walk, step, plan, taps, values) : complete;
  for (const [, target] of Object.entries(grids).filter(([name]) => name.startsWith(walk.target))) {
    target.fill(present, complete);
    for (const [index, cell] of target.cells) cell.classList.toggle("later", !walk.adds && index > step);
  }
  light({ space: walk.space, index: step });
  showPinned();
  find("time").max = walk.length - 1;
  find("time").value = step;
  find("time-label").textContent = `${step + 1} of ${walk.length}`;
  find("play").textContent = player.playing ? "❚❚ pause" : "▶ play";
  showFormula(step);
  writeAddress();
}

function showFormula(step) {
  const which = state.direction === "forward" ? 0 : walk.space === "weight" ? 2 : 1;
  find("equation").textContent = EQUATIONS[state.operation][which];
  find("step-formula").replaceChildren(...stepFormula(walk, step, plan, taps, values, results));
  const windows = walk.name === "forward gather" && plan.axes && plan.ring === "input";
  find("position").replaceChildren(
    ...(windows ? positionFormula(plan, step).map((text) => element("span", {}, text)) : []),
  );
}

/** Light what an item touches, and nothing else. */
function light(item) {
  highlighter.show(item, plan, taps, grids);
}

function showPinned() {
  find("pin").setAttribute("aria-pressed", state.pinned !== null);
  find("pin").textContent = state.pinned === null ? "pin" : `pinned: ${state.pinned + 1}`;
  if (state.pinned === null) ["pinned", "pinned-focus"].forEach((name) => highlighter.clear(name));
  else
    highlighter.show({ space: walk.space, index: state.pinned }, plan, taps, grids, [null, "pinned", "pinned-focus"]);
}

function writeAddress() {
  history.replaceState(null, "", toHash(state));
}

// Errors

function showError(error) {
  find("error").hidden = false;
  find("picture").classList.add("outdated");
  find("error-message").textContent = error.message;
  blame(error.argument);
  const buttons = error.fix
    ? [suggestion(`${error.fix.kind}[${error.fix.place.join(", ")}] = ${error.fix.value}`, () => applyFix(error.fix))]
    : nearestValid(state.operation, state.settings, error.argument).map(({ name, value }) =>
        suggestion(`${name} = ${inPython(name, value)}`, () => setControl(name, value)),
      );
  find("suggestions").replaceChildren(...(buttons.length ? ["Nearest that work: ", ...buttons] : []));
}

function suggestion(label, apply) {
  const button = element("button", { type: "button", class: "suggestion" }, label);
  button.addEventListener("click", apply);
  return button;
}

const applyFix = ({ kind, place, value }) => write(kind, place.join(), value);

function hideError() {
  find("error").hidden = true;
  find("picture").classList.remove("outdated");
  blame(null);
}

// From clicks and keys to the state

/** A cell was typed into. */
function edit(kind, place, text) {
  const value = Number(text);
  refused = text === "" || !Number.isFinite(value);
  if (refused) {
    document.activeElement.setAttribute("aria-invalid", "true");
    find("error").hidden = false;
    find("error-message").textContent =
      `${kind}[${place.replaceAll(",", ", ")}] must be a number, got "${text}"; it keeps its value`;
    find("suggestions").replaceChildren();
    return;
  }
  document.activeElement.removeAttribute("aria-invalid");
  write(kind, place, value);
}

function write(kind, place, value) {
  state.edits[kind][place] = value;
  update();
}

function changeSetting(name, text) {
  if (state.settings[name] === text) return; // a click on a suggestion takes the focus away, and must not be lost
  state.settings[name] = text;
  state.step = null;
  state.pinned = null;
  update();
}

/** So many steps on or back, around the ends. */
function goBy(steps, playing = false) {
  goTo((currentStep() + walk.length + steps) % walk.length, playing);
}

function goTo(step, playing = false) {
  if (broken) return;
  if (!playing) player.pause();
  pointed = null;
  state.step = step;
  showStep();
}

function togglePlay() {
  if (broken) return;
  if (player.playing) player.pause();
  else {
    if (currentStep() === walk.length - 1) state.step = 0;
    player.play(Number(find("speed").value));
  }
  showStep();
}

function togglePin() {
  if (broken) return;
  state.pinned = state.pinned === null ? currentStep() : null;
  showPinned();
  writeAddress();
}

/** Another direction or order: the steps begin anew. What gathers forward scatters backward, unless told otherwise. */
function choose(changes) {
  player.pause();
  if (changes.direction) state.walk = naturalWalk(state.operation, changes.direction);
  Object.assign(state, changes, { step: null, pinned: null });
  update();
}

function show(next) {
  player.pause();
  state = next;
  buildControls(find("controls"), state, changeSetting);
  find("operation").value = state.operation;
  update();
}
