"""Texts as points of a plane or of space. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from e5studio.similarity import FloatArray
from e5studio.studio.charts.figure import Figure, named, plot_text, typed
from e5studio.studio.charts.palette import MAX_CATEGORIES

_MAX_LABELLED_POINTS = 60
_NEAR = 0.08  # share of the map's size within which the names of two points would overlap
_ROOM = 0.14  # at either end of an axis in space, where names and points are cut at the walls
_MAX_SVG_POINTS = 2_000
_MANY_POINTS = 5_000
_LONG_HOVER, _SHORT_HOVER = 300, 80
_HOVER_CHARACTERS = 4_000_000  # of all hover texts, which reach the page with the figure

Symbol = Literal["circle", "diamond"]
_EYE = {"x": 1.25, "y": 1.25, "z": 0.75}
_SIZES_IN_SPACE: dict[Symbol, int] = {"circle": 5, "diamond": 6}  # those that look alike


@dataclass(frozen=True)
class PointGroup:
    """Points of a map that look alike.

    Attributes:
        name: In the legend; "" for points that share another group's entry.
        members: Indices of the points.
        symbol: Their shape.
        colour: A token of `charts.palette`.
        shades: In place of one colour a value for each member, on a `ColourScale`.
    """

    name: str
    members: tuple[int, ...]
    symbol: Symbol
    colour: str
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
    sides: list[tuple[str, range, Symbol, str]] = [
        (names[0], range(n_queries), "circle", "@orange"),
        (names[1], range(n_queries, n_points), "diamond", "@blue"),
    ]
    return [PointGroup(name, tuple(part), symbol, colour) for name, part, symbol, colour in sides if part]


def cluster_groups(n_queries: int, labels: Sequence[int], names: Sequence[str]) -> list[PointGroup]:
    """A colour for each cluster; circles and diamonds stay what they are."""
    groups = []
    for cluster, name in enumerate(names):
        members = [member for member, label in enumerate(labels) if label == cluster]
        title = f"{cluster + 1} {plot_text(name, 40)}".strip()
        symbols: tuple[Symbol, Symbol] = ("circle", "diamond")
        for symbol, is_query in zip(symbols, (True, False), strict=True):
            side = tuple(member for member in members if (member < n_queries) == is_query)
            if side:
                groups.append(PointGroup(title, side, symbol, f"@group:{cluster % MAX_CATEGORIES}"))
                title = ""
    return groups


def plain_group(n_points: int) -> list[PointGroup]:
    """All points alike."""
    return [PointGroup("", tuple(range(n_points)), "circle", "@blue")] if n_points else []


def category_groups(
    categories: Sequence[tuple[str, Sequence[int]]], rest: tuple[str, Sequence[int]]
) -> list[PointGroup]:
    """A colour for each category, grey for all other points.

    Args:
        categories: At most `MAX_CATEGORIES` names and their members.
        rest: Name and members of the others, which are drawn first, under the categories.
    """
    groups = [PointGroup(plot_text(rest[0], 40), tuple(rest[1]), "circle", "@pale")] if len(rest[1]) else []
    for index, (name, members) in enumerate(categories):
        groups.append(PointGroup(plot_text(name, 40), tuple(members), "circle", f"@group:{index}"))
    return groups


def valued_groups(values: Sequence[float], rest_name: str) -> list[PointGroup]:
    """Points coloured by a value; those whose value is NaN are grey."""
    known = [index for index, value in enumerate(values) if value == value]
    unknown = [index for index, value in enumerate(values) if value != value]
    groups = [PointGroup(rest_name, tuple(unknown), "circle", "@pale")] if unknown else []
    if known:
        shades = tuple(float(values[index]) for index in known)
        groups.append(PointGroup("", tuple(known), "circle", "@blue", shades))
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
        groups: Points that look alike; together all points.
        texts: The text of each point.
        labels: Short names, such as "Q1".
        links: Pairs of points to join with a line.
        marks: Points to draw a ring around, each with a word beside it.
        axis_names: Titles of the axes; none are shown where they mean nothing.
        scale: Of the groups that have shades.
    """
    marked = {index for index, _ in marks}
    named_beside = [label if index not in marked else "" for index, label in enumerate(labels)]
    traces = [_points(points, named_beside, group) for group in groups]
    hover = [_hover(group.members, texts, labels) for group in groups]
    if scale:
        shaded = [trace for trace, group in zip(traces, groups, strict=True) if group.shades is not None]
        for index, trace in enumerate(shaded):
            trace["marker"] |= _colour_bar(scale, is_shown=index == 0)
    if links:
        # Lines lie under the points, where those are so few that the lines can be seen between them.
        index = len(traces) if _is_crowded(points) else 0
        traces.insert(index, _lines(points, links))
        hover.insert(index, [])
    if marks:
        traces.append(_rings(points, marks))
        hover.append(_hover([index for index, _ in marks], texts, labels))
    narrow: Figure = {"margin": {"t": 72}}  # the tools stand above the legend
    if points.shape[1] == 3:  # a phone is as high as other screens, but less wide
        narrow["scene"] = {"camera": {"eye": {letter: 2.2 * distance for letter, distance in _EYE.items()}}}
    return {
        "data": traces,
        "layout": _map_layout(points, axis_names),
        "narrow": {"layout": narrow},
        "hover": {"kind": "points", "traces": hover},
        "height": 560,
        "width": 0,
        "zoom": True,
        "label": f"Map of {len(points)} texts. The table below lists them; pick a row to see its neighbours.",
    }


