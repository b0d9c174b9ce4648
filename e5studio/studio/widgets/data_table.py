"""A table that sorts: the numbers of a plot for eyes, keyboards and screen readers."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from e5studio.studio.widgets.scripts import PAYLOAD_SCRIPT

_SCRIPT = PAYLOAD_SCRIPT + Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def data_table_view(elem_id: str) -> gr.HTML:
    """Shows a `TableView`, as `Downloads.as_payload` gives it; `pick` says which row was clicked."""
    return gr.HTML(
        None,
        html_template=(
            '<label class="e5-best-only" hidden><input type="checkbox"> <span></span></label>'
            '<div class="e5-table" tabindex="0" role="region"></div>'
        ),
        js_on_load=_SCRIPT,
        elem_id=elem_id,
        apply_default_css=False,
    )
