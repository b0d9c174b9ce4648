"""A native drop-down menu in one line; what cannot be chosen stays in it, greyed, with its reason."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import gradio as gr

from e5studio.studio.widgets.scripts import MAKE_SCRIPT, scripted
from e5studio.studio.widgets.table_data import Choice


def choice_menu(label: str, choices: Iterable[Choice], value: str, *, elem_id: str) -> gr.HTML:
    """Chooses one of `choices`; `choose` fires when a person does.

    The value comes from a browser: callbacks must look it up, not trust it.
    """
    name = html.escape(label)
    template = (
        f'<label class="e5-menu"><span class="e5-menu-label">{name}</span><select aria-label="{name}"></select></label>'
    )
    return scripted(__file__, template, value, before=MAKE_SCRIPT, elem_id=elem_id, choices=_as_data(choices))


def menu_update(choices: Sequence[Choice], value: str | None = None) -> Any:
    """Other choices, and the chosen one; None for the one before."""
    chosen: dict[str, Any] = {} if value is None else {"value": value}
    return gr.update(choices=_as_data(choices), **chosen)


def _as_data(choices: Iterable[Choice]) -> list[dict[str, str]]:
    return [asdict(choice) for choice in choices]
