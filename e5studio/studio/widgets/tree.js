// Builds [tag, class, ...children] with text nodes only; a progress bar's child is its share.
const TAGS = new Set(["b", "code", "dd", "details", "div", "dl", "dt", "h3", "li", "p", "pre", "progress", "span", "strong", "summary", "ul"]);

function build(node) {
  if (typeof node === "string") return document.createTextNode(node);
  const [tag, className, ...children] = node;
  const built = document.createElement(TAGS.has(tag) ? tag : "span");
  if (className) built.className = className;
  if (tag === "progress") children.forEach((share) => (built.value = Number(share)));
  else built.append(...children.map(build));
  return built;
}
