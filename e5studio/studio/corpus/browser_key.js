// Keeps props.value in the tab's own storage, and brings it back after a reload. Given by Gradio: trigger, props, watch.
const NAME = "e5-shelf";

function stored() {
  try {
    return sessionStorage.getItem(NAME);
  } catch {
    return null; // storage is switched off: then a reload begins anew
  }
}

function keep() {
  try {
    if (props.value) sessionStorage.setItem(NAME, props.value);
  } catch {
    return; // as above
  }
}

watch("value", keep);
trigger("opened", { token: stored() });
