// Lists props.models in groups; props.value is the chosen name. Gradio provides element, trigger, props, watch.
const details = element.querySelector(".e5-models");
const chosen = element.querySelector(".e5-models-chosen");
const list = element.querySelector(".e5-models-list");

function describe(model) {
  const download = make("span", model.is_here ? "e5-here" : "e5-not-here", model.location);
  const badge = model.is_stand_in ? [" ", make("span", "e5-badge", "Stand-in")] : [];
  const head = make("span", "e5-model-head", make("span", "e5-model-name", model.short_name, ...badge), download);
  const size = [model.parameters + " weights", model.embed_dim + " dimensions"];
  const facts = [model.languages, ...size].filter(Boolean).join(" \u00b7 ");
  const advice = model.advice ? [make("span", "e5-model-advice", model.advice)] : [];
  const figures = model.figures ? [make("span", "e5-model-facts", model.figures)] : [];
  return [head, ...advice, make("span", "e5-model-facts", facts), ...figures];
}

function option(model) {
  const radio = make("input");
  radio.type = "radio";
  radio.name = element.id + "-model";
  radio.value = model.name;
  radio.checked = model.name === props.value;
  radio.addEventListener("change", () => {
    props.value = model.name;
    show();
    trigger("choose");
  });
  // A mouse click closes the list; arrow keys move through it, so they must not.
  radio.addEventListener("click", (event) => event.detail > 0 && close());
  radio.addEventListener("keydown", (event) => {
    if (!["Enter", "Escape"].includes(event.key)) return;
    event.preventDefault(); // or the key would go on to the summary and open the list again
    close();
  });
  return make("label", "e5-model", radio, ...describe(model));
}

function close() {
  details.open = false;
  chosen.focus();
}

function show() {
  const model = props.models.find((candidate) => candidate.name === props.value);
  chosen.replaceChildren();
  if (model) chosen.append(...describe(model));
  for (const radio of list.querySelectorAll("input")) radio.checked = radio.value === props.value;
}

function write() {
  const groups = [...new Set(props.models.map((model) => model.group))];
  list.replaceChildren(
    ...groups.map((group) => {
      const options = props.models.filter((model) => model.group === group).map(option);
      return make("fieldset", "e5-model-group", make("legend", "", group), ...options);
    }),
  );
  show();
}

watch("models", write);
watch("value", show);
write();
