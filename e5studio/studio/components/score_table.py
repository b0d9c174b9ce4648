"""The score matrix as a table that sorts: the heat map's numbers for eyes, keyboards and screen readers."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

_SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def score_table_view(elem_id: str) -> gr.HTML:
    """An empty place for what `e5studio.studio.tables.score_table` makes; `pick` tells which row was clicked."""
    return gr.HTML(
        None,
        html_template=(
            '<label class="e5-best-only" hidden><input type="checkbox"> Best of each only</label>'
            '<div class="e5-table" tabindex="0" role="region"></div>'
        ),
        js_on_load=_SCRIPT,
        elem_id=elem_id,
        apply_default_css=False,
    )
