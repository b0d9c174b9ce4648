// Builds [tag, class, ...children] with text nodes only; a progress bar's child is its share. A node "pick" is a button,
// whose key stands in place of a class. A word of the guide's glossary in a sentence becomes a button that opens its card.
// Gradio provides trigger.
const TAGS = new Set(["b", "code", "dd", "details", "div", "dl", "dt", "h3", "li", "p", "pre", "progress", "span", "strong", "summary", "ul"]);
const DIRECTED = /\be5-(marked|text)\b/;

const SENTENCES = new Set(["p", "li"]);
const explained = new Set(); // terms that have a button in the tree that is being built

// The glossary's terms: a pattern of all their words, and the number of the term that each belongs to.
function readGlossary() {
  const numbers = new Map();
  for (const [number, term] of document.querySelectorAll(".e5-guide dt").entries())
    for (const words of term.dataset.words.split("|")) numbers.set(words, number);
  const longestFirst = [...numbers.keys()].sort((a, b) => b.length - a.length);
  return { numbers, pattern: new RegExp(`(?<![\\w-])(${longestFirst.join("|")})(?![\\w-])`, "i") };
}
let glossary;

// A sentence whose terms are buttons, each the first time in a tree.
function explain(text) {
  if (!glossary?.numbers.size) glossary = readGlossary();
  if (!glossary.numbers.size) return [text];
  if (!explained.size) queueMicrotask(() => explained.clear());
  return text.split(glossary.pattern).map((part, index) => {
    const number = index % 2 ? glossary.numbers.get(part.toLowerCase()) : undefined;
    if (number === undefined || explained.has(number)) return part;
    explained.add(number);
    const word = document.createElement("button");
    word.type = "button";
    word.className = "e5-term";
    word.dataset.term = number;
    word.textContent = part;
    return word;
  });
}

function build(node) {
  if (typeof node === "string") return document.createTextNode(node);
  const [tag, className, ...children] = node;
  if (tag === "pick") return pickButton(className, children);
  const built = document.createElement(TAGS.has(tag) ? tag : "span");
  if (className) built.className = className;
  if (DIRECTED.test(className)) built.dir = "auto"; // a visitor's text, which may run from right to left
  if (tag === "progress") children.forEach((share) => (built.value = Number(share)));
  else if (SENTENCES.has(tag) && !built.dir) built.append(...children.flatMap((child) => (typeof child === "string" ? explain(child) : build(child))));
  else built.append(...children.map(build));
  return built;
}

function pickButton(key, children) {
  const built = document.createElement("button");
  built.type = "button";
  built.className = "e5-pick";
  built.append(...children);
  built.addEventListener("click", () => trigger("pick", { key }));
  return built;
}
