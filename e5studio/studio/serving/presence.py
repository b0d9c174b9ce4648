"""Has the page say now and then that it is open: Gradio's own connection for that is never made again once it broke."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

_SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def presence(elem_id: str) -> gr.HTML:
    """Nothing to see; its value is the page's session. See `e5studio.studio.serving.sessions.SessionMiddleware`."""
    return gr.HTML(
        None, html_template="<span hidden></span>", js_on_load=_SCRIPT, elem_id=elem_id, apply_default_css=False
    )
