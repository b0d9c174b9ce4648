"""The list of hits: one column in rank order, every hit with its row of the file."""

from __future__ import annotations

import gradio as gr

from e5studio.studio.widgets.scripts import MAKE_SCRIPT, TREE_SCRIPT, scripted

_TEMPLATE = (
    '<div class="e5-hits-head e5-words" aria-live="polite"></div>'
    '<ol class="e5-hits" role="list"></ol>'
    '<div class="e5-hits-foot" hidden><button type="button" class="e5-hits-more">Show ten more</button>'
    '<button type="button" class="e5-hits-copy">Copy all</button></div>'
)


def hit_list(elem_id: str) -> gr.HTML:
    """Shows the value of `corpus.text.hits`.

    Its events carry the name of a text: `pick` of a hit that was clicked, `like` of one to find more like it; `more`
    wants a longer list.
    """
    return scripted(__file__, _TEMPLATE, before=MAKE_SCRIPT + TREE_SCRIPT, elem_id=elem_id)
