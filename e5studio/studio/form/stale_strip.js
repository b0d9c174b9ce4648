// Compares what the form holds (an event e5-form of share_link.py) with what the results are of, props.value.
// Gradio provides element, props, watch; stale_strip.py settings; the order of the marks is that of link.FIELDS.
const strip = element.querySelector(".e5-stale");
const PATIENCE = 900; // milliseconds: a few texts are scored again by then
const KINDS = ["model", "prompt", "texts", "texts", "prompt", "texts"];
const ARTICLES = { model: "another model", prompt: "another prompt", texts: "other texts" };
let form = null;
let timer = 0;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

function crc32(text) {
  let crc = -1;
  for (const byte of new TextEncoder().encode(text)) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ -1) >>> 0;
}

function difference() {
  if (!form || !props.value) return null;
  const kinds = KINDS.filter((_, index) => crc32(form[index] ?? "") !== props.value.marks[index]);
  return ["texts", "model", "prompt"].find((kind) => kinds.includes(kind)) ?? null;
}

function show(kind) {
  strip.hidden = !kind;
  document.querySelector("#e5-results")?.classList.toggle(settings.results, Boolean(kind));
  if (!kind) return;
  const { what, in_words } = props.value;
  strip.querySelector("span").textContent = `${what} of ${ARTICLES[kind]} (${in_words}).`;
}

function update() {
  clearTimeout(timer);
  const kind = difference();
  if (!kind || !strip.hidden) return show(kind);
  timer = setTimeout(() => show(difference()), PATIENCE);
}

addEventListener("e5-form", (event) => {
  form = event.detail;
  update();
});
strip.querySelector("button").addEventListener("click", () => document.querySelector(`button#${settings.button}`).click());
watch("value", update);
