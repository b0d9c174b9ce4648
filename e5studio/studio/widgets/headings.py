"""Headings of the page, in the visitor's language."""

from __future__ import annotations

from typing import Literal

import gradio as gr


def heading(title: str, *, level: Literal[2, 3, 4] = 3) -> gr.HTML:
    """A heading; its title is a key of `e5studio.studio.widgets.labels`."""
    return gr.HTML(f'<h{level} class="e5-heading">{title}</h{level}>', apply_default_css=False)
