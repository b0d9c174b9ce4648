"""The scores under each pair of prompts: small matrices in a square, in the colours of one scale. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from e5studio.studio.charts.figure import Figure, named
from e5studio.studio.charts.matrix import colour_range, heat_trace, number_trace, outlines
from e5studio.studio.charts.palette import number_colours
from e5studio.studio.compare.comparison import PROMPT_NAMES, PromptCell
from e5studio.studio.engine.result import best_passages
from e5studio.studio.formatting import fixed

_MAX_NUMBERED_CELLS = 48
_NUMBER_WIDTH = 36
_LOWEST_ROW = 112  # so that its title fits beside it
_GAPS = 0.03, 0.05  # between the matrices, as shares of the width and height of the grid


def matrix_grid(
    cells: Sequence[PromptCell],
    queries: Sequence[str],
    passages: Sequence[str],
    query_labels: Sequence[str],
    passage_labels: Sequence[str],
    *,
    is_self: bool = False,
) -> Figure:
    """Small score matrices of the same texts in a square, in the colours of one scale.

    Args:
        cells: A square number of them, row by row.
        queries: Texts of the rows.
        passages: Texts of the columns.
        query_labels: Short names of the rows.
        passage_labels: Short names of the columns.
        is_self: Rows and columns are the same texts.
    """
    side = round(len(cells) ** 0.5)
    n_rows, n_columns = cells[0].scores.shape
    span = colour_range(np.stack([cell.scores for cell in cells]).reshape(-1, n_columns))
    is_numbered = n_rows * n_columns <= _MAX_NUMBERED_CELLS
    heats = [_small_heat(cell, index, span) for index, cell in enumerate(cells)]
    numbers = [_small_numbers(cell, index, span) for index, cell in enumerate(cells)] if is_numbered else []
    layout: Figure = {"margin": {"l": 8, "r": 8, "t": 44, "b": 24}, "annotations": [], "shapes": []}
    row_height = int(np.clip(34 * n_rows, _LOWEST_ROW, 260))
    for index, cell in enumerate(cells):
        x, y = _axis_names(index)
        best = best_passages(cell.scores, is_self)
        layout |= _small_axes(index, side, (query_labels, passage_labels))
        layout["shapes"] += [{**shape, "xref": x, "yref": y} for shape in outlines(best)]
        if index < side:
            layout["annotations"].append(_column_title(f"passages<br>{PROMPT_NAMES[cell.right]}", index))
        if index % side == 0:
            title = {"text": f"queries<br>{PROMPT_NAMES[cell.left]}", "font": {"size": 12}, "standoff": 6}
            layout["yaxis" + y[1:]]["title"] = title
    return {
        "data": heats + numbers,
        "numbers": list(range(len(heats), len(heats) + len(numbers))),
        "layout": layout,
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


def _axis_names(index: int) -> tuple[str, str]:
    number = "" if index == 0 else str(index + 1)
    return f"x{number}", f"y{number}"


def _small_heat(cell: PromptCell, index: int, span: tuple[float, float]) -> Figure:
    x, y = _axis_names(index)
    gap = 1 if max(cell.scores.shape) <= 24 else 0
    axes = {"xaxis": x, "yaxis": y, "xgap": gap, "ygap": gap}
    return {**heat_trace(cell.scores, span, "score"), **axes, "showscale": index == 0}


def _small_numbers(cell: PromptCell, index: int, span: tuple[float, float]) -> Figure:
    x, y = _axis_names(index)
    texts = ["" if np.isnan(score) else fixed(float(score)) for score in cell.scores.ravel()]
    numbers = number_trace(cell.scores, texts, 11, number_colours(cell.scores, "score", span))
    return {**numbers, "showlegend": False, "xaxis": x, "yaxis": y}


def _small_axes(index: int, side: int, labels: tuple[Sequence[str], Sequence[str]]) -> Figure:
    row, column = divmod(index, side)
    x, y = _axis_names(index)
    width, height = ((1 - gap * (side - 1)) / side for gap in _GAPS)
    left, top = column * (width + _GAPS[0]), 1 - row * (height + _GAPS[1])
    plain: dict[str, Any] = {"showgrid": False, "zeroline": False, "ticks": "", "fixedrange": True}
    plain["tickfont"] = {"size": 10}
    n_rows, n_columns = len(labels[0]), len(labels[1])
    return {
        "yaxis" + y[1:]: {
            **plain,
            "domain": [max(0.0, top - height), top],
            "anchor": x,
            "range": [n_rows - 0.5, -0.5],
            "automargin": True,
            "showticklabels": column == 0 and n_rows <= 24,
            "tickvals": list(range(n_rows)),
            "ticktext": [html.escape(label) for label in labels[0]],
        },
        "xaxis" + x[1:]: {
            **plain,
            "domain": [left, min(1.0, left + width)],
            "anchor": y,
            "range": [-0.5, n_columns - 0.5],
            "showticklabels": row == side - 1 and n_columns <= 16,
            "tickvals": list(range(n_columns)),
            "ticktext": [html.escape(label) for label in labels[1]],
        },
    }


def _column_title(text: str, index: int) -> Figure:
    x, y = _axis_names(index)
    return {
        "text": text,
        "showarrow": False,
        "xref": f"{x} domain",
        "yref": f"{y} domain",
        "x": 0.5,
        "y": 1.0,
        "yanchor": "bottom",
        "font": {"size": 12},
    }
