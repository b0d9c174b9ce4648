"""Programs to copy or save, one of several at a time; which one is chosen is the browser's own affair."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from e5studio.studio.widgets.scripts import PAYLOAD_SCRIPT

_SCRIPT = PAYLOAD_SCRIPT + Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
_TEMPLATE = """<div class="e5-programs" hidden>
  <div class="e5-program-choice" role="radiogroup"></div>
  <div class="e5-program">
    <div class="e5-program-bar"><span class="e5-program-file"></span>
      <span class="e5-program-told" role="status"></span>
      <span class="e5-program-buttons"><button type="button" class="e5-program-copy"></button>
        <button type="button" class="e5-program-save"></button></span>
    </div>
    <pre class="e5-program-code" tabindex="0" role="region"></pre>
  </div>
</div>
<p class="e5-program-fault e5-error" role="status"></p>"""


def code_view(elem_id: str) -> gr.HTML:
    """An empty place for programs; its value is {"programs": [{"title", "file_name", "language", "code"}, ...]}.

    As `e5studio.studio.serving.downloads.as_payload` gives it. Only our script reads it, which writes text nodes.
    """
    return gr.HTML(None, html_template=_TEMPLATE, js_on_load=_SCRIPT, elem_id=elem_id, apply_default_css=False)
