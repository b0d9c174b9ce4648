"""Has the page report from time to time that it is open: Gradio never reopens its own connection for that."""

from __future__ import annotations

import gradio as gr

from e5studio.studio.widgets.scripts import scripted


def presence(elem_id: str) -> gr.HTML:
    """An invisible element; its value is the page's session. See `serving.sessions.SessionMiddleware`."""
    return scripted(__file__, "<span hidden></span>", elem_id=elem_id)
