"""Matrices as colours: scores, and what pairs of words make of one. Pure."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from e5studio.similarity import FloatArray
from e5studio.studio.charts.figure import Figure, named, plot_text, typed
from e5studio.studio.charts.palette import Scale, number_colours
from e5studio.studio.formatting import fixed, shown, signed

Doubts = tuple[Mapping[int, str], Mapping[int, str]]
"""Reasons why the scores of a row, and of a column, mean little."""

_COLOUR_BAR = {"thickness": 10, "outlinewidth": 0, "len": 1, "x": 1.01, "xpad": 4, "tickfont": {"size": 11}}

MAX_CELLS_WITH_NUMBERS = 400
MAX_ROWS_WITH_OUTLINES = 64
_MAX_WORDED = 16  # columns whose names are followed by words
_SMALLEST_SPAN = 2.0  # a narrower range of scores would paint differences that mean nothing in full colour


def heat_map(
    scores: FloatArray,
    queries: Sequence[str],
    passages: Sequence[str],
    query_labels: Sequence[str],
    passage_labels: Sequence[str],
    best: Sequence[int | None],
    names: tuple[str, str] = ("Queries", "Passages"),
    *,
    is_by_row: bool = False,
    doubts: Doubts = ({}, {}),
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
        is_by_row: Whether the colours compare the scores of a row only.
        doubts: For rows and columns whose scores mean little, the reason.
    """
    look = _Look(colour_range(scores), "score", "cosine \N{MULTIPLICATION SIGN} 100", is_by_row=is_by_row)
    figure = _matrix(scores, (queries, passages), (query_labels, passage_labels), best, names, look, doubts)
    label = (
        f"Heat map of {scores.shape[0]} {names[0].lower()} by {scores.shape[1]} {names[1].lower()}, scores from "
        f"{np.nanmin(scores):.1f} to {np.nanmax(scores):.1f}. The table holds the same numbers."
    )
    return {**figure, "label": label}


def difference_map(
    deltas: FloatArray,
    queries: Sequence[str],
    passages: Sequence[str],
    query_labels: Sequence[str],
    passage_labels: Sequence[str],
    names: tuple[str, str] = ("Queries", "Passages"),
) -> Figure:
    """How another setting changes each score: arguments as `heat_map`, with differences for scores."""
    largest = max(float(np.nanmax(np.abs(deltas))), _SMALLEST_SPAN / 2)
    look = _Look((-largest, largest), "difference", "points of difference", is_signed=True)
    figure = _matrix(deltas, (queries, passages), (query_labels, passage_labels), [None] * len(deltas), names, look)
    label = f"Heat map of how {deltas.size} scores change, by at most {np.nanmax(np.abs(deltas)):.1f} points."
    return {**figure, "label": label}


def rank_map(
    ranks: tuple[NDArray[np.int32], NDArray[np.int32]],
    queries: Sequence[str],
    passages: Sequence[str],
    query_labels: Sequence[str],
    passage_labels: Sequence[str],
    best: Sequence[int | None],
    names: tuple[str, str] = ("Queries", "Passages"),
) -> Figure:
    """How another setting changes each rank: arguments as `heat_map`, with the ranks before and after for scores.

    The colours are of 1 / rank, so that a step near the top counts most; a rank of 0 leaves a cell blank.
    """
    before, after = (np.where(each > 0, each, np.nan).astype(np.float32) for each in ranks)
    changes = np.clip(1 / after - 1 / before, -0.5, 0.5).astype(np.float32)
    look = _Look((-0.5, 0.5), "difference", "ranks up", is_signed=True)
    figure = _matrix(changes, (queries, passages), (query_labels, passage_labels), best, names, look)
    figure["data"][0]["showscale"] = False
    if figure["numbers"]:
        rows = zip(*ranks, best, strict=True)
        figure["data"][1]["text"] = [
            _rank_text(old, new, is_best=column == first)
            for one, other, first in rows
            for column, (old, new) in enumerate(zip(one, other, strict=True))
        ]
    figure["hover"] |= {"values": typed(before - after), "digits": 0}
    n_changed = int((ranks[0] != ranks[1]).sum())
    return {
        **figure,
        "label": f"Matrix of {changes.size} ranks, of which {n_changed} change. The table lists the first.",
    }


def _rank_text(before: int, after: int, *, is_best: bool) -> str:
    text = "" if after == 0 else str(after) if before == after else f"{before}\N{RIGHTWARDS ARROW}{after}"
    return f"<b>{text}</b>" if is_best else text


@dataclass(frozen=True)
class _Look:
    """How the values of a matrix become colours and numbers."""

    span: tuple[float, float]
    scale: Scale
    unit: str
    is_signed: bool = False
    is_by_row: bool = False


