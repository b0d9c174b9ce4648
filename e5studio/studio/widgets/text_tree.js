// Writes props.value, a list of nodes. Gradio provides element, props, watch; tree.js build.
const root = element.querySelector(".e5-words");

function update() {
  root.replaceChildren(...(props.value || []).map(build));
  // A long text can be scrolled by keys, and its strongest mark comes into sight.
  for (const text of root.querySelectorAll(".e5-marked")) {
    if (text.scrollHeight <= text.clientHeight) continue;
    text.tabIndex = 0;
    const strongest = text.querySelector("[class^='e5-holds-up-3']");
    if (strongest) text.scrollTop = strongest.offsetTop - text.offsetTop - 40;
  }
}

watch("value", update);
update();