def _hover(members: Sequence[int], texts: Sequence[str], labels: Sequence[str]) -> list[list[str]]:
    limit = min(_LONG_HOVER, max(_SHORT_HOVER, _HOVER_CHARACTERS // max(len(texts), 1)))
    return named([labels[member] for member in members], [texts[member] for member in members], limit)


def _is_crowded(points: FloatArray) -> bool:
    """Whether a plane holds so many points that WebGL draws them, which covers everything drawn without WebGL."""
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
        "textposition": _text_positions(points, group),
        "textfont": {"size": 11, "color": "@ink"},
        "hoverinfo": "none",
        "marker": {
            "symbol": group.symbol,
            "size": _marker_size(n_all, group.symbol, three_d),
            "line": {"width": 1 if n_all <= _MANY_POINTS else 0, "color": "@surface"},
            "color": group.colour,
        },
    }
    if group.shades is not None:
        trace["marker"] |= {"color": typed(np.array(group.shades)), "colorscale": "@scale:shade"}
    if n_all > _MANY_POINTS:
        trace["marker"]["opacity"] = 0.7  # shows where many points lie on each other
    if three_d:
        trace["z"] = typed(own[:, 2])
    return trace


def _text_positions(points: FloatArray, group: PointGroup) -> str | list[str]:
    """Above or below each point, away from the one beside it, so that their names do not cover each other."""
    usual = "top center" if group.symbol == "circle" else "bottom center"
    if points.shape[1] == 3 or len(points) > _MAX_LABELLED_POINTS:  # space is turned, and many have no names
        return usual
    near = _NEAR * float(np.ptp(points, axis=0).max())
    positions = []
    for member in group.members:
        away = points - points[member]
        distance = np.linalg.norm(away, axis=1)
        distance[member] = np.inf
        closest = int(distance.argmin())
        is_free = distance[closest] > near or away[closest, 1] == 0
        positions.append(usual if is_free else "bottom center" if away[closest, 1] > 0 else "top center")
    return positions


def _colour_bar(scale: ColourScale, *, is_shown: bool) -> Figure:
    title = {"text": plot_text(scale.name, 40), "side": "right"}
    bar = {"thickness": 10, "outlinewidth": 0, "tickformat": scale.tick_format, "title": title}
    high = scale.high if scale.high > scale.low else scale.low + 1
    return {"cmin": scale.low, "cmax": high, "showscale": is_shown, "colorbar": bar}


def _marker_size(n_points: int, symbol: Symbol, three_d: bool) -> float:
    if three_d:
        return _SIZES_IN_SPACE[symbol] if n_points <= 500 else 3 if n_points <= _MANY_POINTS else 2
    return 11 if n_points <= 500 else 6 if n_points <= _MANY_POINTS else 4


def _rings(points: FloatArray, marks: Sequence[tuple[int, str]]) -> Figure:
    """Rings around some points, with a word beside each."""
    members = [index for index, _ in marks]
    return {
        "type": _trace_type(points),
        "mode": "markers+text",
        "name": "",
        "showlegend": False,
        **{letter: typed(points[members, axis]) for axis, letter in enumerate("xyz"[: points.shape[1]])},
        "text": [html.escape(word) for _, word in marks],
        "textposition": "top center",
        "textfont": {"size": 13, "color": "@ink"},
        "hoverinfo": "none",
        "marker": {
            "symbol": "circle-open",
            "size": 10 if points.shape[1] == 3 else 14,
            "color": "@ink",
            "line": {"width": 2, "color": "@ink"},
        },
    }


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
        "line": {"width": 1.5, "color": "@ink" if _is_crowded(points) else "@link"},
    }


def _map_layout(points: FloatArray, axis_names: Sequence[str]) -> Figure:
    three_d = points.shape[1] == 3
    legend = {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"size": 13}, "itemsizing": "constant"}
    layout: Figure = {"legend": legend, "margin": {"l": 12, "r": 12, "t": 36, "b": 12}, "dragmode": "pan"}
    titles = list(axis_names) or [""] * (3 if three_d else 2)
    lines = {"gridcolor": "@faint", "linecolor": "@faint", "showticklabels": False}
    if three_d:
        wall = {**lines, "backgroundcolor": "@surface", "showbackground": True, "zerolinecolor": "@faint"}
        layout["scene"] = {
            f"{letter}axis": {**wall, "title": {"text": title, "font": {"size": 11}}, "range": _roomy(points[:, axis])}
            for axis, (letter, title) in enumerate(zip("xyz", titles, strict=True))
        }
        layout["scene"]["camera"] = {"eye": _EYE, "center": {"x": 0, "y": 0, "z": -0.15}}
        layout["dragmode"] = "orbit"
        return layout
    flat = {**lines, "zeroline": False, "automargin": True, "ticks": ""}
    for letter, title in zip("xy", titles, strict=True):
        layout[f"{letter}axis"] = {**flat, "title": {"text": title, "standoff": 6, "font": {"size": 12}}}
    layout["yaxis"]["scaleanchor"] = "x"  # a distance is a distance in both directions
    return layout


def _roomy(values: FloatArray) -> list[float]:
    low, high = float(values.min()), float(values.max())
    room = _ROOM * (high - low) or 1.0
    return [low - room, high + room]
