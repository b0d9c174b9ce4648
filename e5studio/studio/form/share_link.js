// Brings to the page what its own link, a saved file or this tab before a reload holds. Given by Gradio: element, trigger, props, watch.
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

async function unfile(chosen) {
  if (chosen.size > 4 * MAX_CHARACTERS) throw new Error("too long");
  return JSON.parse(await chosen.text());
}

async function bring(reading) {
  try {
    const held = await reading;
    const state = Object.fromEntries(FIELDS.filter((name) => name in held).map((name) => [name, held[name]]));
    trigger("opened", { state }); // the numbers are made anew
  } catch {
    trigger("opened", { state: null });
  }
}

function open() {
  const match = /^#s=([\w-]+)$/.exec(location.hash);
  if (match) bring(unpack(match[1]));
  return Boolean(match);
}

function bringBack() {
  let state = null;
  try {
    state = JSON.parse(sessionStorage.getItem(KEPT));
  } catch {
    return; // the browser keeps nothing, or something else wrote there
  }
  if (state) trigger("opened", { state, is_kept: true });
}

const isAmong = (event, selector) => event.target instanceof Element && event.target.closest(selector);
const clearTold = () => (element.querySelector(".e5-link-told").textContent = "");
let edit = 0;

// A reload must not bring back what the address held before.
function edited() {
  clearTold();
  if (location.hash.startsWith("#s=")) history.replaceState(null, "", location.pathname + location.search);
  trigger("typed", {});
  clearTimeout(edit);
  edit = setTimeout(() => trigger("edited", {}), 100); // by then Gradio knows what was typed
}

// While other texts are scored, and for a moment after, a click is lost: so it is repeated until the button reacts.
function press(button) {
  let left = 10;
  const click = () => {
    if (!left) return stop();
    if (button.disabled) return;
    left -= 1;
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
  if (file.files.length) bring(unfile(file.files[0]));
  file.value = ""; // the same file may be opened again
});
addEventListener("hashchange", open);
addEventListener("input", (event) => isAmong(event, "#e5-inputs") && edited());
addEventListener("click", (event) => {
  if (isAmong(event, "#e5-examples button")) edited();
  else if (isAmong(event, "button#e5-score")) clearTold();
});
// What came with the value must have reached the page first.
watch("value", () => setTimeout(NEXT[props.value?.then] || (() => {}), 50));
if (!open()) bringBack(); // a link is what somebody asked for
