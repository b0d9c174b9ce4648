"""The list of models in groups, each with its facts; native radio buttons inside a native disclosure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from e5studio.studio.widgets.scripts import MAKE_SCRIPT, scripted

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
    return scripted(__file__, _TEMPLATE, value, before=MAKE_SCRIPT, elem_id=elem_id, models=list(models))
