"""A small tree of elements whose texts never become mark-up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import gradio as gr

_SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def text_tree(value: Sequence[Any] = (), *, elem_id: str, live: Literal["off", "polite"] = "off") -> gr.HTML:
    """Shows nodes of `widgets.nodes`; "polite" makes a screen reader say what changes."""
    return gr.HTML(
        list(value),
        html_template=f'<div class="e5-words" aria-live="{live}"></div>',
        js_on_load=_SCRIPT,
        elem_id=elem_id,
        apply_default_css=False,
    )
