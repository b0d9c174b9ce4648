"""Two settings, or many prompts, over the same texts: ranks that cross, queries that move, matrices in a grid. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from e5studio.analysis.procrustes import aligned
from e5studio.analysis.projection import pca
from e5studio.analysis.ranking import ranks
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
from e5studio.studio.charts.matrix import colour_range, difference_map, outlines, readable
from e5studio.studio.charts.points import role_groups, scatter_map
from e5studio.studio.compare.comparison import Comparison, PromptGrid, Shift, prompt_name
from e5studio.studio.engine.prompt_modes import side_labels
from e5studio.studio.engine.result import ScoreResult, best_passages
from e5studio.studio.formatting import shown

MAX_LINES = 24
"""Passages of a bump chart; more could not be told apart."""

_RISEN: dict[Theme, str] = {"light": "#c2410c", "dark": "#fb923c"}
_FALLEN: dict[Theme, str] = {"light": "#1d6fb8", "dark": "#5ab4f0"}
_STAYED: dict[Theme, str] = {"light": "#66718a", "dark": "#8b97ab"}
_MAX_NAMED_QUERIES = 60
_MAX_NUMBERED_CELLS = 48
_NUMBER_WIDTH = 36
_LOWEST_ROW = 112  # of a grid, so that its title fits beside it
_GAPS = 0.03, 0.05  # between the matrices of a grid, as shares of its width and height


@dataclass(frozen=True)
class RankedPassage:
    """A passage under both settings.

    Attributes:
        label: Its short name.
        text: What it says.
        ranks: Under A and under B, from 1.
        scores: Cosine x 100.
    """

    label: str
    text: str
    ranks: tuple[int, int]
    scores: tuple[float, float]


def bump_chart(passages: Sequence[RankedPassage]) -> Figure:
    """Lines from the rank of each passage under A to that under B; up to MAX_LINES, best first."""
    drawn = passages[:MAX_LINES]
    deepest = max(max(passage.ranks) for passage in drawn)
    # Where only the best of many are drawn, the rank below which the others lie may be far down.
    depth = min(deepest, MAX_LINES + 2)
    layout: Figure = {
        "showlegend": False,
        "margin": {"l": 8, "r": 8, "t": 36, "b": 8},
        "xaxis": {
            "side": "top",
            "tickvals": [0, 1],
            "ticktext": ["<b>A</b>", "<b>B</b>"],
            "range": [-2.4, 1.6],
            "showgrid": False,
            "zeroline": False,
            "tickfont": {"size": 14},
        },
        "yaxis": {"range": [depth + 0.6, 0.4], "visible": False},
    }
    return {
        "data": [*(_bump_line(passage, depth) for passage in drawn), _rank_numbers(drawn, depth)],
        "layout": layout,
        "themes": {theme: _bump_theme(theme, drawn) for theme in THEMES},
        "narrow": {
            "data": [
                {"text": [f"<b>{html.escape(p.label)}</b>   ", f"   <b>{html.escape(p.label)}</b>"]} for p in drawn
            ],
            "layout": {"xaxis": {"range": [-0.4, 1.4]}},
        },
        "hover": {
            "kind": "points",
            "traces": [[[p.label, f"{_change(p)} {_short(p.text)}"]] * 2 for p in drawn],
        },
        "height": int(np.clip(60 + 34 * depth, 150, 900)),
        "width": 0,
        "zoom": False,
        "label": f"Ranks of {len(drawn)} passages under A and under B. " + " ".join(map(_in_words, drawn[:8])),
    }


def shift_chart(moved: Sequence[float], gained: Sequence[float], labels: Sequence[str], texts: Sequence[str]) -> Figure:
    """How far the vector of each query moves, against what its best passage gains ahead of the others."""
    is_labelled = len(labels) <= _MAX_NAMED_QUERIES
    notes = [
        f"moves {move:.2f}, gains {gain:+.2f}. {_short(text)}"
        for move, gain, text in zip(moved, gained, texts, strict=True)
    ]
    trace: Figure = {
        "type": "scatter",
        "mode": "markers+text" if is_labelled else "markers",
        "x": typed(np.asarray(moved, np.float32)),
        "y": typed(np.asarray(gained, np.float32)),
        "text": [html.escape(label) for label in labels] if is_labelled else [],
        "textposition": "top center",
        "textfont": {"size": 11},
        "hoverinfo": "none",
        "cliponaxis": False,
        "marker": {"size": 10, "line": {"width": 1}},
    }
    axis = {"zeroline": True, "automargin": True, "tickfont": {"size": 11}}
    small = {"font": {"size": 12}, "standoff": 8}
    return {
        "data": [trace],
        "layout": {
            "showlegend": False,
            "margin": {"l": 8, "r": 16, "t": 24, "b": 8},
            "xaxis": {
                **axis,
                "title": {"text": "moved (100 \N{MINUS SIGN} cosine \N{MULTIPLICATION SIGN} 100)", **small},
            },
            "yaxis": {**axis, "title": {"text": "gained lead, points", **small}},
        },
        "themes": {theme: _shift_theme(theme) for theme in THEMES},
        "narrow": {},
        "hover": {"kind": "points", "traces": [[list(pair) for pair in zip(labels, notes, strict=True)]]},
        "height": 360,
        "width": 0,
        "zoom": False,
        "label": f"How far {len(labels)} queries move and what each gains.",
    }


@dataclass(frozen=True)
class GridCell:
    """One matrix of a grid.

    Attributes:
        row_title: What all matrices of its row have in common.
        column_title: The same of its column.
        scores: Cosine x 100, (n_queries, n_passages); NaN leaves a cell blank.
        best: Column of the best passage of each row, or None.
    """

    row_title: str
    column_title: str
    scores: FloatArray
    best: Sequence[int | None]


def matrix_grid(
    cells: Sequence[GridCell],
    queries: Sequence[str],
    passages: Sequence[str],
    query_labels: Sequence[str],
    passage_labels: Sequence[str],
) -> Figure:
    """Small score matrices of the same texts in a square, in the colours of one scale.

    Args:
        cells: A square number of them, row by row.
        queries: Texts of the rows.
        passages: Texts of the columns.
        query_labels: Short names of the rows.
        passage_labels: Short names of the columns.
    """
    side = round(len(cells) ** 0.5)
    n_rows, n_columns = cells[0].scores.shape
    span = colour_range(np.stack([cell.scores for cell in cells]).reshape(-1, n_columns))
    is_numbered = n_rows * n_columns <= _MAX_NUMBERED_CELLS
    heats = [_small_heat(cell, place, span) for place, cell in enumerate(cells)]
    heats[0] |= {"showscale": True}
    numbers = [_small_numbers(cell, place) for place, cell in enumerate(cells)] if is_numbered else []
    layout: Figure = {"margin": {"l": 8, "r": 8, "t": 44, "b": 24}, "annotations": []}
    row_height = int(np.clip(34 * n_rows, _LOWEST_ROW, 260))
    for place, cell in enumerate(cells):
        _add_axes(layout, place, side, (query_labels, passage_labels))
        if place < side:
            layout["annotations"].append(_column_title(cell.column_title, place))
        if place % side == 0:
            layout["yaxis" + _axis_names(place)[1][1:]]["title"] = {
                "text": _in_lines(cell.row_title),
                "font": {"size": 12},
                "standoff": 6,
            }
    bar = {"thickness": 10, "outlinewidth": 0, "len": 1, "x": 1.01, "xpad": 4, "tickfont": {"size": 11}}
    heats[0]["colorbar"] = bar
    return {
        "data": heats + numbers,
        "numbers": list(range(len(heats), len(heats) + len(numbers))),
        "layout": layout,
        "themes": {theme: _grid_theme(theme, cells, span, is_numbered) for theme in THEMES},
        "narrow": {
            "data": [{"showscale": False}],
            "layout": {"annotations": [{**title, "font": {"size": 10}} for title in layout["annotations"]]},
        },
        "hover": {
            "kind": "cells",
            "rows": named(query_labels, queries),
            "columns": named(passage_labels, passages),
            "unit": "cosine \N{MULTIPLICATION SIGN} 100",
            "is_grid": True,
        },
        "height": int(np.clip(60 + side * row_height, 240, 900)),
        "width": min(150 + side * (14 + _NUMBER_WIDTH * n_columns), 900) if is_numbered else 0,
        "zoom": False,
        "label": (
            f"{len(cells)} heat maps of {n_rows} by {n_columns} scores, one for each pair of prompts, from "
            f"{span[0]:.1f} to {span[1]:.1f}. The table below counts what changes."
        ),
    }


def _short(text: str) -> str:
    """A text for our own tip, which reads no mark-up."""
    words = " ".join(shown(text, 600).split())
    return words if len(words) <= 160 else words[:159] + "…"


def _bump_line(passage: RankedPassage, depth: int) -> Figure:
    ends = [min(rank, depth) for rank in passage.ranks]
    label = f"<b>{html.escape(passage.label)}</b>"
    before, after = (_one_digit(score) for score in passage.scores)
    return {
        "type": "scatter",
        "mode": "lines+markers+text",
        "x": [0, 1],
        "y": ends,
        "text": [f"{plot_text(passage.text, 24)}  {label} {before}   ", f"   {label} {after}"],
        "textposition": ["middle left", "middle right"],
        "textfont": {"size": 12},
        "hoverinfo": "none",
        "cliponaxis": False,
        "line": {"width": 3 if ends[0] != ends[1] else 1.5},
        "marker": {"size": 22},
    }


def _rank_numbers(passages: Sequence[RankedPassage], depth: int) -> Figure:
    """The ranks inside their marks."""
    places = [(side, rank) for passage in passages for side, rank in enumerate(passage.ranks)]
    return {
        "type": "scatter",
        "mode": "text",
        "x": [side for side, _ in places],
        "y": [min(rank, depth) for _, rank in places],
        "text": [str(rank) for _, rank in places],
        "textfont": {"size": 11},
        "hoverinfo": "skip",
        "cliponaxis": False,
    }


def _one_digit(value: float) -> str:
    return f"{value:.1f}".replace("-", "\N{MINUS SIGN}")


def _bump_theme(theme: Theme, passages: Sequence[RankedPassage]) -> Figure:
    data: list[Figure] = []
    for passage in passages:
        before, after = passage.ranks
        colour = (_RISEN if after < before else _FALLEN if after > before else _STAYED)[theme]
        data.append({"line": {"color": colour}, "marker": {"color": colour}, "textfont": {"color": INK[theme]}})
    data.append({"textfont": {"color": SURFACE[theme]}})
    return {"data": data, "layout": theme_layout(theme)}


def _change(passage: RankedPassage) -> str:
    (before, after), (low, high) = passage.ranks, passage.scores
    return f"rank {before} ({_one_digit(low)}) \N{RIGHTWARDS ARROW} {after} ({_one_digit(high)})."


def _in_words(passage: RankedPassage) -> str:
    return f"{passage.label}: rank {passage.ranks[0]} under A, {passage.ranks[1]} under B."


def _shift_theme(theme: Theme) -> Figure:
    patch = theme_layout(theme)
    axis = {"gridcolor": FAINT[theme], "zerolinecolor": _STAYED[theme]}
    patch["xaxis"], patch["yaxis"] = axis, axis
    marker = {"color": _RISEN[theme], "line": {"color": SURFACE[theme]}}
    return {"data": [{"marker": marker, "textfont": {"color": INK[theme]}}], "layout": patch}


def _axis_names(place: int) -> tuple[str, str]:
    number = "" if place == 0 else str(place + 1)
    return f"x{number}", f"y{number}"


def _small_heat(cell: GridCell, place: int, span: tuple[float, float]) -> Figure:
    x, y = _axis_names(place)
    gap = 1 if max(cell.scores.shape) <= 24 else 0
    return {
        "type": "heatmap",
        "z": typed(cell.scores),
        "zmin": span[0],
        "zmax": span[1],
        "xaxis": x,
        "yaxis": y,
        "xgap": gap,
        "ygap": gap,
        "hoverinfo": "none",
        "showscale": False,
    }


def _small_numbers(cell: GridCell, place: int) -> Figure:
    x, y = _axis_names(place)
    n_rows, n_columns = cell.scores.shape
    return {
        "type": "scatter",
        "mode": "text",
        "x": list(range(n_columns)) * n_rows,
        "y": np.repeat(np.arange(n_rows), n_columns).tolist(),
        "text": ["" if np.isnan(v) else f"{v:.1f}".replace("-", "\N{MINUS SIGN}") for v in cell.scores.ravel()],
        "textfont": {"size": 11},
        "hoverinfo": "skip",
        "showlegend": False,
        "xaxis": x,
        "yaxis": y,
    }


def _add_axes(layout: Figure, place: int, side: int, labels: tuple[Sequence[str], Sequence[str]]) -> None:
    row, column = divmod(place, side)
    x, y = _axis_names(place)
    width, height = ((1 - gap * (side - 1)) / side for gap in _GAPS)
    left, top = column * (width + _GAPS[0]), 1 - row * (height + _GAPS[1])
    plain: dict[str, Any] = {"showgrid": False, "zeroline": False, "ticks": "", "fixedrange": True}
    small = {"tickfont": {"size": 10}}
    n_rows, n_columns = len(labels[0]), len(labels[1])
    is_named = column == 0 and n_rows <= 24
    layout["yaxis" + y[1:]] = {
        **plain,
        **small,
        "domain": [max(0.0, top - height), top],
        "anchor": x,
        "range": [n_rows - 0.5, -0.5],
        "automargin": True,
        "showticklabels": is_named,
        "tickvals": list(range(n_rows)),
        "ticktext": [html.escape(label) for label in labels[0]],
    }
    layout["xaxis" + x[1:]] = {
        **plain,
        **small,
        "domain": [left, min(1.0, left + width)],
        "anchor": y,
        "range": [-0.5, n_columns - 0.5],
        "showticklabels": row == side - 1 and n_columns <= 16,
        "tickvals": list(range(n_columns)),
        "ticktext": [html.escape(label) for label in labels[1]],
    }


def _column_title(text: str, place: int) -> Figure:
    x, y = _axis_names(place)
    return {
        "text": _in_lines(text),
        "showarrow": False,
        "xref": f"{x} domain",
        "yref": f"{y} domain",
        "x": 0.5,
        "y": 1.0,
        "yanchor": "bottom",
        "font": {"size": 12},
    }


def _in_lines(title: str) -> str:
    """A title such as "queries: query prompt" in two lines, for it is longer than a matrix is wide or high."""
    return "<br>".join(html.escape(part) for part in title.split(": "))


def _grid_theme(theme: Theme, cells: Sequence[GridCell], span: tuple[float, float], is_numbered: bool) -> Figure:
    scale = LIGHT_SCALE if theme == "light" else DARK_SCALE
    patch = theme_layout(theme)
    patch["shapes"] = [
        {**shape, "xref": _axis_names(place)[0], "yref": _axis_names(place)[1]}
        for place, cell in enumerate(cells)
        for shape in outlines(cell.best, theme)
    ]
    data: list[Figure] = [{"colorscale": colour_stops(scale)} for _ in cells]
    if is_numbered:
        data += [{"textfont": {"color": readable(cell.scores, scale, span)}} for cell in cells]
    return {"data": data, "layout": patch}


_MAP_HEIGHT = 400


def draw_differences(found: Comparison) -> Figure:
    """B's scores minus A's."""
    first = found.first
    names = side_labels(first.prompt_mode)
    return difference_map(
        found.deltas,
        first.queries.texts,
        first.passages.texts,
        first.queries.labels,
        first.passages.labels,
        (names.left, names.left if first.is_self else names.right),
    )


def draw_grid(grid: PromptGrid) -> Figure:
    """The matrices of all prompts."""
    usual = grid.usual
    cells = [
        GridCell(
            f"queries: {prompt_name(cell.left)}",
            f"passages: {prompt_name(cell.right)}",
            cell.scores,
            best_passages(cell.scores, usual.is_self),
        )
        for cell in grid.cells
    ]
    return matrix_grid(cells, usual.queries.texts, usual.passages.texts, usual.queries.labels, usual.passages.labels)


def ranked_passages(found: Comparison, row: int) -> list[RankedPassage]:
    """What one query was compared with, best under either setting first."""
    one, other = found.counted
    before, after = ranks(one[[row]])[0], ranks(other[[row]])[0]
    passages = found.first.passages
    ranked = [
        RankedPassage(
            passages.labels[place],
            passages.texts[place],
            (int(before[place]), int(after[place])),
            (float(one[row, place]), float(other[row, place])),
        )
        for place in range(len(passages))
        if found.first.has_pair(row, place)
    ]
    return sorted(ranked, key=lambda passage: (min(passage.ranks), passage.ranks))


def draw_bump(found: Comparison, row: int) -> Figure:
    """Ranks of one query's passages under both."""
    return bump_chart(ranked_passages(found, row))


def draw_shifts(found: Comparison, moved: list[Shift]) -> Figure:
    """How far each query moves and what it gains."""
    queries = found.first.queries
    return shift_chart(
        [shift.moved for shift in moved], [shift.gained for shift in moved], queries.labels, queries.texts
    )


def draw_maps(found: Comparison) -> tuple[Figure, Figure]:
    """The texts on a PCA map of each setting, the second turned and scaled onto the first."""
    first = pca(found.first.vectors, 2).coordinates
    second = aligned(pca(found.second.vectors, 2).coordinates, onto=first)
    return _map(found.first, first), _map(found.second, second.astype("float32"))


def _map(result: ScoreResult, points: FloatArray) -> Figure:
    labels, texts = result.points
    names = side_labels(result.prompt_mode)
    groups = role_groups(len(result.queries), len(texts), (names.left, names.right))
    return {**scatter_map(points, groups, texts, labels), "height": _MAP_HEIGHT}
