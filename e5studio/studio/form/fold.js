// Folds the form on a phone; the class only counts there. Gradio provides element.
const bar = element.querySelector(".e5-fold");
const inputs = () => document.querySelector("#e5-inputs");

function unfold(isOpen) {
  inputs().classList.toggle("e5-unfolded", isOpen);
  bar.setAttribute("aria-expanded", isOpen);
  bar.querySelector("b").textContent = isOpen ? "Done" : "Edit";
}

function name(count) {
  const model = document.querySelector("#e5-model .e5-models-chosen .e5-model-name");
  bar.querySelector("span").textContent = [model?.textContent, count].filter(Boolean).join(" \u00b7 ");
}

bar.addEventListener("click", () => unfold(!inputs().classList.contains("e5-unfolded")));
addEventListener("click", (event) => event.target instanceof Element && event.target.closest("button#e5-score") && unfold(false));
addEventListener("e5-counted", (event) => name(event.detail)); // of text_count.js
unfold(false);
