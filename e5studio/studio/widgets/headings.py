"""Headings of the page."""

from __future__ import annotations

from typing import Literal

import gradio as gr


def heading(title: str, *, level: Literal[2, 3, 4] = 3) -> gr.HTML:
    """A heading within a tab or a panel."""
    return gr.HTML(f'<h{level} class="e5-heading">{title}</h{level}>', apply_default_css=False)
