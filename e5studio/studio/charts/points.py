"""Texts as points of a plane or of space. Pure."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from e5studio.similarity import FloatArray
from e5studio.studio.charts.density import density_lines
from e5studio.studio.charts.figure import Figure, named, plot_text, typed
from e5studio.studio.charts.point_groups import ColourScale, PointGroup, Symbol
from e5studio.studio.charts.topics import Topic, topic_names

_HEIGHT, _NARROW_HEIGHT = 540, 400
_TYPICAL_WIDTH = 640
_MAX_LABELLED_POINTS = 60
_NO_NAME = " "  # where Plotly draws an empty text, it never again draws another
_NEAR = 0.08  # share of the map's size within which the names of two points would overlap
_ROOM = 0.14  # at either end of an axis in space, where names and points are cut at the walls
_MAX_SVG_POINTS = 2_000
_MANY_POINTS = 5_000
_MIN_FOR_DENSITY = 250  # with fewer, the points themselves show where they are dense
_LONG_HOVER, _SHORT_HOVER = 300, 80
_HOVER_CHARACTERS = 4_000_000  # of all hover texts, which reach the page with the figure
_MANY_NAMES = 5  # in the legend, which is written smaller then
_DIMMED = 0.3  # opacity of points beside those that a search found

_EYE = {"x": 1.25, "y": 1.25, "z": 0.75}
_SIZES_IN_SPACE: dict[Symbol, int] = {"circle": 5, "diamond": 6}  # those that look alike


def scatter_map(
    points: FloatArray,
    groups: Sequence[PointGroup],
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    links: Sequence[tuple[int, int]] = (),
    hits: Sequence[int] = (),
    picked: int | None = None,
    axis_names: Sequence[str] = (),
    scale: ColourScale | None = None,
    topics: Sequence[Topic] = (),
    doubts: Mapping[int, str] = MappingProxyType({}),
) -> Figure:
    """Texts as points of a plane or of space.

    Args:
        points: Coordinates, shape (n, 2) or (n, 3).
        groups: Points that look alike; together all points.
        texts: The text of each point.
        labels: Short names, such as "Q1".
        links: Pairs of points to join with a line.
        hits: Points that light up, best first, with their ranks; the others fade.
        picked: The point that is looked at, in a ring.
        axis_names: Titles of the axes; none are shown where they mean nothing.
        scale: Of the groups that have shades.
        topics: Names to write on a plane.
        doubts: For points whose place means little, the reason.
    """
    marked = {*hits, *([] if picked is None else [picked])}
    doubtful = [f"{label} !" if index in doubts else label for index, label in enumerate(labels)]
    named_beside = ["" if hits or index in marked else label for index, label in enumerate(doubtful)]
    traces = [_points(points, named_beside, group) for group in groups]
    hover = [_hover(group.members, texts, labels, doubts) for group in groups]
    if hits:
        for trace in traces:
            trace["marker"]["opacity"] = _DIMMED
    if scale:
        shaded = [trace for trace, group in zip(traces, groups, strict=True) if group.shades is not None]
        for index, trace in enumerate(shaded):
            trace["marker"] |= _colour_bar(scale, is_shown=index == 0)
    if links:
        # Lines lie under the points, where those are so few that the lines can be seen between them.
        index = len(traces) if _is_crowded(points) else 0
        traces.insert(index, _lines(points, links))
        hover.insert(index, [])
    if hits:
        traces.append(_hits(points, hits))
        hover.append(_hover(hits, texts, labels, doubts))
    if picked is not None:
        traces.append(_ring(points, picked, "" if picked in hits else doubtful[picked]))
        hover.append(_hover([picked], texts, labels, doubts))
    if len(points) >= _MIN_FOR_DENSITY and points.shape[1] == 2:
        traces.insert(0, density_lines(points))
        hover.insert(0, [])
    n_names = sum(bool(group.name) for group in groups)
    layout, narrow = _map_layout(points, axis_names, n_names), _narrow_layout(points)
    if topics and points.shape[1] == 2:
        layout["annotations"] = topic_names(points, topics, _TYPICAL_WIDTH, _HEIGHT)
        narrow["showlegend"] = False  # the names are in the plot
        narrow["annotations"] = topic_names(points, topics, _TYPICAL_WIDTH // 2, _NARROW_HEIGHT)
    return {
        "data": traces,
        "layout": layout,
        "narrow": {"layout": narrow, "height": _NARROW_HEIGHT},
        "hover": {"kind": "points", "traces": hover},
        "height": _HEIGHT,
        "width": 0,
        "zoom": True,
        "label": f"Map of {len(points)} texts.",
    }


def _hover(
    members: Sequence[int], texts: Sequence[str], labels: Sequence[str], doubts: Mapping[int, str]
) -> list[list[str]]:
    limit = min(_LONG_HOVER, max(_SHORT_HOVER, _HOVER_CHARACTERS // max(len(texts), 1)))
    whole = named([labels[member] for member in members], [texts[member] for member in members], limit)
    reasons = [[doubts[member]] if member in doubts else [] for member in members]
    return [[*each, *reason] for each, reason in zip(whole, reasons, strict=True)]


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
        "text": [html.escape(labels[member]) or _NO_NAME for member in group.members] if labelled else [],
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
    position = {"len": 0.75, "y": 0, "yanchor": "bottom"}  # below the tools
    bar = {"thickness": 10, "outlinewidth": 0, **position, "tickformat": scale.tick_format, "title": title}
    high = scale.high if scale.high > scale.low else scale.low + 1
    return {"cmin": scale.low, "cmax": high, "showscale": is_shown, "colorbar": bar}


def _marker_size(n_points: int, symbol: Symbol, three_d: bool) -> float:
    if three_d:
        return _SIZES_IN_SPACE[symbol] if n_points <= 500 else 3 if n_points <= _MANY_POINTS else 2
    return 11 if n_points <= 500 else 6 if n_points <= _MANY_POINTS else 4


def _hits(points: FloatArray, hits: Sequence[int]) -> Figure:
    """What a search found, each with its rank, but for ranks that would cover a better one."""
    own = points[list(hits)]
    extent = np.ptp(points, axis=0).max() or 1.0
    ranks: list[str] = []
    for index, point in enumerate(own):
        better = [own[other] for other, rank in enumerate(ranks) if rank]
        is_free = all(np.linalg.norm(point - other) > _NEAR / 2 * extent for other in better)
        ranks.append(str(index + 1) if is_free else "")
    return _marks(points, hits, ranks) | {
        "marker": {
            "symbol": "circle",
            "size": 7 if points.shape[1] == 3 else 12,
            "color": "@best",
            "line": {"width": 1.5, "color": "@surface"},
        }
    }


def _ring(points: FloatArray, picked: int, label: str) -> Figure:
    return _marks(points, [picked], [label]) | {
        "marker": {
            "symbol": "circle-open",
            "size": 13 if points.shape[1] == 3 else 20,
            "color": "@ink",
            "line": {"width": 3, "color": "@ink"},
        }
    }


def _marks(points: FloatArray, members: Sequence[int], words: Sequence[str]) -> Figure:
    """Points over the others, each with a word above it."""
    own = points[list(members)]
    return {
        "type": _trace_type(points),
        "mode": "markers+text",
        "name": "",
        "showlegend": False,
        **{letter: typed(own[:, axis]) for axis, letter in enumerate("xyz"[: points.shape[1]])},
        "text": [html.escape(word) or _NO_NAME for word in words],
        "textposition": "top center",
        "textfont": {"size": 13, "color": "@ink"},
        "hoverinfo": "none",
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


def _map_layout(points: FloatArray, axis_names: Sequence[str], n_names: int) -> Figure:
    three_d = points.shape[1] == 3
    font = {"size": 13 if n_names <= _MANY_NAMES else 11}
    legend = {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": font, "itemsizing": "constant"}
    layout: Figure = {"legend": legend, "margin": {"l": 12, "r": 40, "t": 36, "b": 12}, "dragmode": "pan"}
    layout["modebar"] = {"orientation": "v"}
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
    return layout


def _narrow_layout(points: FloatArray) -> Figure:
    narrow: Figure = {"margin": {"r": 32}}
    if points.shape[1] == 3:  # a phone is as high as other screens, but less wide
        narrow["scene"] = {"camera": {"eye": {letter: 2.2 * distance for letter, distance in _EYE.items()}}}
    return narrow


def _roomy(values: FloatArray) -> list[float]:
    low, high = float(values.min()), float(values.max())
    room = _ROOM * (high - low) or 1.0
    return [low - room, high + room]
