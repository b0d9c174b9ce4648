"""Two settings, or many prompts, over the same texts: ranks that cross, queries that move, both maps. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from e5studio.analysis.procrustes import aligned
from e5studio.analysis.projection import pca
from e5studio.analysis.ranking import ranks
from e5studio.similarity import FloatArray
from e5studio.studio.charts.figure import Figure, plot_text, typed
from e5studio.studio.charts.matrix import difference_map
from e5studio.studio.charts.point_groups import role_groups
from e5studio.studio.charts.points import scatter_map
from e5studio.studio.compare.comparison import Comparison, PromptGrid, Shift
from e5studio.studio.compare.grid_chart import matrix_grid
from e5studio.studio.engine.prompt_modes import side_labels
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.formatting import fixed, shown

MAX_LINES = 24
"""Passages of a bump chart; nobody could follow more lines."""

_MAX_NAMED_QUERIES = 60
_MAP_HEIGHT = 400


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
    # Where only the best of many passages are drawn, some of their ranks may be far down.
    depth = min(deepest, MAX_LINES + 2)
    words = (f"{each.label}: rank {each.ranks[0]} under A, {each.ranks[1]} under B." for each in drawn[:8])
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
        "label": f"Ranks of {len(drawn)} passages under A and under B. " + " ".join(words),
    }


def shift_chart(shifts: Sequence[Shift], labels: Sequence[str], texts: Sequence[str]) -> Figure:
    """How far the vector of each query moves, against what its best passage gains ahead of the others."""
    is_labelled = len(labels) <= _MAX_NAMED_QUERIES
    notes = [
        f"moves {shift.moved:.2f}, gains {shift.gained:+.2f}. {_short(text)}"
        for shift, text in zip(shifts, texts, strict=True)
    ]
    trace: Figure = {
        "type": "scatter",
        "mode": "markers+text" if is_labelled else "markers",
        "x": typed(np.array([shift.moved for shift in shifts], np.float32)),
        "y": typed(np.array([shift.gained for shift in shifts], np.float32)),
        "text": [html.escape(label) for label in labels] if is_labelled else [],
        "textposition": "top center",
        "textfont": {"size": 11, "color": "@ink"},
        "hoverinfo": "none",
        "cliponaxis": False,
        "marker": {"size": 10, "color": "@orange", "line": {"width": 1, "color": "@surface"}},
    }
    lines = {"gridcolor": "@faint", "zerolinecolor": "@grey"}
    axis = {"zeroline": True, "automargin": True, "tickfont": {"size": 11}, **lines}
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
        "narrow": {},
        "hover": {"kind": "points", "traces": [[list(pair) for pair in zip(labels, notes, strict=True)]]},
        "height": 360,
        "width": 0,
        "zoom": False,
        "label": f"How far {len(labels)} queries move and what each gains.",
    }


def _short(text: str) -> str:
    """A text for our own tip, which shows text only."""
    words = " ".join(shown(text, 600).split())
    return words if len(words) <= 160 else words[:159] + "…"


def _bump_line(passage: RankedPassage, depth: int) -> Figure:
    ends = [min(rank, depth) for rank in passage.ranks]
    label = f"<b>{html.escape(passage.label)}</b>"
    before, after = map(fixed, passage.scores)
    rise = passage.ranks[0] - passage.ranks[1]
    colour = "@orange" if rise > 0 else "@blue" if rise < 0 else "@grey"
    return {
        "type": "scatter",
        "mode": "lines+markers+text",
        "x": [0, 1],
        "y": ends,
        "text": [f"{plot_text(passage.text, 24)}  {label} {before}   ", f"   {label} {after}"],
        "textposition": ["middle left", "middle right"],
        "textfont": {"size": 12, "color": "@ink"},
        "hoverinfo": "none",
        "cliponaxis": False,
        "line": {"width": 3 if ends[0] != ends[1] else 1.5, "color": colour},
        "marker": {"size": 22, "color": colour},
    }


def _rank_numbers(passages: Sequence[RankedPassage], depth: int) -> Figure:
    """The ranks inside their marks."""
    numbers = [(side, rank) for passage in passages for side, rank in enumerate(passage.ranks)]
    return {
        "type": "scatter",
        "mode": "text",
        "x": [side for side, _ in numbers],
        "y": [min(rank, depth) for _, rank in numbers],
        "text": [str(rank) for _, rank in numbers],
        "textfont": {"size": 11, "color": "@surface"},
        "hoverinfo": "skip",
        "cliponaxis": False,
    }


def _change(passage: RankedPassage) -> str:
    (before, after), (low, high) = passage.ranks, passage.scores
    return f"rank {before} ({fixed(low)}) \N{RIGHTWARDS ARROW} {after} ({fixed(high)})."


def draw_differences(comparison: Comparison) -> Figure:
    """B's scores minus A's."""
    first = comparison.first
    names = side_labels(first.prompt_mode)
    figure = difference_map(
        comparison.deltas,
        first.queries.texts,
        first.passages.texts,
        first.queries.labels,
        first.passages.labels,
        (names.left, names.left if first.is_self else names.right),
    )
    figure["title"] = (
        f"Change of cosine \N{MULTIPLICATION SIGN} 100 from A, {first.meta.short_name}, "
        f"to B, {comparison.second.meta.short_name}"
    )
    return figure


def draw_grid(grid: PromptGrid) -> Figure:
    """The matrices of all prompts."""
    usual = grid.usual
    texts = usual.queries.texts, usual.passages.texts, usual.queries.labels, usual.passages.labels
    return matrix_grid(grid.cells, *texts, is_self=usual.is_self)


def ranked_passages(comparison: Comparison, row: int) -> list[RankedPassage]:
    """The passages of one query, best under either setting first."""
    one, other = comparison.counted
    before, after = ranks(one[[row]])[0], ranks(other[[row]])[0]
    passages = comparison.first.passages
    ranked = [
        RankedPassage(
            passages.labels[column],
            passages.texts[column],
            (int(before[column]), int(after[column])),
            (float(one[row, column]), float(other[row, column])),
        )
        for column in range(len(passages))
        if comparison.first.has_pair(row, column)
    ]
    return sorted(ranked, key=lambda passage: (min(passage.ranks), passage.ranks))


def draw_bump(comparison: Comparison, row: int) -> Figure:
    """Ranks of one query's passages under both."""
    return bump_chart(ranked_passages(comparison, row))


def draw_shifts(comparison: Comparison, moved: list[Shift]) -> Figure:
    """How far each query moves and what it gains."""
    return shift_chart(moved, comparison.first.queries.labels, comparison.first.queries.texts)


def draw_maps(comparison: Comparison) -> tuple[Figure, Figure]:
    """The texts on a PCA map of each setting, the second turned and scaled onto the first."""
    first = pca(comparison.first.vectors, 2).coordinates
    second = aligned(pca(comparison.second.vectors, 2).coordinates, onto=first)
    return _map(comparison.first, first), _map(comparison.second, second.astype("float32"))


def _map(result: ScoreResult, points: FloatArray) -> Figure:
    labels, texts = result.points
    names = side_labels(result.prompt_mode)
    groups = role_groups(len(result.queries), len(texts), (names.left, names.right))
    return {**scatter_map(points, groups, texts, labels), "height": _MAP_HEIGHT}
