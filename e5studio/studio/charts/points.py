"""Texts as points of a plane or of space. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from e5studio.studio.charts.figure import (
    DARK_SCALE,
    FAINT,
    INK,
    LIGHT_SCALE,
    SURFACE,
    THEMES,
    Figure,
    FloatArray,
    Theme,
    colour_stops,
    named,
    plot_text,
    theme_layout,
    typed,
)

_LINK = {"light": "#a9b4c4", "dark": "#5b6880"}
_QUERY_COLOUR: dict[Theme, str] = {"light": "#c2410c", "dark": "#fb923c"}
_PASSAGE_COLOUR: dict[Theme, str] = {"light": "#1d6fb8", "dark": "#5ab4f0"}

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

_REST: dict[Theme, str] = {"light": "#b3bcc9", "dark": "#4a5568"}

_MAX_LABELLED_POINTS = 60
_NEAR = 0.08
"""Share of the map's size within which the names of two points would lie on each other."""
_ROOM = 0.14  # at either end of an axis in space, where names and the points themselves are cut at the walls
_MAX_SVG_POINTS = 2_000
_MANY_POINTS = 5_000
_LONG_HOVER, _SHORT_HOVER = 300, 80
_HOVER_CHARACTERS = 4_000_000
"""Of all texts that a pointer can bring up: they reach the page with the figure."""

MAX_CATEGORIES = len(_CLUSTERS_LIGHT)
"""More colours nobody tells apart."""

Symbol = Literal["circle", "diamond"]
_EYE = {"x": 1.25, "y": 1.25, "z": 0.75}
_SIZES_IN_SPACE: dict[Symbol, int] = {"circle": 5, "diamond": 6}  # those that look alike


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


def plain_group(n_points: int) -> list[PointGroup]:
    """All points alike."""
    return [PointGroup("", tuple(range(n_points)), "circle", _PASSAGE_COLOUR)] if n_points else []


def category_groups(
    categories: Sequence[tuple[str, Sequence[int]]], rest: tuple[str, Sequence[int]]
) -> list[PointGroup]:
    """A colour for each category, a grey for what is in none of them.

    Args:
        categories: At most `MAX_CATEGORIES` names and their members.
        rest: The same of the others, which come first, so that the categories are drawn over them.
    """
    groups = [PointGroup(plot_text(rest[0], 40), tuple(rest[1]), "circle", _REST)] if len(rest[1]) else []
    for place, (name, members) in enumerate(categories):
        colours: dict[Theme, str] = {"light": _CLUSTERS_LIGHT[place], "dark": _CLUSTERS_DARK[place]}
        groups.append(PointGroup(plot_text(name, 40), tuple(members), "circle", colours))
    return groups


