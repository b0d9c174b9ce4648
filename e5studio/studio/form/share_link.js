// Opens a link to the page, a saved file, or what this tab noted before a reload. Gradio provides element, trigger, props, watch; share_link.py settings.
const file = element.querySelector("input[type=file]");
const MAX_CHARACTERS = 8_000_000; // more than any page of ours holds

async function unpack(packed) {
  const binary = atob(packed.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  let text = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (text.length > MAX_CHARACTERS) throw new Error("too long");
  }
  return JSON.parse(text);
}

async function readFile(chosen) {
  if (chosen.size > 4 * MAX_CHARACTERS) throw new Error("too long");
  return JSON.parse(await chosen.text());
}

async function openState(reading) {
  try {
    const read = await reading;
    const state = Object.fromEntries(settings.fields.filter((name) => name in read).map((name) => [name, read[name]]));
    trigger("opened", { state }); // the numbers are computed again
  } catch {
    trigger("opened", { state: null });
  }
}

function open() {
  const match = /^#s=([\w-]+)$/.exec(location.hash);
  if (match) openState(unpack(match[1]));
  return Boolean(match);
}

function noted(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name));
  } catch {
    return null; // the browser stores nothing, or something else wrote there
  }
}

function openNote() {
  const [state, view] = [noted(settings.note), noted(settings.view_note)];
  if (state && view) state.view = view;
  if (state) trigger("opened", { state, is_note: true });
  return Boolean(state);
}

const PAUSE = 600; // milliseconds without a key, after which a few texts are scored
const MOST_TEXTS = 32;
const MOST_CHARACTERS = 8_000;
let pause = 0;

// Not the button's own event: of two events for one thing, the later could not replace the earlier.
function rescore(cause) {
  clearTimeout(pause);
  trigger("rescore", { cause });
}

function isQuicklyScored() {
  const texts = [...document.querySelectorAll("#e5-queries textarea, #e5-passages textarea")].map((box) => box.value);
  const lines = texts.join("\n").split("\n").filter((line) => line.trim());
  return lines.length <= MOST_TEXTS && texts.join("").length <= MOST_CHARACTERS;
}

const isAmong = (event, selector) => event.target instanceof Element && event.target.closest(selector);
const clearStatus = () => (element.querySelector(".e5-link-told").textContent = "");
let edit = 0;
let toast = 0;
// What is said is said by the script of Copy link (share_link.py), over the page; it goes by itself.
new MutationObserver(() => {
  clearTimeout(toast);
  toast = setTimeout(clearStatus, 12_000);
}).observe(element.querySelector(".e5-link-told"), { childList: true });

// A reload must not open an old link again.
function edited() {
  clearStatus();
  if (location.hash.startsWith("#s=")) history.replaceState(null, "", location.pathname + location.search);
  clearTimeout(edit);
  edit = setTimeout(() => trigger("edited", {}), 100); // by then Gradio knows what was typed
  clearTimeout(pause);
  if (isQuicklyScored()) pause = setTimeout(() => rescore("typing"), PAUSE);
}

const NEXT = {
  score: () => rescore("filled"),
  restore: () => trigger("restore", {}),
};

file.addEventListener("change", () => {
  if (file.files.length) openState(readFile(file.files[0]));
  file.value = ""; // the same file may be opened again
});
addEventListener("hashchange", open);
// Another model may have to be loaded first, which its choice alone does not ask for.
addEventListener("input", (event) => {
  if (!isAmong(event, "#e5-inputs")) return;
  edited();
  if (isAmong(event, "#e5-model")) clearTimeout(pause);
});
addEventListener("click", (event) => {
  if (isAmong(event, "button#e5-score")) {
    clearStatus();
    rescore("press");
  } else if (isAmong(event, "#e5-examples button")) {
    edited();
    clearTimeout(pause);
  }
});
// Wait until the page shows what came with the value.
watch("value", () => setTimeout(NEXT[props.value?.then] || (() => {}), 50));
if (!open() && !openNote()) rescore("arrival"); // a link goes before a note, and both before the example
