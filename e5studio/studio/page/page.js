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

  // The open tab stands in the address, so that Back returns to the one before; a link with texts stays as it is.
  const tabIn = (hash) => /^#tab=(\w+)$/.exec(hash)?.[1] ?? "scores";
  const select = () => document.querySelector(`#e5-tabs [role=tab][data-tab-id="${tabIn(location.hash)}"]`)?.click();
  document.addEventListener("click", (event) => {
    const id = event.target instanceof Element && event.target.closest("#e5-tabs [role=tab]")?.dataset.tabId;
    if (!id || location.hash.startsWith("#s=") || tabIn(location.hash) === id) return;
    history.pushState(null, "", id === "scores" ? location.pathname + location.search : "#tab=" + id);
  });
  addEventListener("popstate", () => location.hash.startsWith("#s=") || select());
  if (location.hash.startsWith("#tab=")) select();

  for (const box of document.querySelectorAll("#e5-inputs textarea")) box.dir = "auto";
  const isMac = /Mac|iPhone|iPad/.test(navigator.userAgent);
  const button = document.querySelector("button#e5-score");
  if (button) button.title = isMac ? "⌘ Return" : "Ctrl + Enter";
  // Without a connection nothing is up to date, and a green status would say that it is.
  for (const change of ["offline", "online"])
    addEventListener(change, () => document.body.classList.toggle("e5-offline", change === "offline"));

  // A single link has a dot behind it, which our style sheets do not reach.
  const style = document.createElement("style");
  style.textContent = "footer .divider { display: none }";
  document.head.append(style);
}
