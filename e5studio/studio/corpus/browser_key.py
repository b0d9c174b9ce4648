"""The token of the visitor's store, which the browser keeps until its tab is closed."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

_SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def browser_key(elem_id: str) -> gr.HTML:
    """Fires `opened` with {"token": ...} once, as the page is loaded; its value is the token to store."""
    return gr.HTML(
        None, html_template="<span hidden></span>", js_on_load=_SCRIPT, elem_id=elem_id, apply_default_css=False
    )
