"""The strip above results that are not of what the form now holds; it dims them, too. Computes nothing again."""

from __future__ import annotations

import zlib
from typing import Any

import gradio as gr

from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.form.link import FIELDS
from e5studio.studio.form.text import size
from e5studio.studio.widgets.scripts import scripted
from e5studio.tokenization import replace_surrogates

_TEMPLATE = '<div class="e5-stale" role="status" hidden><span></span><button type="button">{}</button></div>'


def stale_strip(elem_id: str, *, results: str, again: str, button: str) -> gr.HTML:
    """A strip, hidden until the form differs from what the results are of; the value is `results_of`'s.

    Args:
        elem_id: Of the strip.
        results: Class that the page's results get while they are stale.
        again: The button's text.
        button: elem_id of the button that computes them again.
    """
    settings = {"results": results, "button": button}
    return scripted(__file__, _TEMPLATE.format(again), settings=settings, elem_id=elem_id)


def results_of(result: ScoreResult, what: str) -> dict[str, Any]:
    """What the strip compares the form with.

    Args:
        result: What the results were computed from.
        what: "These scores are" or the like.
    """
    marks = [_mark(getattr(result.request, name)) for name in FIELDS]
    return {"marks": marks, "what": what, "in_words": f"{result.meta.short_name}, {size(result)}"}


def _mark(value: str) -> int:
    # Not the text itself, which may be long; not a stronger hash, which browsers have over HTTPS only.
    return zlib.crc32(replace_surrogates(value).encode())
