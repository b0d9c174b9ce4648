// Stores props.value for this browser tab and sends it back after a reload, with what was chosen.
// Gradio provides trigger, props, watch; browser_key.py CHOICES.
const NAME = "e5-shelf";

function stored(name, read) {
  try {
    return read(sessionStorage.getItem(name));
  } catch {
    return null; // storage is switched off, or something else wrote there: a reload starts over
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
trigger("opened", { token: stored(NAME, (token) => token), choices: stored(CHOICES, JSON.parse) });
