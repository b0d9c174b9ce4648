// Builds [tag, class, ...children] with text nodes only; a progress bar's child is its share. A node "pick" is a button,
// whose key stands in place of a class. Gradio provides trigger.
const TAGS = new Set(["b", "code", "dd", "details", "div", "dl", "dt", "h3", "li", "p", "pre", "progress", "span", "strong", "summary", "ul"]);
const DIRECTED = /\be5-(marked|text)\b/;

function build(node) {
  if (typeof node === "string") return document.createTextNode(node);
  const [tag, className, ...children] = node;
  if (tag === "pick") return pickButton(className, children);
  const built = document.createElement(TAGS.has(tag) ? tag : "span");
  if (className) built.className = className;
  if (DIRECTED.test(className)) built.dir = "auto"; // a visitor's text, which may run from right to left
  if (tag === "progress") children.forEach((share) => (built.value = Number(share)));
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
