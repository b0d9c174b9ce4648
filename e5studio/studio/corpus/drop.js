// Hands a file that is dropped on the page to the Corpus tab. Gradio provides element.
const INPUT = "#e5-corpus-file input[type=file]";
const note = element.querySelector(".e5-drop");

const hasFile = (event) => event.dataTransfer?.types.includes("Files");

// The tab and its set-up are on the page only once they are opened.
async function fileInput() {
  [...document.querySelectorAll("#e5-tabs [role=tab]")].find((tab) => tab.textContent.trim() === "Corpus")?.click();
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const input = document.querySelector(INPUT);
    if (input) return input;
    document.querySelector("#e5-corpus-file [aria-label=Clear]")?.click();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return null;
}

async function take(files) {
  const input = await fileInput();
  if (!input) return;
  input.files = files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

addEventListener("dragover", (event) => {
  if (!hasFile(event)) return;
  event.preventDefault();
  note.hidden = false;
});
addEventListener("dragleave", (event) => event.relatedTarget || (note.hidden = true));
addEventListener("drop", (event) => {
  note.hidden = true;
  if (!hasFile(event) || event.defaultPrevented) return; // a box of its own has it
  event.preventDefault();
  take(event.dataTransfer.files);
});
