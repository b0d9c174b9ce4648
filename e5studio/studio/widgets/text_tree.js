// Writes props.value, a list of [tag, class, ...children], with text nodes only; a progress bar's child is its share.
// Given by Gradio: element, props, watch.
const TAGS = new Set(["b", "code", "dd", "details", "div", "dl", "dt", "h3", "li", "p", "pre", "progress", "span", "strong", "summary", "ul"]);
const place = element.querySelector(".e5-words");

function build(node) {
  if (typeof node === "string") return document.createTextNode(node);
  const [tag, className, ...children] = node;
  const made = document.createElement(TAGS.has(tag) ? tag : "span");
  if (className) made.className = className;
  if (tag === "progress") children.forEach((share) => (made.value = Number(share)));
  else made.append(...children.map(build));
  return made;
}

function update() {
  place.replaceChildren(...(props.value || []).map(build));
}

watch("value", update);
update();
