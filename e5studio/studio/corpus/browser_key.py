"""The token of the visitor's store, which the browser keeps until its tab is closed."""

from __future__ import annotations

import gradio as gr

from e5studio.studio.widgets.scripts import scripted


def browser_key(elem_id: str) -> gr.HTML:
    """Fires `opened` with {"token": ...} once, as the page is loaded; its value is the token to store."""
    return scripted(__file__, "<span hidden></span>", elem_id=elem_id)
