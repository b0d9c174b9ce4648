"""Matrices as colours: scores, and what pairs of words make of one. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from e5studio.studio.charts.figure import (
    DARK_SCALE,
    DIVERGING_DARK,
    DIVERGING_LIGHT,
    LIGHT_SCALE,
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
from e5studio.studio.formatting import shown

BEST_COLOUR = {"light": "#c2410c", "dark": "#ffb45e"}

MAX_CELLS_WITH_NUMBERS = 400
MAX_ROWS_WITH_OUTLINES = 64
_MAX_LEVEL, _MAX_UPRIGHT = 9, 24  # names above the columns on a phone: beside each other, and turned
_SMALLEST_SPAN = 2.0  # a narrower range of scores would paint differences that mean nothing in full colour


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
    look = _Look(colour_range(scores), (LIGHT_SCALE, DARK_SCALE), "cosine \N{MULTIPLICATION SIGN} 100")
    figure = _matrix(scores, (queries, passages), (query_labels, passage_labels), best, names, look)
    return {**figure, "label": _heat_label(scores, names)}


def difference_map(
    deltas: FloatArray,
    queries: Sequence[str],
    passages: Sequence[str],
    query_labels: Sequence[str],
    passage_labels: Sequence[str],
    names: tuple[str, str] = ("Queries", "Passages"),
) -> Figure:
    """What another setting does to each score: arguments as `heat_map`, with differences for scores."""
    largest = max(float(np.nanmax(np.abs(deltas))), _SMALLEST_SPAN / 2)
    scales = (DIVERGING_LIGHT, DIVERGING_DARK)
    look = _Look((-largest, largest), scales, "points from A to B", is_signed=True)
    figure = _matrix(deltas, (queries, passages), (query_labels, passage_labels), [None] * len(deltas), names, look)
    label = (
        f"Heat map of how {deltas.size} scores change from A to B, from {np.nanmin(deltas):+.1f} to "
        f"{np.nanmax(deltas):+.1f} points. The table lists the pairs that move most."
    )
    return {**figure, "label": label}


@dataclass(frozen=True)
class _Look:
    """How the values of a matrix become colours and numbers: range, scales of the light and the dark theme, unit."""

    span: tuple[float, float]
    scales: tuple[Sequence[str], Sequence[str]]
    unit: str
    is_signed: bool = False


def _matrix(
    values: FloatArray,
    texts: tuple[Sequence[str], Sequence[str]],
    labels: tuple[Sequence[str], Sequence[str]],
    best: Sequence[int | None],
    names: tuple[str, str],
    look: _Look,
) -> Figure:
    n_rows, n_columns = values.shape
    low, high = look.span
    gap = 2 if max(values.shape) <= 24 else 1 if max(values.shape) <= 48 else 0
    trace = {
        "type": "heatmap",
        "z": typed(values),
        "zmin": low,
        "zmax": high,
        "xgap": gap,
        "ygap": gap,
        "hoverinfo": "none",
        "colorbar": {"thickness": 10, "outlinewidth": 0, "len": 1, "x": 1.01, "xpad": 4, "tickfont": {"size": 11}},
    }
    step = _tick_step(n_rows)
    row_ticks = [f"<b>{label}</b>  {plot_text(text, 26)}" for label, text in zip(labels[0], texts[0], strict=True)]
    is_numbered = values.size <= MAX_CELLS_WITH_NUMBERS
    numbers = [_numbers(values, best, look.is_signed)] if is_numbered else []
    return {
        "data": [trace, *numbers],
        "numbers": [1] if is_numbered else [],
        "layout": _heat_layout(row_ticks, labels[1], names),
        "themes": {theme: _heat_theme(theme, values, best, look, is_numbered=is_numbered) for theme in THEMES},
        "narrow": {
            "data": [{"showscale": False}],
            "layout": {
                "xaxis": _upright_ticks([f"<b>{html.escape(label)}</b>" for label in labels[1]])
                if n_columns > _MAX_LEVEL
                else {},
                "yaxis": {"ticktext": [f"<b>{html.escape(label)}</b>" for label in labels[0][::step]]},
            },
        },
        "hover": {
            "kind": "cells",
            "rows": named(labels[0], texts[0]),
            "columns": named(labels[1], texts[1]),
            "unit": look.unit,
            "is_signed": look.is_signed,
        },
        "height": int(np.clip(96 + 46 * n_rows, 240, 640)),
        "width": int(min(260 + 40 * n_columns, 900)),
        "zoom": values.size > MAX_CELLS_WITH_NUMBERS,
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


def _upright_ticks(names: Sequence[str]) -> Figure:
    """Names for the columns of a phone: upright, where some twenty stand beside each other."""
    step = max(1, -(-len(names) // _MAX_UPRIGHT))
    font = {"size": 12 if len(names) <= 16 else 10}
    return {
        "tickvals": list(range(0, len(names), step)),
        "ticktext": list(names[::step]),
        "tickangle": -90,
        "tickfont": font,
    }


def _numbers(scores: FloatArray, best: Sequence[int | None], is_signed: bool) -> Figure:
    """The numbers as a layer of text: the heat map's own has one colour for dark and bright cells."""
    n_rows, n_columns = scores.shape
    form = "+.1f" if is_signed else ".1f"
    tenths = np.round(scores, 1) + np.float32(0)  # no "-0.0"
    plain = [
        ["" if np.isnan(score) else f"{score:{form}}".replace("-", "\N{MINUS SIGN}") for score in row] for row in tenths
    ]
    texts = [f"<b>{text}</b>" if best[i] == j else text for i, row in enumerate(plain) for j, text in enumerate(row)]
    return {
        "type": "scatter",
        "mode": "text",
        "x": list(range(n_columns)) * n_rows,
        "y": np.repeat(np.arange(n_rows), n_columns).tolist(),
        "text": texts,
        "textfont": {"size": 16 if n_columns <= 5 else 13 if n_columns <= 12 else 11},
        "hoverinfo": "skip",
        "cliponaxis": True,
    }


