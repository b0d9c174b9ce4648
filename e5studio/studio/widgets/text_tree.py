"""A small tree of elements whose texts never become mark-up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import gradio as gr

from e5studio.studio.widgets.scripts import TREE_SCRIPT, scripted


def text_tree(value: Sequence[Any] = (), *, elem_id: str, live: Literal["off", "polite"] = "off") -> gr.HTML:
    """Shows nodes of `widgets.nodes`; "polite" makes a screen reader say what changes."""
    template = f'<div class="e5-words" aria-live="{live}"></div>'
    return scripted(__file__, template, list(value), before=TREE_SCRIPT, elem_id=elem_id)
