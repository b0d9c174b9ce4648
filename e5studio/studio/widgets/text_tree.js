// Writes props.value, a list of [tag, class, ...children], with text nodes only; a progress bar's child is its share.
// Gradio provides element, props, watch.
const TAGS = new Set(["b", "code", "dd", "details", "div", "dl", "dt", "h3", "li", "p", "pre", "progress", "span", "strong", "summary", "ul"]);
const root = element.querySelector(".e5-words");

function build(node) {
  if (typeof node === "string") return document.createTextNode(node);
  const [tag, className, ...children] = node;
  const built = document.createElement(TAGS.has(tag) ? tag : "span");
  if (className) built.className = className;
  if (tag === "progress") children.forEach((share) => (built.value = Number(share)));
  else built.append(...children.map(build));
  return built;
}

function update() {
  root.replaceChildren(...(props.value || []).map(build));
}

watch("value", update);
update();
