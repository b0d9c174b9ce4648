// Stores props.value for this browser tab and sends it back after a reload. Given by Gradio: trigger, props, watch.
const NAME = "e5-shelf";

function stored() {
  try {
    return sessionStorage.getItem(NAME);
  } catch {
    return null; // storage is switched off: a reload starts over
  }
}

function store() {
  try {
    if (props.value) sessionStorage.setItem(NAME, props.value);
  } catch {
    return; // as above
  }
}

watch("value", store);
trigger("opened", { token: stored() });
