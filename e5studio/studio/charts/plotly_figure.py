"""A figure of ours as one of plotly's, for notebooks and files: the colours of a theme, texts under the pointer.

`widgets/plotly_view.js` does the same on the page, where it also fits words and numbers to the cells as drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from e5studio.errors import MissingDependencyError
from e5studio.studio.charts.figure import Figure, plot_text
from e5studio.studio.charts.matrix import MAX_CELLS_WITH_NUMBERS
from e5studio.studio.charts.palette import COLOUR_KEYS, PALETTES, Theme
from e5studio.studio.formatting import fixed, signed

if TYPE_CHECKING:
    import plotly.graph_objects

_MAX_WORDED, _HEADING_CHARACTERS = 8, 80  # columns whose names are followed by words, and the room for all of these
_TITLE = {"x": 0.01, "y": 0.99, "yanchor": "top", "yref": "container", "automargin": True}
_TITLE_HEIGHT = 36


def plotly_figure(figure: Figure, theme: Theme = "light") -> plotly.graph_objects.Figure:
    """The figure in the colours of a theme.

    Args:
        figure: As `charts.figure` describes it.
        theme: "light" or "dark".

    Raises:
        MissingDependencyError: plotly is not installed.
    """
    try:
        import plotly.graph_objects
    except ImportError as error:
        raise MissingDependencyError(
            "Plots need the package plotly, which is not installed.", 'Install it with: pip install "plotly>=7"'
        ) from error
    palette = PALETTES[theme]
    painted = _painted({"data": figure["data"], "layout": figure["layout"]}, palette)
    for trace, texts in zip(painted["data"], _hover_texts(figure), strict=False):
        if len(texts):
            trace |= {"hovertext": texts, "hoverinfo": "text"}
    layout = painted["layout"] | {
        "paper_bgcolor": palette["surface"],
        "plot_bgcolor": palette["surface"],
        "font": {"color": palette["ink"]},
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "height": figure["height"],
    }
    headings = figure.get("headings", [])
    if len(headings) <= _MAX_WORDED and any(text for _, text in headings):
        layout["xaxis"]["ticktext"] = [_heading(name, text, len(headings)) for name, text in headings]
    if figure.get("title"):
        layout["title"] = {"text": plot_text(figure["title"]), "font": {"size": 14}, **_TITLE}
        layout["height"] += _TITLE_HEIGHT
    return plotly.graph_objects.Figure(painted["data"], layout)


def _painted(part: Any, palette: dict[str, Any]) -> Any:
    """A copy in which tokens became colours, at the keys of colours only: a text may look like a token."""
    if isinstance(part, list):
        return [_painted(each, palette) for each in part]
    if not isinstance(part, dict):
        return part
    return {
        key: _coloured(value, palette) if key in COLOUR_KEYS else _painted(value, palette)
        for key, value in part.items()
    }


def _coloured(value: Any, palette: dict[str, Any]) -> Any:
    """The colour of a token such as "@ink" or "@group:3"; a list of colours becomes a scale of equal steps."""
    if isinstance(value, list):
        return [_coloured(each, palette) for each in value]
    if not isinstance(value, str) or not value.startswith("@"):
        return value
    colour: Any = palette
    for key in value[1:].split(":"):
        colour = colour[int(key) if isinstance(colour, list) else key]
    if isinstance(colour, list):
        return [[step / (len(colour) - 1), stop] for step, stop in enumerate(colour)]
    return colour


def _hover_texts(figure: Figure) -> list[Sequence[Any]]:
    """For each trace the texts under the pointer; the last traces may have none."""
    hover = figure["hover"]
    if hover["kind"] == "points":
        return [[_named(*each) for each in texts] for texts in hover["traces"]]
    return [_cell_texts(hover, trace["z"]) if trace["type"] == "heatmap" else [] for trace in figure["data"]]


def _cell_texts(hover: dict[str, Any], z: Any) -> list[list[str]]:
    """The score of each cell and its two texts; of a large matrix only their names, or it would take megabytes."""
    values = np.array(z if hover.get("values") is None else hover["values"], np.float64)
    number = signed if hover.get("is_signed") else fixed
    digits = hover.get("digits", 1)
    if values.size > MAX_CELLS_WITH_NUMBERS:
        rows, columns = ([plot_text(each[0] or each[1], 20) for each in hover[side]] for side in ("rows", "columns"))
        form = "{0} \N{MIDDLE DOT} {2} \N{MULTIPLICATION SIGN} {3}"
    else:
        rows, columns = ([_named(*each) for each in hover[side]] for side in ("rows", "columns"))
        form = "<b>{0}</b> {1}<br>{2}<br>{3}"
    return [
        [
            "" if np.isnan(value) else form.format(number(value, digits), hover["unit"], row, column)
            for value, column in zip(line, columns, strict=True)
        ]
        for line, row in zip(values, rows, strict=True)
    ]


def _named(label: str, text: str, doubt: str = "") -> str:
    lines = f"<b>{plot_text(label)}</b> {plot_text(text, 160, 60)}" if label else plot_text(text)
    return f"{lines}<br><i>{plot_text(doubt, 160, 60)}</i>" if doubt else lines


def _heading(name: str, text: str, n_columns: int) -> str:
    """A column's name, and below it what two lines hold of its text."""
    width = _HEADING_CHARACTERS // n_columns
    return f'{name}<br><span style="font-size: 11px">{plot_text(text, 2 * width - 4, width)}</span>'
