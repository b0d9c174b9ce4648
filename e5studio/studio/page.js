() => {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    const button = document.querySelector("button#e5-score");
    if (!button || button.disabled) return;
    event.preventDefault();
    // The text box sends what was typed when it loses the focus at the latest.
    setTimeout(() => button.click(), 0);
  });
}