def _heat_theme(
    theme: Theme, values: FloatArray, best: Sequence[int | None], look: _Look, *, is_numbered: bool
) -> Figure:
    scale = look.scales[THEMES.index(theme)]
    patch = theme_layout(theme)
    patch["shapes"] = outlines(best, theme)
    data: list[Figure] = [{"colorscale": colour_stops(scale)}]
    if is_numbered:
        data.append({"textfont": {"color": readable(values, scale, look.span)}})
    return {"data": data, "layout": patch}


def readable(values: FloatArray, scale: Sequence[str], span: tuple[float, float]) -> list[str]:
    """For each cell black or white, whichever stands out more from its colour."""
    low, high = span
    stops = np.array([[int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)] for colour in scale])
    at = (np.nan_to_num(values.ravel(), nan=low) - low) / (high - low) * (len(scale) - 1)
    rgb = np.stack([np.interp(at, np.arange(len(scale)), stops[:, channel]) for channel in range(3)], axis=1)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    # The contrasts with white, 1.05 / (L + 0.05), and with the ink, (L + 0.05) / 0.06, meet here.
    return ["#ffffff" if dark else "#10141a" for dark in luminance < 0.2]


def outlines(best: Sequence[int | None], theme: Theme) -> list[Figure]:
    """A frame around the best cell of each row, as a list of one shape or none."""
    frames = [f"M{j - 0.5},{i - 0.5}H{j + 0.5}V{i + 0.5}H{j - 0.5}Z" for i, j in enumerate(best) if j is not None]
    if not frames or len(best) > MAX_ROWS_WITH_OUTLINES:
        return []
    line = {"color": BEST_COLOUR[theme], "width": 3 if len(best) <= 16 else 2}
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
    scales = (DIVERGING_LIGHT, DIVERGING_DARK) if is_centred else (LIGHT_SCALE, DARK_SCALE)
    rows, columns = ([plot_text(word, 18) for word in words] for words in (left, right))
    layout = _heat_layout([f"<b>{word}</b>" for word in rows[:: _tick_step(n_rows)]], columns, ("", ""))
    layout["yaxis"] |= {"tickvals": list(range(0, n_rows, _tick_step(n_rows))), "range": [n_rows - 0.5, -0.5]}
    layout["xaxis"] |= {"tickangle": -45 if n_columns > 6 else 0, "ticktext": columns[:: _tick_step(n_columns)]}
    gap = 2 if max(shares.shape) <= 24 else 0
    bar = {"thickness": 10, "outlinewidth": 0, "len": 1, "x": 1.01, "xpad": 4, "tickfont": {"size": 11}}
    themes = {
        theme: {
            "data": [{"colorscale": colour_stops(scale)}],
            "layout": theme_layout(theme),
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
        "narrow": {"data": [{"showscale": False}], "layout": {"xaxis": _upright_ticks(columns)}},
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
