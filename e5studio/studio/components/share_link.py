"""Links that carry the texts and the choices of the page in the URL's hash, which no browser sends to a server."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

_SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
_MAX_HASH = 32_000  # what browsers, chats and e-mails carry

# Packs the values of the inputs that it is given; the order is that of `studio.link.FIELDS`.
PACK = """async (...values) => {
  const names = %s;
  const state = Object.fromEntries(names.map((name, place) => [name, values[place]]));
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
  try {
    await navigator.clipboard.writeText(location.href);
    told("Link copied. It holds the texts themselves; nothing is stored.");
  } catch {
    told("The link is in the address bar. It holds the texts themselves; nothing is stored.");
  }
}"""


def share_link(elem_id: str) -> gr.HTML:
    """Its `opened` event brings what the page's own link holds: {"state": {...}}, or None where it is damaged."""
    return gr.HTML(
        None,
        html_template='<p class="e5-link-told e5-hint" role="status"></p>',
        js_on_load=_SCRIPT,
        elem_id=elem_id,
        apply_default_css=False,
    )


def pack_script(names: tuple[str, ...]) -> str:
    """The script of a button whose inputs are these, in this order."""
    return PACK % (list(names), _MAX_HASH)
