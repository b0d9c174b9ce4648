"""A file that is dropped anywhere on the page goes to Corpus; the browser would open it in place of the page."""

from __future__ import annotations

import gradio as gr

from e5studio.studio.widgets.scripts import scripted


def drop_anywhere(elem_id: str) -> gr.HTML:
    """Watches the whole page; shows nothing but where a file may be dropped."""
    return scripted(__file__, '<p class="e5-drop" hidden>Drop the file: it goes to Corpus</p>', elem_id=elem_id)
