"""The bar that stands for the form on a phone, where the form would fill the first screen."""

from __future__ import annotations

import gradio as gr

from e5studio.studio.widgets.scripts import scripted

_TEMPLATE = '<button type="button" class="e5-fold" aria-expanded="false"><span></span><b></b></button>'


def fold(elem_id: str) -> gr.HTML:
    """Shows and hides all of `#e5-inputs` but itself and the Score button; form.css hides it where there is room."""
    return scripted(__file__, _TEMPLATE, elem_id=elem_id)
