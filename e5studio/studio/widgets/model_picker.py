"""The list of models in groups, each with its facts; native radio buttons inside a native disclosure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

_SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
_TEMPLATE = (
    '<details class="e5-models"><summary class="e5-models-chosen"></summary>'
    '<div class="e5-models-list" role="radiogroup" aria-label="Model"></div></details>'
)


def model_picker(value: str, models: Sequence[dict[str, Any]], *, elem_id: str) -> gr.HTML:
    """Chooses a model; the value is its name, `choose` fires when a person chooses another.

    The value comes from a browser: callbacks must look it up, not trust it.

    Args:
        value: Name of the chosen model.
        models: The fields of an `e5studio.studio.engine.catalog.ModelCard` for each.
        elem_id: Of the component.
    """
    return gr.HTML(
        value,
        html_template=_TEMPLATE,
        js_on_load=_SCRIPT,
        elem_id=elem_id,
        apply_default_css=False,
        models=list(models),
    )
