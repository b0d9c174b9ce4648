// Brings to the page what its own link or a saved file carries. Given by Gradio: element, trigger, props, watch.
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
const invitation = element.querySelector(".e5-open-file span");
const english = invitation.textContent;
const write = () => (invitation.textContent = translated(english));
onLanguage(write);
write();
addEventListener("hashchange", open);
// What came with the value must have reached the page first.
watch("value", () => setTimeout(NEXT[props.value?.then] || (() => {}), 50));
open();
