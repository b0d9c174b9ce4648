// Brings to the page what its own link or a saved file carries. Given by Gradio: element, trigger, props, watch.
const file = element.querySelector("input[type=file]");

async function unpack(packed) {
  const binary = atob(packed.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return JSON.parse(await new Response(stream).text());
}

async function bring(reading) {
  try {
    const { result, ...state } = await reading; // the numbers are made anew
    trigger("opened", { state });
  } catch {
    trigger("opened", { state: null });
  }
}

function open() {
  const match = /^#s=([\w-]+)$/.exec(location.hash);
  if (match) bring(unpack(match[1]));
}

const NEXT = {
  score: () => document.querySelector("button#e5-score").click(),
  restore: () => trigger("restore", {}),
};

file.addEventListener("change", () => {
  if (file.files.length) bring(file.files[0].text().then(JSON.parse));
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
