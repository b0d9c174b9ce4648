// Writes props.value, a list of nodes. Gradio provides element, props, watch; tree.js build.
const root = element.querySelector(".e5-words");

function update() {
  root.replaceChildren(...(props.value || []).map(build));
}

watch("value", update);
update();