def valued_groups(values: Sequence[float], rest_name: str) -> list[PointGroup]:
    """Points coloured by a value; those whose value is NaN are grey."""
    known = [place for place, value in enumerate(values) if value == value]
    unknown = [place for place, value in enumerate(values) if value != value]
    groups = [PointGroup(rest_name, tuple(unknown), "circle", _REST)] if unknown else []
    if known:
        shades = tuple(float(values[place]) for place in known)
        groups.append(PointGroup("", tuple(known), "circle", _PASSAGE_COLOUR, shades))
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
    marks: Sequence[tuple[int, str]] = (),
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
        marks: Points to draw a ring around, each with what is written beside it.
        axis_names: Titles of the axes; none are shown where they mean nothing.
        scale: Of the groups that have shades.
    """
    three_d = points.shape[1] == 3
    marked = {place for place, _ in marks}
    named_beside = [label if place not in marked else "" for place, label in enumerate(labels)]
    layers = [_group_layer(points, texts, labels, named_beside, group) for group in groups]
    if scale:
        shaded = [layer for layer, group in zip(layers, groups, strict=True) if group.shades is not None]
        for place, layer in enumerate(shaded):
            layer.trace["marker"] |= _colour_bar(scale, is_shown=place == 0)
    if links:
        # Lines lie under the points, where those are so few that the lines can be seen between them.
        layers.insert(len(layers) if _is_crowded(points) else 0, _line_layer(points, links))
    if marks:
        layers.append(_ring_layer(points, texts, labels, marks))
    return {
        "data": [layer.trace for layer in layers],
        "layout": _map_layout(points, axis_names),
        "themes": {theme: _map_theme(theme, layers, three_d) for theme in THEMES},
        "narrow": {"layout": _narrow_layout(three_d)},
        "hover": {"kind": "points", "traces": [layer.hover for layer in layers]},
        "height": 560,
        "width": 0,
        "zoom": True,
        "label": f"Map of {len(points)} texts. The table below lists them; a row that is picked tells its neighbours.",
    }


@dataclass(frozen=True)
class _Layer:
    """One trace, the texts that it brings up, and what each theme lays over it."""

    trace: Figure
    hover: list[list[str]]
    themes: dict[Theme, Figure]


def _group_layer(
    points: FloatArray, texts: Sequence[str], labels: Sequence[str], named_beside: Sequence[str], group: PointGroup
) -> _Layer:
    hover = _hover(group.members, texts, labels)
    themes = {
        theme: {
            "marker": {"line": {"color": SURFACE[theme]}, **_colour(group, theme)},
            "textfont": {"color": INK[theme]},
        }
        for theme in THEMES
    }
    return _Layer(_points(points, named_beside, group), hover, themes)


def _hover(members: Sequence[int], texts: Sequence[str], labels: Sequence[str]) -> list[list[str]]:
    limit = min(_LONG_HOVER, max(_SHORT_HOVER, _HOVER_CHARACTERS // max(len(texts), 1)))
    return named([labels[member] for member in members], [texts[member] for member in members], limit)


def _is_crowded(points: FloatArray) -> bool:
    """Whether a plane holds so many points that WebGL draws them; it draws over all that is no WebGL."""
    return points.shape[1] == 2 and len(points) > _MAX_SVG_POINTS


def _trace_type(points: FloatArray) -> str:
    return "scatter3d" if points.shape[1] == 3 else "scattergl" if _is_crowded(points) else "scatter"


def _points(points: FloatArray, labels: Sequence[str], group: PointGroup) -> Figure:
    n_all = len(points)
    three_d = points.shape[1] == 3
    labelled = n_all <= _MAX_LABELLED_POINTS
    own = points[list(group.members)]
    trace: Figure = {
        "type": _trace_type(points),
        "mode": "markers+text" if labelled else "markers",
        "name": group.name,
        "showlegend": bool(group.name),
        "x": typed(own[:, 0]),
        "y": typed(own[:, 1]),
        "text": [html.escape(labels[member]) for member in group.members] if labelled else [],
        "textposition": _text_places(points, group),
        "textfont": {"size": 11},
        "hoverinfo": "none",
        "marker": {
            "symbol": group.symbol,
            "size": _marker_size(n_all, group.symbol, three_d),
            "line": {"width": 1 if n_all <= _MANY_POINTS else 0},
        },
    }
    if n_all > _MANY_POINTS:
        trace["marker"]["opacity"] = 0.7  # where points lie on each other, one sees how many
    if three_d:
        trace["z"] = typed(own[:, 2])
    if group.shades is not None:
        trace["marker"]["color"] = typed(np.array(group.shades))
    return trace


def _text_places(points: FloatArray, group: PointGroup) -> str | list[str]:
    """Above or below each point, away from the one beside it, so that their names do not cover each other."""
    usual = "top center" if group.symbol == "circle" else "bottom center"
    if points.shape[1] == 3 or len(points) > _MAX_LABELLED_POINTS:  # space is turned, and many have no names
        return usual
    near = _NEAR * float(np.ptp(points, axis=0).max())
    places = []
    for member in group.members:
        away = points - points[member]
        distance = np.linalg.norm(away, axis=1)
        distance[member] = np.inf
        closest = int(distance.argmin())
        is_free = distance[closest] > near or away[closest, 1] == 0
        places.append(usual if is_free else "bottom center" if away[closest, 1] > 0 else "top center")
    return places


def _colour_bar(scale: ColourScale, *, is_shown: bool) -> Figure:
    title = {"text": plot_text(scale.name, 40), "side": "right"}
    bar = {"thickness": 10, "outlinewidth": 0, "tickformat": scale.tick_format, "title": title}
    high = scale.high if scale.high > scale.low else scale.low + 1
    return {"cmin": scale.low, "cmax": high, "showscale": is_shown, "colorbar": bar}


def _marker_size(n_points: int, symbol: Symbol, three_d: bool) -> float:
    if three_d:
        return _SIZES_IN_SPACE[symbol] if n_points <= 500 else 3 if n_points <= _MANY_POINTS else 2
    return 11 if n_points <= 500 else 6 if n_points <= _MANY_POINTS else 4


def _ring_layer(
    points: FloatArray, texts: Sequence[str], labels: Sequence[str], marks: Sequence[tuple[int, str]]
) -> _Layer:
    """Rings around some points, with a word beside each."""
    members = [place for place, _ in marks]
    trace = {
        "type": _trace_type(points),
        "mode": "markers+text",
        "name": "",
        "showlegend": False,
        **{letter: typed(points[members, axis]) for axis, letter in enumerate("xyz"[: points.shape[1]])},
        "text": [html.escape(word) for _, word in marks],
        "textposition": "top center",
        "textfont": {"size": 13},
        "hoverinfo": "none",
        "marker": {"symbol": "circle-open", "size": 10 if points.shape[1] == 3 else 14, "line": {"width": 2}},
    }
    themes: dict[Theme, Figure] = {
        theme: {"marker": {"color": INK[theme], "line": {"color": INK[theme]}}, "textfont": {"color": INK[theme]}}
        for theme in THEMES
    }
    return _Layer(trace, _hover(members, texts, labels), themes)


def _line_layer(points: FloatArray, links: Sequence[tuple[int, int]]) -> _Layer:
    colours = INK if _is_crowded(points) else _LINK
    return _Layer(_lines(points, links), [], {theme: {"line": {"color": colours[theme]}} for theme in THEMES})


def _lines(points: FloatArray, links: Sequence[tuple[int, int]]) -> Figure:
    """All links as one trace, broken by gaps."""
    gap = np.full(points.shape[1], np.nan, dtype=np.float32)
    ends = np.vstack([np.vstack([points[a], points[b], gap]) for a, b in links])
    columns = [[None if np.isnan(v) else round(float(v), 4) for v in ends[:, k]] for k in range(ends.shape[1])]
    return {
        "type": _trace_type(points),
        "mode": "lines",
        **dict(zip("xyz", columns, strict=False)),
        "hoverinfo": "skip",
        "showlegend": False,
        "line": {"width": 1.5},
    }


def _map_layout(points: FloatArray, axis_names: Sequence[str]) -> Figure:
    three_d = points.shape[1] == 3
    legend = {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"size": 13}, "itemsizing": "constant"}
    layout: Figure = {"legend": legend, "margin": {"l": 12, "r": 12, "t": 36, "b": 12}, "dragmode": "pan"}
    titles = list(axis_names) or [""] * (3 if three_d else 2)
    if three_d:
        layout["scene"] = {
            f"{letter}axis": {
                "title": {"text": title, "font": {"size": 11}},
                "showticklabels": False,
                "range": _roomy(points[:, axis]),
            }
            for axis, (letter, title) in enumerate(zip("xyz", titles, strict=True))
        }
        layout["scene"]["camera"] = {"eye": _EYE, "center": {"x": 0, "y": 0, "z": -0.15}}
        layout["dragmode"] = "orbit"
        return layout
    for letter, title in zip("xy", titles, strict=True):
        axis = {"showticklabels": False, "zeroline": False, "automargin": True, "ticks": ""}
        if letter == "y":
            axis["scaleanchor"] = "x"  # a distance is a distance in both directions
        layout[f"{letter}axis"] = {**axis, "title": {"text": title, "standoff": 6, "font": {"size": 12}}}
    return layout


def _narrow_layout(three_d: bool) -> Figure:
    layout: Figure = {"margin": {"t": 72}}  # the tools stand above the legend
    if three_d:  # what is seen of space is as high on a phone as anywhere, and less wide
        layout["scene"] = {"camera": {"eye": {letter: 2.2 * place for letter, place in _EYE.items()}}}
    return layout


def _roomy(values: FloatArray) -> list[float]:
    low, high = float(values.min()), float(values.max())
    room = _ROOM * (high - low) or 1.0
    return [low - room, high + room]


def _map_theme(theme: Theme, layers: Sequence[_Layer], three_d: bool) -> Figure:
    patch = theme_layout(theme)
    axis = {"gridcolor": FAINT[theme], "linecolor": FAINT[theme]}
    if three_d:
        wall = {**axis, "backgroundcolor": SURFACE[theme], "showbackground": True, "zerolinecolor": FAINT[theme]}
        patch["scene"] = {f"{letter}axis": wall for letter in "xyz"}
    else:
        patch["xaxis"], patch["yaxis"] = axis, axis
    return {"data": [layer.themes[theme] for layer in layers], "layout": patch}


def _colour(group: PointGroup, theme: Theme) -> Figure:
    if group.shades is None:
        return {"color": group.colours[theme]}
    scale = LIGHT_SCALE[2:] if theme == "light" else DARK_SCALE[2:]  # the ends nearest to the page would vanish
    return {"colorscale": colour_stops(scale)}
