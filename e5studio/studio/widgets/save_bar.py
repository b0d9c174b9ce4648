"""Buttons that save files that the Studio makes, and the picture that the browser draws."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from e5studio.studio.widgets.scripts import scripted

_NAME = '<span class="e5-save-name">{}</span>'


def save_bar(groups: Sequence[tuple[str, Sequence[tuple[str, str]]]], *, plot: str, elem_id: str) -> gr.HTML:
    """A row of buttons; its `wanted` event carries the kind of a file.

    Args:
        groups: What can be saved: its name, and for each format a title and the kind.
        plot: elem_id of the plot whose picture can be saved.
        elem_id: Of the row.

    The value is the file's address, {"address": ...} or {"addresses": [...]}, or what went wrong, {"fault": ...}.
    """
    pictures = [_button(title, "picture", title.lower(), "e5-save-picture") for title in ("PNG", "SVG")]
    files = [
        _group(name, [_button(title, name, kind, "e5-save-file") for title, kind in choices])
        for name, choices in groups
    ]
    template = (
        f'<div class="e5-save" data-plot="{plot}">{_NAME.format("Save")}{"".join(files)}'
        f"{_group('picture', pictures)}</div>"
        '<p class="e5-save-fault e5-error" role="status"></p>'
    )
    return scripted(__file__, template, elem_id=elem_id, visible=False)


def _group(name: str, buttons: Sequence[str]) -> str:
    return f'<span class="e5-save-group">{_NAME.format(name)}{"".join(buttons)}</span>'


def _button(title: str, name: str, kind: str, css_class: str) -> str:
    label = f"Save {name} as {title}"
    return f'<button type="button" class="{css_class}" data-kind="{kind}" aria-label="{label}">{title}</button>'
