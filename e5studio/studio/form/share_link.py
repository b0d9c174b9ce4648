"""Links that carry texts and choices in the URL's hash, and a note of them in the browser's tab.

Neither is sent to a server: browsers send no hash, and the note ends with its tab.
"""

from __future__ import annotations

import json
import secrets
from typing import Literal

import gradio as gr

from e5studio.studio.widgets.scripts import scripted

_MAX_HASH = 32_000  # what browsers, chats and e-mails carry
_NOTE = "e5-inputs"  # its name in the tab's session storage
_VIEW_NOTE = "e5-view"
_MAX_NOTE = 1_000_000  # characters; browsers give a page some 5 MB

# Packs the values of `form.link.FIELDS`, then of `page.view_state.VIEW_FIELDS`.
_PACK = """async (...values) => {
  const named = (names, first) => Object.fromEntries(names.map((name, index) => [name, values[first + index]]));
  const [fields, view] = %s;
  const open = document.querySelector("#e5-tabs [role=tab][aria-selected=true]");
  const tab = open ? open.dataset.tabId : "scores";
  const state = { ...named(fields, 0), view: { ...named(view, fields.length), tab } };
  const say = (text) => (document.querySelector("#e5-link .e5-link-told").textContent = text);
  const stream = new Blob([JSON.stringify(state)]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  const packed = btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  if (packed.length > %d) {
    say("These texts are too long for a link.");
    return;
  }
  history.replaceState(null, "", "#s=" + packed);
  const isLoopback = /^(localhost|127[.0-9]+|\\[::1\\])$/.test(location.hostname);
  const reach = isLoopback
    ? " It opens on this computer only. For others: Save, page, HTML below the scores; or start E5 Studio with --host."
    : "";
  try {
    await navigator.clipboard.writeText(location.href);
    say("Link copied. It holds the texts themselves; nothing is stored." + reach);
  } catch {
    say("The link is in the address bar. It holds the texts themselves; nothing is stored." + reach);
  }
}"""

# Notes the values of `form.link.FIELDS` for a reload of this tab, and tells the page's other scripts.
_WRITE_NOTE = """(...values) => {
  dispatchEvent(new CustomEvent("e5-form", { detail: values }));
  const fields = %s;
  const note = JSON.stringify(Object.fromEntries(fields.map((name, index) => [name, values[index]])));
  try {
    if (note.length > %d) sessionStorage.removeItem(%s); // older texts would be worse than none
    else sessionStorage.setItem(%s, note);
  } catch {
    // The browser stores nothing: a reload then starts from the example.
  }
  return [];
}"""

# Notes the values of some components for a reload of this tab.
_WRITE_CHOICES = """(...values) => {
  const names = %s;
  try {
    sessionStorage.setItem(%s, JSON.stringify(Object.fromEntries(names.map((name, index) => [name, values[index]]))));
  } catch {
    // As above.
  }
  return [];
}"""

_TEMPLATE = (
    '<label class="e5-open-file"><span>Open a saved page</span>'
    '<input type="file" class="e5-hidden" accept=".json,application/json"></label>'
    '<p class="e5-link-told e5-hint" role="status"></p>'
)


def share_link(fields: tuple[str, ...], elem_id: str) -> gr.HTML:
    """Opens links to the page, files that were saved from it, and what `note_script` noted before a reload.

    Events:
        opened: Brings {"state": {...}}, with "is_note" where this tab noted it; the state is None where it is damaged.
            It holds `fields` and "view", nothing else.
        edited: A person has changed the form, and Gradio knows what was typed; a link in the address is removed.
        rescore: The texts should be scored. Its "cause" is "press" of the Score button, "arrival" where a page was
            opened without texts of its own, "typing" a moment after a few texts were changed, "filled" where the value
            asked for it.
        restore: The value asked for it.

    The value says what comes next, as `next_step` makes it: "score" fires `rescore`, "restore" fires `restore`.
    """
    settings = {"fields": [*fields, "view"], "note": _NOTE, "view_note": _VIEW_NOTE}
    return scripted(__file__, _TEMPLATE, settings=settings, elem_id=elem_id)


def next_step(step: Literal["score", "restore", "nothing"]) -> dict[str, str]:
    """The value that makes the script take a step; a mark makes each a new value, or the page would not notice it."""
    return {"then": step, "mark": secrets.token_hex(4)}


def pack_script(fields: tuple[str, ...], view_fields: tuple[str, ...]) -> str:
    """The script of a button whose inputs are these, in this order."""
    return _PACK % (json.dumps([fields, view_fields]), _MAX_HASH)


def note_script(fields: tuple[str, ...]) -> str:
    """The script of an event whose inputs are these, in this order: a reload of the tab brings them back."""
    key = json.dumps(_NOTE)
    return _WRITE_NOTE % (json.dumps(fields), _MAX_NOTE, key, key)


def choices_script(names: tuple[str, ...], note: str = _VIEW_NOTE) -> str:
    """The script of an event whose inputs have these names: it notes their values for a reload of the tab."""
    return _WRITE_CHOICES % (json.dumps(names), json.dumps(note))
