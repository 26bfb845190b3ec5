"use strict";
/* What happens at each click, key and movement of the pointer; the last script, which starts the page. */

const KEYS = {
  ArrowLeft: () => goBy(-1),
  ArrowRight: () => goBy(1),
  Home: () => goTo(0),
  End: () => goBy(-1 - currentStep()),
  " ": togglePlay,
  p: togglePin,
};

/** Keys that a focused field, button or cell needs for itself are left to it. */
function onKey(event) {
  const own = event.target.closest("input, select, [contenteditable]");
  const pressed = event.key === " " && event.target.closest("button, summary");
  if (own || pressed || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key]();
}

function listen() {
  find("operation").append(
    ...Object.entries(OPERATIONS).map(([name, { title }]) => element("option", { value: name }, title)),
  );
  find("operation").addEventListener("change", (event) => show(freshState(event.target.value)));
  for (const name of PLAIN_FIELDS) {
    find(name).addEventListener("change", (event) => choose({ [name]: event.target.value }));
  }
  find("controls").addEventListener("submit", (event) => event.preventDefault());
  find("shuffle").addEventListener("click", () => {
    Object.assign(state, { seed: state.seed + 1, edits: freshState(state.operation).edits });
    update();
  });
  find("back").addEventListener("click", KEYS.ArrowLeft);
  find("forward").addEventListener("click", KEYS.ArrowRight);
  find("play").addEventListener("click", togglePlay);
  find("pin").addEventListener("click", togglePin);
  find("time").addEventListener("input", (event) => goTo(Number(event.target.value)));
  find("speed").addEventListener("change", () => player.playing && player.play(Number(find("speed").value)));
  const stage = find("stage");
  stage.addEventListener("pointerover", (event) => pointerOver(event.target));
  stage.addEventListener("pointerleave", () => pointerOver(null));
  stage.addEventListener("focusin", (event) => pointAt(event.target));
  stage.addEventListener("settled", () => {
    if (refused) update();
    refused = false;
  });
  stage.addEventListener("click", (event) => {
    const item = itemAt(event.target);
    if (item && item.space === walk.space && !event.target.isContentEditable) goTo(item.index);
  });
  document.addEventListener("keydown", onKey);
  addEventListener("hashchange", () => show(fromHash(location.hash)));
  listenToTheme();
}

/** Browsers say again where a resting pointer is; it must not take the light from the keyboard's cell. */
function pointerOver(target) {
  if (target === hovered) return;
  hovered = target;
  pointAt(target);
}

/** Light the thing under the pointer, and say its sum if it has one; the present step where there is none. */
function pointAt(target) {
  if (broken) return;
  pointed = target && itemAt(target);
  const item = pointed ?? { space: walk.space, index: currentStep() };
  light(item);
  showFormula(item.space === walk.space ? item.index : currentStep());
}

/** Light or dark: the system's choice until the button is pressed. */
function listenToTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = (isDark) => {
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    find("theme").textContent = isDark ? "☀ light" : "☾ dark";
  };
  apply(dark.matches);
  dark.addEventListener("change", () => apply(dark.matches));
  find("theme").addEventListener("click", () => apply(document.documentElement.dataset.theme === "light"));
}

if (matchMedia("(max-width: 700px)").matches) find("settings").open = false;
listen();
show(state);
