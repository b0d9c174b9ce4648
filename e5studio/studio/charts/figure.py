"""What all figures share: the form that `widgets.plotly_view` takes, and texts made safe. Pure; no Gradio, no plotly.

A figure is what plotly.js takes (`data`, `layout`; large arrays stay numpy's; colours are tokens of `charts.palette`)
plus what our component adds:

- `narrow` is laid over it on a phone,
- `hover` holds the texts that a pointer brings up,
- `label` is the description for screen readers,
- `numbers` lists the traces that write a number into each cell of a matrix; the script fits their size to the cells,
- `is_stand_in` has the script say, by the event `stand_in`, that the figure is drawn where it can be seen,
- `title` stands above a saved picture,
- `headings` are the names of a matrix's columns and their texts, of which the script writes what fits,
- `height` and `width` are in pixels, `zoom` allows zooming.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio.studio.formatting import shown

Figure = dict[str, Any]

_MAX_LISTED = 256


def typed(array: NDArray[Any]) -> Any:
    """Numbers for plotly.js: a list while few, else the array, which `serving.downloads` sends as bytes."""
    if array.size > _MAX_LISTED:
        return array
    plain = array.astype(float).round(4).astype(object)
    plain[np.isnan(array)] = None
    return plain.tolist()


def plot_text(text: str, limit: int = 120, width: int = 0) -> str:
    """A short text for plotly's labels, with HTML and TeX (between dollars) escaped."""
    short = " ".join(shown(text, 4 * limit).split())
    if len(short) > limit:
        short = short[: limit - 1].rstrip() + "…"
    lines = textwrap.wrap(short, width) if width else [short]
    return "<br>".join(html.escape(line, quote=False).replace("$", "&#36;") for line in lines)


def named(labels: Sequence[str], texts: Sequence[str], limit: int = 300) -> list[list[str]]:
    """Labels and texts as `hover` holds them, each text cut at `limit` characters."""
    return [[label, shown(text, limit)] for label, text in zip(labels, texts, strict=True)]
