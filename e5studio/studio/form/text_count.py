"""How many texts the boxes hold, counted in the browser as they are typed."""

from __future__ import annotations

import gradio as gr

from e5studio.studio.widgets.scripts import scripted

_TEMPLATE = (
    '<p class="e5-hint"></p><p class="e5-paragraphs" role="status" hidden><span></span> '
    '<button type="button" class="e5-pick">Use that</button></p>'
)


def text_count(elem_id: str) -> gr.HTML:
    """Counts the texts; offers blank lines as ends of texts where the lines are those of wrapped paragraphs."""
    return scripted(__file__, _TEMPLATE, elem_id=elem_id)
