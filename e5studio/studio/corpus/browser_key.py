"""The token of the visitor's store, and what was chosen for its texts: kept by the browser's tab."""

from __future__ import annotations

import json

import gradio as gr

from e5studio.studio.form.share_link import choices_script
from e5studio.studio.widgets.scripts import scripted

_CHOICES = "e5-corpus-view"


def browser_key(elem_id: str) -> gr.HTML:
    """Fires `opened` once, as the page is loaded, with {"token": ..., "choices": ...}; its value is the token to store.

    The choices are what `note_choices` noted, as names and values, or None.
    """
    return scripted(
        __file__, "<span hidden></span>", before=f"const CHOICES = {json.dumps(_CHOICES)};\n", elem_id=elem_id
    )


def note_choices(names: tuple[str, ...]) -> str:
    """The script of an event whose inputs have these names: `opened` brings their values after a reload."""
    return choices_script(names, _CHOICES)
