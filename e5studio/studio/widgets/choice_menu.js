// A menu of props.choices; props.value is the chosen one's. Gradio provides element, trigger, props, watch; make.js make.
const menu = element.querySelector("select");

function option({ title, value, reason }) {
  const item = make("option", "", reason ? `${title} (${reason})` : title);
  item.value = value;
  item.disabled = Boolean(reason);
  return item;
}

function write() {
  const groups = [...new Set(props.choices.map((choice) => choice.group))];
  const parts = groups.map((group) => {
    const items = props.choices.filter((choice) => choice.group === group).map(option);
    if (!group) return items;
    const part = make("optgroup", "", ...items);
    part.label = group;
    return [part];
  });
  menu.replaceChildren(...parts.flat());
  show();
}

function show() {
  menu.value = props.value;
}

menu.addEventListener("change", () => {
  props.value = menu.value;
  trigger("choose");
});
watch("choices", write);
watch("value", show);
write();
