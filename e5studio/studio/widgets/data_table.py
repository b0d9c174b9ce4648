"""A table that sorts: the numbers of a plot for eyes, keyboards and screen readers."""

from __future__ import annotations

import gradio as gr

from e5studio.studio.widgets.scripts import MAKE_SCRIPT, PAYLOAD_SCRIPT, scripted

_TEMPLATE = (
    '<div class="e5-table" tabindex="0" role="region"></div>'
    '<button type="button" class="e5-show-all" hidden></button><p class="e5-table-note e5-hint"></p>'
    '<p class="e5-table-copy" hidden>Copy '
    '<button type="button" data-form="markdown" aria-label="Copy the table as Markdown">Markdown</button>'
    '<button type="button" data-form="tsv" aria-label="Copy the table as TSV, for spreadsheets">TSV</button></p>'
)


def data_table_view(elem_id: str) -> gr.HTML:
    """Shows a `TableView`, as `Downloads.as_payload` gives it; `pick` says which row was clicked."""
    return scripted(__file__, _TEMPLATE, before=MAKE_SCRIPT + PAYLOAD_SCRIPT, elem_id=elem_id)
