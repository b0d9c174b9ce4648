"""The colours of all figures, in the light and the dark theme. Pure.

Figures name colours by tokens such as "@ink", "@group:3" or "@scale:score". `widgets/plotly_view.js` replaces them by
the colours of the theme, at the keys in `COLOUR_KEYS` only: a visitor's text that looks like a token stays a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from e5studio.similarity import FloatArray

Theme = Literal["light", "dark"]
Scale = Literal["score", "difference"]

COLOUR_KEYS = (
    "backgroundcolor",
    "bgcolor",
    "color",
    "colorscale",
    "fillcolor",
    "gridcolor",
    "linecolor",
    "zerolinecolor",
)
"""Keys of plotly's traces and layouts at which our figures put tokens."""

# Equal steps of lightness in OKLab, so that equal steps of score look equal; in each theme the
# low end lies near the page and the high end away from it.
_LIGHT_SCORES = ["#ecfaf9", "#bce9eb", "#8cd6e4", "#5ebfdf", "#37a7d9", "#238cd0", "#2770c1", "#3155ac", "#343a94"]
_DARK_SCORES = ["#24263f", "#2e3b5f", "#32537f", "#2f6d9c", "#2b89b4", "#30a5c6", "#4bc1d3", "#73dcdd", "#a0f4e8"]

_BLACK, _WHITE = "#10141a", "#ffffff"

PALETTES: dict[Theme, dict[str, Any]] = {
    "light": {
        "ink": "#1f2733",
        "faint": "#e6eaf0",
        "surface": "#ffffff",
        "veil": "rgba(255, 255, 255, 0.8)",  # under names on a map
        "best": "#c2410c",
        "orange": "#c2410c",
        "blue": "#1d6fb8",
        "grey": "#66718a",
        "pale": "#b3bcc9",
        "link": "#a9b4c4",
        "outline": ["#64748b", "#1d6fb8"],
        "fill": ["rgba(100, 116, 139, 0.18)", "rgba(29, 111, 184, 0.22)"],
        # Okabe and Ito's colours for people who see red and green alike.
        "group": [
            *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00"),
            *("#56b4e9", "#7b3294", "#5a5a5a", "#a6611a", "#117733"),
        ],
        "number": [_BLACK, _BLACK, _WHITE, _WHITE],
        "scale": {
            "score": _LIGHT_SCORES,
            "shade": _LIGHT_SCORES[2:],  # for points: the colours nearest to the page's would vanish
            # From what takes away (blue) over nothing to what adds (orange).
            "difference": ["#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fddbc7", "#ef8a62", "#b2400a"],
        },
    },
    "dark": {
        "ink": "#e6eaf0",
        "faint": "#262e3a",
        "surface": "#181d25",
        "veil": "rgba(24, 29, 37, 0.8)",
        "best": "#ffb45e",
        "orange": "#fb923c",
        "blue": "#5ab4f0",
        "grey": "#8b97ab",
        "pale": "#4a5568",
        "link": "#5b6880",
        "outline": ["#94a3b8", "#5ab4f0"],
        "fill": ["rgba(148, 163, 184, 0.20)", "rgba(90, 180, 240, 0.24)"],
        # Tol's bright colours.
        "group": [
            *("#5ab4f0", "#ff9d5c", "#4fd1a5", "#f29ecb", "#f0e442"),
            *("#9ad7ff", "#c59be8", "#b8b8b8", "#dfc27d", "#88d498"),
        ],
        "number": [_BLACK, _WHITE, _BLACK, _WHITE],
        "scale": {
            "score": _DARK_SCORES,
            "shade": _DARK_SCORES[2:],
            "difference": ["#7cc0ff", "#3f7fb5", "#24435f", "#20252e", "#5c3a20", "#b5662b", "#ffb073"],
        },
    },
}

MAX_CATEGORIES = len(PALETTES["light"]["group"])
"""Groups of points with a colour for each; nobody can tell more colours apart."""


def number_colours(values: FloatArray, scale: Scale, span: tuple[float, float]) -> list[str]:
    """Tokens for the numbers in the cells of a matrix: in each theme black or white, whichever is easier to read.

    Args:
        values: Of the cells; NaN counts as the lowest.
        scale: Colours of the cells.
        span: Values at both ends of the scale.
    """
    is_dark = {theme: _is_dark(values, palette["scale"][scale], span) for theme, palette in PALETTES.items()}
    tokens = 2 * is_dark["light"] + is_dark["dark"]  # in the order of "number" in the palettes
    return [f"@number:{token}" for token in tokens]


def _is_dark(values: FloatArray, colours: Sequence[str], span: tuple[float, float]) -> NDArray[np.bool_]:
    """For each value whether white stands out more from its colour than black."""
    low, high = span
    stops = np.array([[int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)] for colour in colours])
    steps = (np.nan_to_num(values.ravel(), nan=low) - low) / (high - low) * (len(colours) - 1)
    rgb = np.stack([np.interp(steps, np.arange(len(colours)), stops[:, channel]) for channel in range(3)], axis=1)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    # The contrasts with white, 1.05 / (L + 0.05), and with black, (L + 0.05) / 0.06, are equal near 0.2.
    is_dark: NDArray[np.bool_] = luminance < 0.2
    return is_dark
