"""Two settings over the same texts: ranks that change, and both maps. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from e5studio.analysis.procrustes import aligned
from e5studio.analysis.projection import pca
from e5studio.analysis.ranking import ranks
from e5studio.similarity import FloatArray
from e5studio.studio.charts.figure import Figure, plot_text
from e5studio.studio.charts.matrix import difference_map, rank_map
from e5studio.studio.charts.point_groups import role_groups
from e5studio.studio.charts.points import scatter_map
from e5studio.studio.compare.comparison import Comparison
from e5studio.studio.compare.names import names
from e5studio.studio.engine.prompt_modes import side_labels
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.formatting import shown

MAX_LINES = 24
"""Passages of a bump chart; nobody could follow more lines."""

_MAP_HEIGHT = 400


@dataclass(frozen=True)
class RankedPassage:
    """A passage under both settings.

    Attributes:
        label: Its short name.
        text: What it says.
        ranks: Under both, from 1; passages that tie share one.
        places: As `ranks`, but no two share one, so that each is drawn at its own height.
    """

    label: str
    text: str
    ranks: tuple[int, int]
    places: tuple[int, int]


def bump_chart(passages: Sequence[RankedPassage], names: tuple[str, str]) -> Figure:
    """Lines from the rank of each passage under one setting to that under the other; up to MAX_LINES, best first."""
    drawn = passages[:MAX_LINES]
    deepest = max(max(passage.places) for passage in drawn)
    # Where only the best of many passages are drawn, some of their ranks may be far down.
    depth = min(deepest, MAX_LINES + 2)
    words = (f"{each.label}: rank {each.ranks[0]} {names[0]}, {each.ranks[1]} {names[1]}." for each in drawn[:8])
    layout: Figure = {
        "showlegend": False,
        "margin": {"l": 8, "r": 8, "t": 36, "b": 8},
        "xaxis": {
            "side": "top",
            "tickvals": [0, 1],
            "ticktext": [f"<b>{plot_text(name, 24)}</b>" for name in names],
            "range": [-2.4, 1.6],
            "showgrid": False,
            "zeroline": False,
            "tickfont": {"size": 12},
        },
        "yaxis": {"range": [depth + 0.6, 0.4], "visible": False},
    }
    return {
        "data": [*(_bump_line(passage, depth) for passage in drawn), _rank_numbers(drawn, depth)],
        "layout": layout,
        "narrow": {
            "data": [
                {"text": [f"<b>{html.escape(p.label)}</b>   ", f"   <b>{html.escape(p.label)}</b>"]} for p in drawn
            ],
            "layout": {"xaxis": {"range": [-0.6, 1.6]}},
        },
        "hover": {"kind": "points", "traces": [[[p.label, f"{_change(p)} {_short(p.text)}"]] * 2 for p in drawn]},
        "height": int(np.clip(60 + 34 * depth, 150, 900)),
        "width": 0,
        "zoom": False,
        "label": f"Ranks of {len(drawn)} passages {names[0]} and {names[1]}. " + " ".join(words),
    }


def _short(text: str) -> str:
    """A text for our own tip, which shows text only."""
    words = " ".join(shown(text, 600).split())
    return words if len(words) <= 160 else words[:159] + "…"


def _bump_line(passage: RankedPassage, depth: int) -> Figure:
    ends = [min(height, depth) for height in passage.places]
    label = f"<b>{html.escape(passage.label)}</b>"
    rise = passage.ranks[0] - passage.ranks[1]
    colour = "@orange" if rise > 0 else "@blue" if rise < 0 else "@grey"
    return {
        "type": "scatter",
        "mode": "lines+markers+text",
        "x": [0, 1],
        "y": ends,
        "text": [f"{plot_text(passage.text, 26)}  {label}   ", f"   {label}"],
        "textposition": ["middle left", "middle right"],
        "textfont": {"size": 12, "color": "@ink"},
        "hoverinfo": "none",
        "cliponaxis": False,
        "line": {"width": 3 if rise else 1.5, "color": colour},
        "marker": {"size": 22, "color": colour},
    }


def _rank_numbers(passages: Sequence[RankedPassage], depth: int) -> Figure:
    """The ranks inside their marks."""
    numbers = [(side, passage) for passage in passages for side in (0, 1)]
    return {
        "type": "scatter",
        "mode": "text",
        "x": [side for side, _ in numbers],
        "y": [min(passage.places[side], depth) for side, passage in numbers],
        "text": [str(passage.ranks[side]) for side, passage in numbers],
        "textfont": {"size": 11, "color": "@surface"},
        "hoverinfo": "skip",
        "cliponaxis": False,
    }


def _change(passage: RankedPassage) -> str:
    return f"rank {passage.ranks[0]} \N{RIGHTWARDS ARROW} {passage.ranks[1]}."


def draw_ranks(comparison: Comparison) -> Figure:
    """How the rank of each passage changes."""
    return rank_map(comparison.ranks, *_sides(comparison.first), comparison.second.best, _axis_names(comparison.first))


def draw_differences(comparison: Comparison) -> Figure | None:
    """The second's scores minus the first's; None where their scales differ."""
    if not comparison.is_same_scale:
        return None
    return difference_map(comparison.deltas, *_sides(comparison.first), _axis_names(comparison.first))


def ranked_passages(comparison: Comparison, row: int) -> list[RankedPassage]:
    """The passages of one query, best under either setting first."""
    before, after = (each[row] for each in comparison.ranks)
    places = [ranks(scores[[row]])[0] for scores in comparison.counted]
    passages = comparison.first.passages
    ranked = [
        RankedPassage(
            passages.labels[column],
            passages.texts[column],
            (int(before[column]), int(after[column])),
            (int(places[0][column]), int(places[1][column])),
        )
        for column in range(len(passages))
        if comparison.first.has_pair(row, column)
    ]
    return sorted(ranked, key=lambda passage: (min(passage.places), passage.places))


def draw_bump(comparison: Comparison, row: int) -> Figure:
    """Ranks of one query's passages under both."""
    return bump_chart(ranked_passages(comparison, row), names(comparison))


def draw_maps(comparison: Comparison) -> tuple[Figure, Figure]:
    """The texts on a PCA map of each setting, the second turned and scaled onto the first."""
    first = pca(comparison.first.vectors, 2).coordinates
    second = aligned(pca(comparison.second.vectors, 2).coordinates, onto=first)
    return _map(comparison.first, first), _map(comparison.second, second.astype("float32"))


def _map(result: ScoreResult, points: FloatArray) -> Figure:
    labels, texts = result.points
    groups = role_groups(len(result.queries), len(texts), _axis_names(result))
    return {**scatter_map(points, groups, texts, labels), "height": _MAP_HEIGHT}


def _sides(result: ScoreResult) -> tuple[Sequence[str], Sequence[str], Sequence[str], Sequence[str]]:
    """Texts of rows and columns, and their labels."""
    return result.queries.texts, result.passages.texts, result.queries.labels, result.passages.labels


def _axis_names(result: ScoreResult) -> tuple[str, str]:
    labels = side_labels(result.prompt_mode)
    return labels.left, labels.left if result.is_self else labels.right
