"""Numbers and texts -> figures for `components.plotly_view`, as plain dictionaries.

A figure is what plotly.js takes (`data`, `layout`; large arrays stay numpy's) plus what our component
adds: `themes` and `narrow` are laid over it in the light or dark theme and on a phone, `hover` holds the
texts that a pointer brings up, `label` is what a screen reader says. Pure; no Gradio, no plotly.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from e5studio.studio.boxes import shown

Figure = dict[str, Any]
FloatArray = NDArray[np.float32]

# Equal steps of lightness in OKLab, so that equal steps of score look equal; in each theme the
# low end lies near the page and the high end away from it.
_LIGHT_SCALE = ("#ecfaf9", "#bce9eb", "#8cd6e4", "#5ebfdf", "#37a7d9", "#238cd0", "#2770c1", "#3155ac", "#343a94")
_DARK_SCALE = ("#24263f", "#2e3b5f", "#32537f", "#2f6d9c", "#2b89b4", "#30a5c6", "#4bc1d3", "#73dcdd", "#a0f4e8")

# From what takes away (blue) over nothing to what adds (orange); told apart by people who see red and green alike.
_DIVERGING_LIGHT = ("#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fddbc7", "#ef8a62", "#b2400a")
_DIVERGING_DARK = ("#7cc0ff", "#3f7fb5", "#24435f", "#20252e", "#5c3a20", "#b5662b", "#ffb073")

_INK = {"light": "#1f2733", "dark": "#e6eaf0"}
_FAINT = {"light": "#e6eaf0", "dark": "#262e3a"}
_LINK = {"light": "#a9b4c4", "dark": "#5b6880"}
_SURFACE = {"light": "#ffffff", "dark": "#181d25"}
_QUERY_COLOUR: dict[Theme, str] = {"light": "#c2410c", "dark": "#fb923c"}
_PASSAGE_COLOUR: dict[Theme, str] = {"light": "#1d6fb8", "dark": "#5ab4f0"}
_BEST_COLOUR = {"light": "#c2410c", "dark": "#ffb45e"}

# Okabe and Ito's colours for people who see red and green alike, and Tol's bright ones for the dark.
_CLUSTERS_LIGHT = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#8a6d00",
    "#56b4e9",
    "#7b3294",
    "#5a5a5a",
    "#a6611a",
    "#117733",
)
_CLUSTERS_DARK = (
    "#5ab4f0",
    "#ff9d5c",
    "#4fd1a5",
    "#f29ecb",
    "#f0e442",
    "#9ad7ff",
    "#c59be8",
    "#b8b8b8",
    "#dfc27d",
    "#88d498",
)

MAX_CELLS_WITH_NUMBERS = 400
MAX_ROWS_WITH_OUTLINES = 64
_MAX_LABELLED_POINTS = 60
_MAX_LISTED = 256
_SMALLEST_SPAN = 2.0  # a narrower range of scores would paint differences that mean nothing in full colour

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
Symbol = Literal["circle", "diamond"]


def typed(array: NDArray[Any]) -> Any:
    """Numbers for plotly.js: a list while few, else the array, which `studio.parcels` sends as bytes."""
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


def heat_map(
    scores: FloatArray,
    queries: Sequence[str],
    passages: Sequence[str],
    query_labels: Sequence[str],
    passage_labels: Sequence[str],
    best: Sequence[int | None],
    names: tuple[str, str] = ("Queries", "Passages"),
) -> Figure:
    """The score matrix as colours and numbers.

    Args:
        scores: Cosine x 100, shape (n_queries, n_passages); NaN leaves a cell blank.
        queries: Texts of the rows.
        passages: Texts of the columns.
        query_labels: Short names of the rows.
        passage_labels: Short names of the columns.
        best: Column of the best passage of each row, or None.
        names: What rows and columns are called.
    """
    n_rows, n_columns = scores.shape
    low, high = colour_range(scores)
    gap = 2 if max(scores.shape) <= 24 else 1 if max(scores.shape) <= 48 else 0
    trace = {
        "type": "heatmap",
        "z": typed(scores),
        "zmin": low,
        "zmax": high,
        "xgap": gap,
        "ygap": gap,
        "hoverinfo": "none",
        "colorbar": {"thickness": 10, "outlinewidth": 0, "len": 1, "x": 1.01, "xpad": 4, "tickfont": {"size": 11}},
    }
    step = _tick_step(n_rows)
    row_ticks = [f"<b>{label}</b>  {plot_text(text, 26)}" for label, text in zip(query_labels, queries, strict=True)]
    numbers = [_numbers(scores, best)] if scores.size <= MAX_CELLS_WITH_NUMBERS else []
    return {
        "data": [trace, *numbers],
        "layout": _heat_layout(row_ticks, passage_labels, names),
        "themes": {theme: _heat_theme(theme, scores if numbers else None, best) for theme in THEMES},
        "narrow": {
            "data": [{"showscale": False}, *({"textfont": {"size": 11 if n_columns <= 8 else 9}} for _ in numbers)],
            "layout": {"yaxis": {"ticktext": [f"<b>{html.escape(label)}</b>" for label in query_labels[::step]]}},
        },
        "hover": {
            "kind": "cells",
            "rows": _named(query_labels, queries),
            "columns": _named(passage_labels, passages),
            "unit": "cosine \N{MULTIPLICATION SIGN} 100",
        },
        "height": int(np.clip(96 + 46 * n_rows, 240, 640)),
        "width": int(min(260 + 40 * n_columns, 900)),
        "zoom": scores.size > MAX_CELLS_WITH_NUMBERS,
        "label": _heat_label(scores, names),
    }


def colour_range(scores: FloatArray) -> tuple[float, float]:
    """Lowest and highest score of the colours: the data's own, but never a sliver."""
    low, high = float(np.nanmin(scores)), float(np.nanmax(scores))
    missing = max(0.0, _SMALLEST_SPAN - (high - low)) / 2
    return round(low - missing, 3), round(high + missing, 3)


