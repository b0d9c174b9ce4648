// Reports to the server that the page of the session props.value is open. Given by Gradio: props.
// After a laptop slept or a network changed, nothing else reports it.
const EVERY_MS = 60_000;

function report() {
  if (props.value) fetch(`e5studio/present/${props.value}`, { method: "POST" }).catch(() => {}); // the next report may arrive
}

setInterval(report, EVERY_MS);
addEventListener("online", report);
document.addEventListener("visibilitychange", () => document.hidden || report());
