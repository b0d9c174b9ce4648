// Counts the texts of both boxes as they are typed, as `split_texts` of engine/text_box.py does. Gradio provides element.
const [count, offer] = element.querySelectorAll("p");
const END = /[.!?:;\u2026\u3002\uff01\uff1f"'\u201d\u2019)\]]\s*$/;
const SHORTEST_WRAPPED = 40; // characters; lines are wrapped at 60 to 100

const boxes = () => [...document.querySelectorAll("#e5-queries, #e5-passages")];
const choice = (value) => document.querySelector(`#e5-separator input[value="${value}"]`);
const linesOf = (text) => text.split(/\r?\n/).filter((line) => line.trim());
const paragraphsOf = (text) => text.split(/\r?\n[^\S\n]*(?:\r?\n[^\S\n]*)+/).filter((part) => part.trim());

// Lines of paragraphs are long but for the last, and most end in the middle of a sentence.
function isWrapped(text) {
  const inside = paragraphsOf(text).flatMap((paragraph) => linesOf(paragraph).slice(0, -1));
  const isOpen = (line) => line.trim().length >= SHORTEST_WRAPPED && !END.test(line);
  return inside.length > 1 && paragraphsOf(text).length > 1 && inside.filter(isOpen).length > inside.length / 2;
}

function update() {
  const isByLine = choice("line")?.checked ?? true;
  const texts = boxes().map((box) => box.querySelector("textarea").value);
  const names = boxes().map((box) => box.querySelector("[data-testid=block-info]").textContent.trim());
  const counted = texts.map((text) => (isByLine ? linesOf(text) : paragraphsOf(text)).length);
  count.textContent = names.map((name, index) => `${name}: ${counted[index]}`).join(" \u00b7 ");
  dispatchEvent(new CustomEvent("e5-counted", { detail: count.textContent }));
  const wrapped = texts.findIndex((text) => isByLine && isWrapped(text));
  offer.hidden = wrapped < 0;
  if (wrapped < 0) return;
  const n_paragraphs = paragraphsOf(texts[wrapped]).length;
  offer.querySelector("span").textContent = `${names[wrapped]} look like ${n_paragraphs} texts with blank lines between them.`;
}

offer.querySelector("button").addEventListener("click", () => choice("blank_line").click());
addEventListener("input", (event) => event.target instanceof Element && event.target.closest("#e5-inputs") && update());
addEventListener("e5-form", () => setTimeout(update, 50)); // of share_link.py; the boxes show it a moment later
update();
