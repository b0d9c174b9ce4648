// Opens the guide, and the card of a word of its glossary: widgets/tree.js makes these words buttons. Gradio provides
// element.
const guide = element.querySelector(".e5-guide");
const card = element.querySelector(".e5-card");
const EDGE = 12;

element.querySelector(".e5-guide-open").addEventListener("click", () => guide.showModal());
guide.addEventListener("click", (event) => event.target === guide && guide.close()); // beside the dialog

function showCard(word) {
  const term = guide.querySelectorAll("dt")[Number(word.dataset.term)];
  const name = document.createElement("b");
  name.textContent = term.textContent;
  const meaning = document.createElement("p");
  meaning.textContent = term.nextElementSibling.textContent;
  card.replaceChildren(name, meaning);
  card.showPopover();
  const at = word.getBoundingClientRect();
  const { width, height } = card.getBoundingClientRect();
  card.style.left = Math.max(EDGE, Math.min(at.left, innerWidth - width - EDGE)) + "px";
  card.style.top = (at.bottom + height + EDGE > innerHeight ? Math.max(EDGE, at.top - height - 6) : at.bottom + 6) + "px";
  card.focus({ preventScroll: true }); // a screen reader reads it; Escape leads back to the word
}

document.addEventListener("click", (event) => {
  const word = event.target instanceof Element && event.target.closest(".e5-term");
  if (word) showCard(word);
});
addEventListener("scroll", () => card.hidePopover(), { passive: true });
