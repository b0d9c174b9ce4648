"""Links that carry the texts and the choices of the page in the URL's hash, and the browser's own note of both.

Neither is sent to a server: browsers keep the hash to themselves, and the note ends with its tab.
"""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr

_SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
_MAX_HASH = 32_000  # what browsers, chats and e-mails carry
_KEPT = "e5-inputs"  # its name in the tab's session storage
_MAX_KEPT = 1_000_000  # characters; browsers give a page some 5 MB

# Packs the values that it is given: first those of `studio.link.FIELDS`, then those of `VIEW_FIELDS`.
PACK = """async (...values) => {
  const named = (names, first) => Object.fromEntries(names.map((name, place) => [name, values[first + place]]));
  const [fields, view] = %s;
  const open = document.querySelector("#e5-tabs [role=tab][aria-selected=true]");
  const tab = open ? open.dataset.tabId : "scores";
  const state = { ...named(fields, 0), view: { ...named(view, fields.length), tab } };
  const told = (text) => (document.querySelector("#e5-link .e5-link-told").textContent = text);
  const stream = new Blob([JSON.stringify(state)]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  const packed = btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  if (packed.length > %d) {
    told("These texts are too long for a link.");
    return;
  }
  history.replaceState(null, "", "#s=" + packed);
  const isLoopback = /^(localhost|127[.0-9]+|\\[::1\\])$/.test(location.hostname);
  const reach = isLoopback
    ? " It opens on this computer only. For others: Save, page, JSON; or start E5 Studio with --host."
    : "";
  try {
    await navigator.clipboard.writeText(location.href);
    told("Link copied. It holds the texts themselves; nothing is stored." + reach);
  } catch {
    told("The link is in the address bar. It holds the texts themselves; nothing is stored." + reach);
  }
}"""

# Notes the values of `studio.link.FIELDS` where a reload of this tab finds them.
_KEEP = """(...values) => {
  const fields = %s;
  const kept = JSON.stringify(Object.fromEntries(fields.map((name, place) => [name, values[place]])));
  try {
    if (kept.length > %d) sessionStorage.removeItem(%s); // older texts would be worse than none
    else sessionStorage.setItem(%s, kept);
  } catch {
    // The browser keeps nothing: a reload then begins anew.
  }
  return [];
}"""


def share_link(fields: tuple[str, ...], elem_id: str) -> gr.HTML:
    """Opens the page's own link, files that were saved from the page, and what `keep_script` noted before a reload.

    Its `opened` event brings what either holds: {"state": {...}}, or None where it is damaged; with "is_kept" where it
    is the tab's own. The value says what is next, as {"then": ...}: "score" presses Score, "restore" fires the event
    `restore`. Of what a link or a file holds, only `fields` and "view" are brought. The event `typed` tells at once
    that a person has changed the inputs, and that a link in the address was therefore removed; `edited` tells it when
    Gradio knows the new inputs.
    """
    names = f"const FIELDS = {json.dumps([*fields, 'view'])}, KEPT = {json.dumps(_KEPT)};"
    return gr.HTML(
        None,
        html_template=(
            '<label class="e5-open-file"><span>Open a saved page</span>'
            '<input type="file" accept=".json,application/json"></label>'
            '<p class="e5-link-told e5-hint" role="status"></p>'
        ),
        js_on_load=f"{names}\n{_SCRIPT}",
        elem_id=elem_id,
        apply_default_css=False,
    )


def pack_script(fields: tuple[str, ...], view_fields: tuple[str, ...]) -> str:
    """The script of a button whose inputs are these, in this order."""
    return PACK % (json.dumps([fields, view_fields]), _MAX_HASH)


def keep_script(fields: tuple[str, ...]) -> str:
    """The script of an event whose inputs are these, in this order: a reload of the tab brings them back."""
    key = json.dumps(_KEPT)
    return _KEEP % (json.dumps(fields), _MAX_KEPT, key, key)
