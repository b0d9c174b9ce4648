"""What all figures share: the form that `widgets.plotly_view` takes, colours of both themes, texts made safe.

A figure is what plotly.js takes (`data`, `layout`; large arrays stay numpy's) plus what our component
adds: `themes` and `narrow` are laid over it in the light or dark theme and on a phone, `hover` holds the
texts that a pointer brings up, `label` is what a screen reader says, `numbers` are the places of those traces
that write a number into each cell of a matrix: only where a cell is drawn are they known to fit. Pure; no
Gradio, no plotly.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from e5studio.studio.formatting import shown

Figure = dict[str, Any]
FloatArray = NDArray[np.float32]
Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")

# Equal steps of lightness in OKLab, so that equal steps of score look equal; in each theme the
# low end lies near the page and the high end away from it.
LIGHT_SCALE = ("#ecfaf9", "#bce9eb", "#8cd6e4", "#5ebfdf", "#37a7d9", "#238cd0", "#2770c1", "#3155ac", "#343a94")
DARK_SCALE = ("#24263f", "#2e3b5f", "#32537f", "#2f6d9c", "#2b89b4", "#30a5c6", "#4bc1d3", "#73dcdd", "#a0f4e8")

# From what takes away (blue) over nothing to what adds (orange); told apart by people who see red and green alike.
DIVERGING_LIGHT = ("#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fddbc7", "#ef8a62", "#b2400a")
DIVERGING_DARK = ("#7cc0ff", "#3f7fb5", "#24435f", "#20252e", "#5c3a20", "#b5662b", "#ffb073")

INK = {"light": "#1f2733", "dark": "#e6eaf0"}
FAINT = {"light": "#e6eaf0", "dark": "#262e3a"}
SURFACE = {"light": "#ffffff", "dark": "#181d25"}

_MAX_LISTED = 256


def typed(array: NDArray[Any]) -> Any:
    """Numbers for plotly.js: a list while few, else the array, which `studio.downloads` sends as bytes."""
    if array.size > _MAX_LISTED:
        return array
    plain = array.astype(float).round(4).astype(object)
    plain[np.isnan(array)] = None
    return plain.tolist()


def plot_text(text: str, limit: int = 120, width: int = 0) -> str:
    """A text for plotly's labels, which read some HTML and, between dollars, TeX: shown as it is, and short."""
    short = " ".join(shown(text, 4 * limit).split())
    if len(short) > limit:
        short = short[: limit - 1].rstrip() + "…"
    lines = textwrap.wrap(short, width) if width else [short]
    return "<br>".join(html.escape(line, quote=False).replace("$", "&#36;") for line in lines)


def colour_stops(scale: Sequence[str]) -> list[list[Any]]:
    """Colours at equal steps, as plotly takes a scale."""
    return [[step / (len(scale) - 1), colour] for step, colour in enumerate(scale)]


def theme_layout(theme: Theme) -> Figure:
    """What every figure's layout takes from the theme."""
    return {"font": {"color": INK[theme]}}


def named(labels: Sequence[str], texts: Sequence[str], limit: int = 300) -> list[list[str]]:
    """Labels and texts as `hover` holds them, each text cut at `limit` characters."""
    return [[label, shown(text, limit)] for label, text in zip(labels, texts, strict=True)]
