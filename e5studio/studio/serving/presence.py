"""Has the page report from time to time that it is open: Gradio never reopens its own connection for that."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

_SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def presence(elem_id: str) -> gr.HTML:
    """An invisible element; its value is the page's session. See `serving.sessions.SessionMiddleware`."""
    return gr.HTML(
        None, html_template="<span hidden></span>", js_on_load=_SCRIPT, elem_id=elem_id, apply_default_css=False
    )
