// Tells the server that the page of the session props.value is open. Given by Gradio: props.
// After a laptop slept or a network changed, nothing else does.
const EVERY_MS = 60_000;

function tell() {
  if (props.value) fetch(`e5studio/present/${props.value}`, { method: "POST" }).catch(() => {}); // the next one may arrive
}

setInterval(tell, EVERY_MS);
addEventListener("online", tell);
document.addEventListener("visibilitychange", () => document.hidden || tell());