def _heat_layout(row_ticks: list[str], column_ticks: Sequence[str], names: tuple[str, str]) -> Figure:
    n_rows, n_columns = len(row_ticks), len(column_ticks)
    step_x, step_y = _tick_step(n_columns), _tick_step(n_rows)
    axis = {"showgrid": False, "zeroline": False, "ticks": "", "automargin": True, "tickfont": {"size": 12}}
    return {
        "xaxis": {
            **axis,
            "side": "top",
            "tickvals": list(range(0, n_columns, step_x)),
            "ticktext": [f"<b>{html.escape(label)}</b>" for label in column_ticks[::step_x]],
            "range": [-0.5, n_columns - 0.5],
            "title": {"text": names[1], "standoff": 8, "font": {"size": 12}},
            "tickangle": 0 if n_columns <= 20 else -90,
        },
        "yaxis": {
            **axis,
            "tickvals": list(range(0, n_rows, step_y)),
            "ticktext": row_ticks[::step_y],
            "range": [n_rows - 0.5, -0.5],
        },
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
    }


def _tick_step(n_ticks: int) -> int:
    """Every so many rows or columns get a name where there is no room for all."""
    return max(1, -(-n_ticks // 40))


def _few_ticks(names: Sequence[str]) -> Figure:
    """Names for the columns of a phone: a dozen, whatever their number."""
    step = max(1, -(-len(names) // 12))
    return {"tickvals": list(range(0, len(names), step)), "ticktext": list(names[::step])}


def _numbers(scores: FloatArray, best: Sequence[int | None]) -> Figure:
    """The numbers as a layer of text: the heat map's own has one colour for dark and bright cells."""
    n_rows, n_columns = scores.shape
    tenths = np.round(scores, 1) + np.float32(0)  # no "-0.0"
    plain = [
        ["" if np.isnan(score) else f"{score:.1f}".replace("-", "\N{MINUS SIGN}") for score in row] for row in tenths
    ]
    texts = [f"<b>{text}</b>" if best[i] == j else text for i, row in enumerate(plain) for j, text in enumerate(row)]
    return {
        "type": "scatter",
        "mode": "text",
        "x": list(range(n_columns)) * n_rows,
        "y": np.repeat(np.arange(n_rows), n_columns).tolist(),
        "text": texts,
        "textfont": {"size": 16 if n_columns <= 5 else 13 if n_columns <= 12 else 10},
        "hoverinfo": "skip",
        "cliponaxis": True,
    }


def _heat_theme(theme: Theme, numbered: FloatArray | None, best: Sequence[int | None]) -> Figure:
    scale = _LIGHT_SCALE if theme == "light" else _DARK_SCALE
    stops = [[index / (len(scale) - 1), colour] for index, colour in enumerate(scale)]
    patch = _theme_layout(theme)
    patch["shapes"] = _outlines(best, theme)
    data: list[Figure] = [{"colorscale": stops}]
    if numbered is not None:
        data.append({"textfont": {"color": _readable(numbered, scale)}})
    return {"data": data, "layout": patch}


def _readable(scores: FloatArray, scale: Sequence[str]) -> list[str]:
    """For each cell black or white, whichever stands out more from its colour."""
    low, high = colour_range(scores)
    stops = np.array([[int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)] for colour in scale])
    at = (np.nan_to_num(scores.ravel(), nan=low) - low) / (high - low) * (len(scale) - 1)
    rgb = np.stack([np.interp(at, np.arange(len(scale)), stops[:, channel]) for channel in range(3)], axis=1)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    # The contrasts with white, 1.05 / (L + 0.05), and with the ink, (L + 0.05) / 0.06, meet here.
    return ["#ffffff" if dark else "#10141a" for dark in luminance < 0.2]


def _outlines(best: Sequence[int | None], theme: Theme) -> list[Figure]:
    frames = [f"M{j - 0.5},{i - 0.5}H{j + 0.5}V{i + 0.5}H{j - 0.5}Z" for i, j in enumerate(best) if j is not None]
    if not frames or len(best) > MAX_ROWS_WITH_OUTLINES:
        return []
    line = {"color": _BEST_COLOUR[theme], "width": 3 if len(best) <= 16 else 2}
    return [{"type": "path", "path": "".join(frames), "line": line}]  # one shape: each takes plotly a millisecond


def _heat_label(scores: FloatArray, names: tuple[str, str]) -> str:
    return (
        f"Heat map of {scores.shape[0]} {names[0].lower()} by {scores.shape[1]} {names[1].lower()}, scores from "
        f"{np.nanmin(scores):.1f} to {np.nanmax(scores):.1f}. The table holds the same numbers."
    )


def word_grid(shares: FloatArray, left: Sequence[str], right: Sequence[str], *, is_centred: bool) -> Figure:
    """How pairs of words make up a score: a cell for each pair, in points of cosine x 100.

    Args:
        shares: Points of each pair, (n_left, n_right).
        left: Words of the rows.
        right: Words of the columns.
        is_centred: Shares go both ways from zero, and so do the colours.
    """
    n_rows, n_columns = shares.shape
    largest = max(float(np.abs(shares).max(initial=0)), 1e-3)
    low = -largest if is_centred else min(0.0, float(shares.min(initial=0)))
    scales = (_DIVERGING_LIGHT, _DIVERGING_DARK) if is_centred else (_LIGHT_SCALE, _DARK_SCALE)
    rows, columns = ([plot_text(word, 18) for word in words] for words in (left, right))
    layout = _heat_layout([f"<b>{word}</b>" for word in rows[:: _tick_step(n_rows)]], columns, ("", ""))
    layout["yaxis"] |= {"tickvals": list(range(0, n_rows, _tick_step(n_rows))), "range": [n_rows - 0.5, -0.5]}
    layout["xaxis"] |= {"tickangle": -45 if n_columns > 6 else 0, "ticktext": columns[:: _tick_step(n_columns)]}
    gap = 2 if max(shares.shape) <= 24 else 0
    bar = {"thickness": 10, "outlinewidth": 0, "len": 1, "x": 1.01, "xpad": 4, "tickfont": {"size": 11}}
    themes = {
        theme: {
            "data": [{"colorscale": [[step / (len(scale) - 1), colour] for step, colour in enumerate(scale)]}],
            "layout": _theme_layout(theme),
        }
        for theme, scale in zip(THEMES, scales, strict=True)
    }
    return {
        "data": [
            {
                "type": "heatmap",
                "z": typed(shares),
                "zmin": low,
                "zmax": largest,
                "xgap": gap,
                "ygap": gap,
                "hoverinfo": "none",
                "colorbar": bar,
            }
        ],
        "layout": layout,
        "themes": themes,
        "narrow": {"data": [{"showscale": False}], "layout": {"xaxis": _few_ticks(columns)}},
        "hover": {
            "kind": "cells",
            "rows": [["", shown(word, 80)] for word in left],
            "columns": [["", shown(word, 80)] for word in right],
            "unit": "points of the score",
            "digits": 2,
        },
        "height": int(np.clip(120 + 26 * n_rows, 220, 640)),
        "width": int(min(220 + 26 * n_columns, 900)),
        "zoom": shares.size > MAX_CELLS_WITH_NUMBERS,
        "label": f"Grid of {n_rows} by {n_columns} words and what each pair adds to the score.",
    }


@dataclass(frozen=True)
class PointGroup:
    """Points of a map that look alike.

    Attributes:
        name: What the legend calls them; "" for points that another group's entry stands for.
        members: Their places among the points.
        symbol: Their shape.
        colours: One for each theme.
        shades: In place of one colour a value for each member, on a `ColourScale`.
    """

    name: str
    members: tuple[int, ...]
    symbol: Symbol
    colours: dict[Theme, str]
    shades: tuple[float, ...] | None = None


@dataclass(frozen=True)
class ColourScale:
    """What shades stand for.

    Attributes:
        name: Beside the colour bar.
        low: Value of its faint end.
        high: Value of its strong end.
        tick_format: As d3 writes numbers.
    """

    name: str
    low: float
    high: float
    tick_format: str


def role_groups(n_queries: int, n_points: int, names: tuple[str, str]) -> list[PointGroup]:
    """Queries as circles, passages as diamonds, each side in its colour."""
    sides: list[tuple[str, range, Symbol, dict[Theme, str]]] = [
        (names[0], range(n_queries), "circle", _QUERY_COLOUR),
        (names[1], range(n_queries, n_points), "diamond", _PASSAGE_COLOUR),
    ]
    return [PointGroup(name, tuple(part), symbol, colours) for name, part, symbol, colours in sides if part]


def cluster_groups(n_queries: int, labels: Sequence[int], names: Sequence[str]) -> list[PointGroup]:
    """A colour for each cluster; circles and diamonds stay what they are."""
    groups = []
    for cluster, name in enumerate(names):
        members = [place for place, label in enumerate(labels) if label == cluster]
        sides = [tuple(m for m in members if (m < n_queries) == is_query) for is_query in (True, False)]
        place = cluster % len(_CLUSTERS_LIGHT)
        colours: dict[Theme, str] = {"light": _CLUSTERS_LIGHT[place], "dark": _CLUSTERS_DARK[place]}
        title = f"{cluster + 1} {plot_text(name, 40)}".strip()
        symbols: tuple[Symbol, Symbol] = ("circle", "diamond")
        for part, symbol in zip(sides, symbols, strict=True):
            if part:
                groups.append(PointGroup(title, part, symbol, colours))
                title = ""
    return groups


def shaded_groups(n_queries: int, values: Sequence[float], names: tuple[str, str]) -> list[PointGroup]:
    """Points coloured by a value."""
    plain = role_groups(n_queries, len(values), names)
    return [replace(group, shades=tuple(float(values[member]) for member in group.members)) for group in plain]


def scatter_map(
    points: FloatArray,
    groups: Sequence[PointGroup],
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    links: Sequence[tuple[int, int]] = (),
    axis_names: Sequence[str] = (),
    scale: ColourScale | None = None,
) -> Figure:
    """Texts as points of a plane or of space.

    Args:
        points: Coordinates, shape (n, 2) or (n, 3).
        groups: Which of them look alike; together all.
        texts: What each point stands for.
        labels: Short names, such as "Q1".
        links: Pairs of points to join with a line.
        axis_names: Titles of the axes; none are shown where they mean nothing.
        scale: Of the groups that have shades.
    """
    three_d = points.shape[1] == 3
    traces = [_points(points, labels, group, len(texts)) for group in groups]
    if scale:
        for place, trace in enumerate(traces):
            trace["marker"] |= _colour_bar(scale, is_shown=place == 0)
    if links:
        traces.insert(0, _lines(points, links))
    named = [_named([labels[m] for m in group.members], [texts[m] for m in group.members]) for group in groups]
    return {
        "data": traces,
        "layout": _map_layout(three_d, axis_names),
        "themes": {theme: _map_theme(theme, groups, bool(links), three_d) for theme in THEMES},
        "narrow": {"layout": {"margin": {"t": 72}}},  # the tools stand above the legend
        "hover": {"kind": "points", "traces": ([[]] if links else []) + named},
        "height": 560,
        "width": 0,
        "zoom": True,
        "label": f"Map of {len(points)} texts. The table below lists them; a row that is picked tells its neighbours.",
    }


def _points(points: FloatArray, labels: Sequence[str], group: PointGroup, n_all: int) -> Figure:
    three_d = points.shape[1] == 3
    labelled = n_all <= _MAX_LABELLED_POINTS
    own = points[list(group.members)]
    trace: Figure = {
        "type": "scatter3d" if three_d else "scattergl" if n_all > 2000 else "scatter",
        "mode": "markers+text" if labelled else "markers",
        "name": group.name,
        "showlegend": bool(group.name),
        "x": typed(own[:, 0]),
        "y": typed(own[:, 1]),
        "text": [html.escape(labels[member]) for member in group.members] if labelled else [],
        # Above and below, so that the names of a query and its passage beside it do not cover each other.
        "textposition": "top center" if group.symbol == "circle" else "bottom center",
        "textfont": {"size": 11},
        "hoverinfo": "none",
        "marker": {
            "symbol": group.symbol,
            "size": _marker_size(n_all, group.symbol, three_d),
            "line": {"width": 1},
        },
    }
    if three_d:
        trace["z"] = typed(own[:, 2])
    if group.shades is not None:
        trace["marker"]["color"] = typed(np.array(group.shades))
    return trace


def _colour_bar(scale: ColourScale, *, is_shown: bool) -> Figure:
    title = {"text": scale.name, "side": "right"}
    bar = {"thickness": 10, "outlinewidth": 0, "tickformat": scale.tick_format, "title": title}
    high = scale.high if scale.high > scale.low else scale.low + 1
    return {"cmin": scale.low, "cmax": high, "showscale": is_shown, "colorbar": bar}


def _marker_size(n_points: int, symbol: str, three_d: bool) -> float:
    if three_d:  # where a diamond of the same size looks larger than a circle
        return (8 if symbol == "circle" else 6) if n_points <= 500 else 3
    return 11 if n_points <= 500 else 6


def _lines(points: FloatArray, links: Sequence[tuple[int, int]]) -> Figure:
    """All links as one trace, broken by gaps."""
    gap = np.full(points.shape[1], np.nan, dtype=np.float32)
    ends = np.vstack([np.vstack([points[a], points[b], gap]) for a, b in links])
    columns = [[None if np.isnan(v) else round(float(v), 4) for v in ends[:, k]] for k in range(ends.shape[1])]
    return {
        "type": "scatter3d" if len(columns) == 3 else "scatter",
        "mode": "lines",
        **dict(zip("xyz", columns, strict=False)),
        "hoverinfo": "skip",
        "showlegend": False,
        "line": {"width": 1.5},
    }


def _map_layout(three_d: bool, axis_names: Sequence[str]) -> Figure:
    legend = {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"size": 13}, "itemsizing": "constant"}
    layout: Figure = {"legend": legend, "margin": {"l": 12, "r": 12, "t": 36, "b": 12}, "dragmode": "pan"}
    titles = list(axis_names) or [""] * (3 if three_d else 2)
    if three_d:
        layout["scene"] = {
            f"{letter}axis": {"title": {"text": title, "font": {"size": 11}}, "showticklabels": False}
            for letter, title in zip("xyz", titles, strict=True)
        }
        layout["scene"]["camera"] = {"eye": {"x": 1.25, "y": 1.25, "z": 0.75}, "center": {"x": 0, "y": 0, "z": -0.15}}
        layout["dragmode"] = "orbit"
        return layout
    for letter, title in zip("xy", titles, strict=True):
        axis = {"showticklabels": False, "zeroline": False, "automargin": True, "ticks": ""}
        if letter == "y":
            axis["scaleanchor"] = "x"  # a distance is a distance in both directions
        layout[f"{letter}axis"] = {**axis, "title": {"text": title, "standoff": 6, "font": {"size": 12}}}
    return layout


def _map_theme(theme: Theme, groups: Sequence[PointGroup], with_links: bool, three_d: bool) -> Figure:
    patch = _theme_layout(theme)
    axis = {"gridcolor": _FAINT[theme], "linecolor": _FAINT[theme]}
    if three_d:
        wall = {**axis, "backgroundcolor": _SURFACE[theme], "showbackground": True, "zerolinecolor": _FAINT[theme]}
        patch["scene"] = {f"{letter}axis": wall for letter in "xyz"}
    else:
        patch["xaxis"], patch["yaxis"] = axis, axis
    data: list[Figure] = [
        {"marker": {"line": {"color": _SURFACE[theme]}, **_colour(group, theme)}, "textfont": {"color": _INK[theme]}}
        for group in groups
    ]
    if with_links:
        data.insert(0, {"line": {"color": _LINK[theme]}})
    return {"data": data, "layout": patch}


def _colour(group: PointGroup, theme: Theme) -> Figure:
    if group.shades is None:
        return {"color": group.colours[theme]}
    scale = _LIGHT_SCALE[2:] if theme == "light" else _DARK_SCALE[2:]  # the ends nearest to the page would vanish
    return {"colorscale": [[step / (len(scale) - 1), colour] for step, colour in enumerate(scale)]}


def _theme_layout(theme: Theme) -> Figure:
    return {"font": {"color": _INK[theme]}}


def _named(labels: Sequence[str], texts: Sequence[str]) -> list[list[str]]:
    return [[label, shown(text, 300)] for label, text in zip(labels, texts, strict=True)]
