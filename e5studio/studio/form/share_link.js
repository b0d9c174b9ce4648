// Opens a link to the page, a saved file, or what this tab noted before a reload. Gradio provides element, trigger, props, watch.
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
    const state = Object.fromEntries(FIELDS.filter((name) => name in read).map((name) => [name, read[name]]));
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

function openNote() {
  let state = null;
  try {
    state = JSON.parse(sessionStorage.getItem(NOTE));
  } catch {
    return; // the browser stores nothing, or something else wrote there
  }
  if (state) trigger("opened", { state, is_note: true });
}

const isAmong = (event, selector) => event.target instanceof Element && event.target.closest(selector);
const clearStatus = () => (element.querySelector(".e5-link-told").textContent = "");
let edit = 0;

// A reload must not open an old link again.
function edited() {
  clearStatus();
  if (location.hash.startsWith("#s=")) history.replaceState(null, "", location.pathname + location.search);
  trigger("typed", {});
  clearTimeout(edit);
  edit = setTimeout(() => trigger("edited", {}), 100); // by then Gradio knows what was typed
}

// A click is lost while other texts are scored, and for a moment after: repeat it until the button reacts.
function press(button) {
  let attempts = 10;
  const click = () => {
    if (!attempts) return stop();
    if (button.disabled) return;
    attempts -= 1;
    button.click();
  };
  const timer = setInterval(click, 200);
  const reaction = new MutationObserver(() => button.disabled && stop());
  const stop = () => {
    clearInterval(timer);
    reaction.disconnect();
  };
  reaction.observe(button, { attributes: true, attributeFilter: ["disabled"] });
  click();
}

const NEXT = {
  score: () => press(document.querySelector("button#e5-score")),
  restore: () => trigger("restore", {}),
};

file.addEventListener("change", () => {
  if (file.files.length) openState(readFile(file.files[0]));
  file.value = ""; // the same file may be opened again
});
addEventListener("hashchange", open);
addEventListener("input", (event) => isAmong(event, "#e5-inputs") && edited());
addEventListener("click", (event) => {
  if (isAmong(event, "#e5-examples button")) edited();
  else if (isAmong(event, "button#e5-score")) clearStatus();
});
// Wait until the page shows what came with the value.
watch("value", () => setTimeout(NEXT[props.value?.then] || (() => {}), 50));
if (!open()) openNote(); // a link goes before a note
