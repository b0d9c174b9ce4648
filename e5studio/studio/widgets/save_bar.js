// Asks for files and hands them to the browser to save. Gradio provides element, trigger, props, watch.
const bar = element.querySelector(".e5-save");
const fault = element.querySelector(".e5-save-fault");

function savePicture(format) {
  const plot = document.querySelector(`#${bar.dataset.plot} .e5-plot`);
  plot.dispatchEvent(new CustomEvent("e5-save", { bubbles: true, detail: format }));
}

function receive() {
  const { address, addresses, fault: message } = props.value || {};
  fault.textContent = message || "";
  for (const each of addresses ?? (address ? [address] : [])) {
    const link = document.createElement("a");
    link.href = each;
    link.download = "";
    link.click();
  }
}

for (const button of bar.querySelectorAll(".e5-save-file"))
  button.addEventListener("click", () => trigger("wanted", { kind: button.dataset.kind }));
for (const button of bar.querySelectorAll(".e5-save-picture"))
  button.addEventListener("click", () => savePicture(button.dataset.kind));
watch("value", receive);
