() => {
  const isWritten = (node) => node.matches("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]");

  function score(event) {
    const button = document.querySelector("button#e5-score");
    if (!button || button.disabled) return;
    event.preventDefault();
    // The text box sends what was typed when it loses the focus.
    setTimeout(() => button.click(), 0);
  }

  // 1 opens the first tab, 2 the second, unless the focus is in a text box.
  function openTab(event) {
    const tab = document.querySelectorAll("#e5-tabs [role=tab]")[Number(event.key) - 1];
    if (!tab || isWritten(event.target)) return;
    event.preventDefault();
    tab.click();
    tab.focus();
  }

  document.addEventListener("keydown", (event) => {
    const isHeld = event.ctrlKey || event.metaKey;
    if (event.key === "Enter" && isHeld) score(event);
    else if (/^[1-9]$/.test(event.key) && !isHeld && !event.altKey) openTab(event);
  });

  // On a phone Gradio hides the link to the API but not the dot behind it, which our style sheets do not reach.
  const style = document.createElement("style");
  style.textContent = "@media (max-width: 640px) { footer .divider { display: none } }";
  document.head.append(style);
}