def _matrix(
    values: FloatArray,
    texts: tuple[Sequence[str], Sequence[str]],
    labels: tuple[Sequence[str], Sequence[str]],
    best: Sequence[int | None],
    names: tuple[str, str],
    look: _Look,
    doubts: Doubts = ({}, {}),
) -> Figure:
    n_rows, n_columns = values.shape
    row_names, column_names = (
        [f"<b>{html.escape(label)}{' !' if index in doubtful else ''}</b>" for index, label in enumerate(side)]
        for side, doubtful in zip(labels, doubts, strict=True)
    )
    row_ticks = [f"{name}  {plot_text(text, 26)}" for name, text in zip(row_names, texts[0], strict=True)]
    shades, span = (row_shades(values), (0.0, 1.0)) if look.is_by_row else (values, look.span)
    is_numbered = values.size <= MAX_CELLS_WITH_NUMBERS
    numbers = [_numbers(values, best, look, number_colours(shades, look.scale, span))] if is_numbered else []
    words = texts[1] if n_columns <= _MAX_WORDED else [""] * n_columns
    return {
        "data": [heat_trace(shades, span, look.scale) | {"showscale": not look.is_by_row}, *numbers],
        "numbers": [1] if is_numbered else [],
        "headings": named(column_names, words, 60),
        "layout": _heat_layout(row_ticks, column_names, names)
        | {"shapes": [*outlines(best), *_hatched_corners(values.shape, doubts)]},
        "narrow": {
            "data": [{"showscale": False}],
            "layout": {"yaxis": {"ticktext": row_names[:: _tick_step(n_rows)]}},
        },
        "hover": {
            "kind": "cells",
            "rows": _named_with_doubts(labels[0], texts[0], doubts[0]),
            "columns": _named_with_doubts(labels[1], texts[1], doubts[1]),
            "unit": look.unit,
            "is_signed": look.is_signed,
            "values": typed(values) if look.is_by_row else None,
        },
        "height": int(np.clip(130 + 46 * n_rows, 240, 640)),
        "width": int(min(260 + 40 * n_columns, 900)),
        "zoom": values.size > MAX_CELLS_WITH_NUMBERS,
    }


def heat_trace(values: FloatArray, span: tuple[float, float], scale: Scale) -> Figure:
    """Cells in the colours of a scale between two values."""
    size = max(values.shape)
    gap = 2 if size <= 24 else 1 if size <= 48 else 0
    return {
        "type": "heatmap",
        "z": typed(values),
        "zmin": span[0],
        "zmax": span[1],
        "xgap": gap,
        "ygap": gap,
        "hoverinfo": "none",
        "colorscale": f"@scale:{scale}",
        "colorbar": _COLOUR_BAR,
    }


def row_shades(scores: FloatArray) -> FloatArray:
    """The scores of each row as shares of its range, 1 the highest, in a row of close scores none near 0."""
    high, low = np.nanmax(scores, axis=1, keepdims=True), np.nanmin(scores, axis=1, keepdims=True)
    shades: FloatArray = 1 + (scores - high) / np.maximum(high - low, np.float32(_SMALLEST_SPAN))
    return shades


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
            "ticktext": list(column_ticks[::step_x]),
            "range": [-0.5, n_columns - 0.5],
            "title": {"text": names[1], "standoff": 8, "font": {"size": 12}},
            "autotickangles": [0, -90],
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
    """The distance between two rows (or columns) that get a name, where there is no room for all."""
    return max(1, -(-n_ticks // 40))


def _numbers(scores: FloatArray, best: Sequence[int | None], look: _Look, colours: Sequence[str]) -> Figure:
    """The numbers as a layer of text: the heat map's own has one colour for dark and bright cells."""
    n_columns = scores.shape[1]
    number = signed if look.is_signed else fixed
    tenths = np.round(scores, 1) + np.float32(0)  # no "-0.0"
    plain = [["" if np.isnan(score) else number(score) for score in row] for row in tenths]
    texts = [f"<b>{text}</b>" if best[i] == j else text for i, row in enumerate(plain) for j, text in enumerate(row)]
    size = 16 if n_columns <= 5 else 13 if n_columns <= 12 else 11
    return number_trace(scores, texts, size, colours)


def number_trace(scores: FloatArray, texts: Sequence[str], size: int, colours: Sequence[str]) -> Figure:
    """A text in each cell of a matrix, row by row."""
    n_rows, n_columns = scores.shape
    return {
        "type": "scatter",
        "mode": "text",
        "x": list(range(n_columns)) * n_rows,
        "y": np.repeat(np.arange(n_rows), n_columns).tolist(),
        "text": texts,
        "textfont": {"size": size, "color": colours},
        "hoverinfo": "skip",
        "cliponaxis": True,
    }


def outlines(best: Sequence[int | None]) -> list[Figure]:
    """A frame around the best cell of each row; all frames are one shape, for each shape takes plotly a millisecond."""
    frames = [f"M{j - 0.5},{i - 0.5}H{j + 0.5}V{i + 0.5}H{j - 0.5}Z" for i, j in enumerate(best) if j is not None]
    if not frames or len(best) > MAX_ROWS_WITH_OUTLINES:
        return []
    line = {"color": "@best", "width": 3 if len(best) <= 16 else 2}
    return [{"type": "path", "path": "".join(frames), "line": line}]


def _hatched_corners(shape: tuple[int, ...], doubts: Doubts) -> list[Figure]:
    """Stripes in a corner of each cell whose score means little; in the middle they would cover the number."""
    if not any(doubts) or shape[0] * shape[1] > MAX_CELLS_WITH_NUMBERS:
        return []
    cells = [(i, j) for i, j in np.ndindex(*shape) if i in doubts[0] or j in doubts[1]]
    stripes = [f"M{j + 0.5 - d},{i - 0.5}L{j + 0.5},{i - 0.5 + d}" for i, j in cells for d in (0.1, 0.2, 0.3)]
    return [{"type": "path", "path": "".join(stripes), "line": {"color": "@grey", "width": 1.5}}]


def _named_with_doubts(labels: Sequence[str], texts: Sequence[str], doubts: Mapping[int, str]) -> list[list[str]]:
    """As `named`, with the reason for a doubt behind the text."""
    return [[*each, *([doubts[index]] if index in doubts else [])] for index, each in enumerate(named(labels, texts))]


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
    rows, columns = ([plot_text(word, 18) for word in words] for words in (left, right))
    return {
        "data": [heat_trace(shares, (low, largest), "difference" if is_centred else "score")],
        "headings": [[word, ""] for word in columns],
        "layout": _heat_layout([f"<b>{word}</b>" for word in rows], columns, ("", "")),
        "narrow": {"data": [{"showscale": False}], "layout": {}},
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
