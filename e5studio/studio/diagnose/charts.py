"""Figures of how numbers are distributed: cosines as outlines over each other, counts as bars. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.similarity import FloatArray
from e5studio.studio.charts.figure import Figure, typed
from e5studio.studio.diagnose.diagnosis import MIN_JUDGED, Diagnosis

_HEIGHT = 280
_MAX_BINS, _MIN_BINS = 60, 8
_MAX_BARS = 60


def outlines(groups: Mapping[str, FloatArray], axis: str, *, mark: float, mark_name: str) -> Figure:
    """Up to two distributions over the same bins, each as shares of its own values, and a line that marks a value.

    Args:
        groups: The distributions by their names in the legend; none is empty.
        axis: Title of the axis of values.
        mark: The value that the line marks.
        mark_name: Beside the line.
    """
    edges = _edges(list(groups.values()))
    traces, hover = [], []
    for index, (name, values) in enumerate(groups.items()):
        shares = 100 * np.histogram(values, edges)[0] / len(values)
        traces.append(_outline(name, index, edges, shares))
        # Two points at each edge, and each bin between them.
        bins = zip(edges[:-1], edges[1:], shares, strict=True)
        tips = [[name, f"{share:.1f}% from {low:.1f} to {high:.1f}"] for low, high, share in bins]
        hover.append([tips[0], *(tip for tip in tips for _ in range(2)), tips[-1]])
    layout = _layout(axis, "% of them", mark, mark_name, "right")
    margin = 0.03 * (edges[-1] - edges[0])
    layout["xaxis"]["range"] = [float(min(edges[0], mark) - margin), float(max(edges[-1], mark) + margin)]
    means = "; ".join(f"{name}: {float(values.mean()):.1f} on average" for name, values in groups.items())
    return {
        "data": traces,
        "layout": layout,
        "narrow": {"layout": {"margin": {"t": 72}, "legend": {"y": 1.5}}},
        "hover": {"kind": "points", "traces": hover},
        "height": _HEIGHT,
        "width": 0,
        "zoom": False,
        "label": f"Distribution of {axis}. {means}.",
    }


def count_bars(counts: ArrayLike, axis: str, *, expected: float, expected_name: str) -> Figure:
    """How many texts have each count, on a logarithmic scale, which shows single outliers.

    Args:
        counts: Of each text.
        axis: Title of the axis of counts.
        expected: The count that a line marks.
        expected_name: Beside the line.
    """
    counts = np.asarray(counts, np.int64)
    width = max(1, -(-(int(counts.max(initial=0)) + 1) // _MAX_BARS))
    heights = np.bincount(counts // width)
    starts = np.arange(len(heights)) * width
    hover = [["", f"{int(n):,} in {_span(int(start), width)} lists"] for start, n in zip(starts, heights, strict=True)]
    visible = heights.astype(np.float64)
    visible[heights == 0] = np.nan
    trace: Figure = {
        "type": "bar",
        "x": typed(starts + (width - 1) / 2),
        "y": typed(visible),
        "width": width * 0.9,
        "hoverinfo": "none",
        "marker": {"color": "@blue", "line": {"width": 0}},
    }
    layout = _layout(axis, "texts", expected, expected_name, "left") | {"showlegend": False}
    layout["yaxis"] |= {"type": "log", "dtick": 1, "range": [-0.15, float(np.log10(max(heights.max(), 1))) + 0.2]}
    return {
        "data": [trace],
        "layout": layout,
        "narrow": {},
        "hover": {"kind": "points", "traces": [hover]},
        "height": _HEIGHT,
        "width": 0,
        "zoom": False,
        "label": f"How many texts have each number of {axis}: from {counts.min()} to {counts.max()}.",
    }


def _outline(name: str, index: int, edges: NDArray[np.float64], shares: NDArray[np.float64]) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": typed(np.repeat(edges, 2)),
        "y": typed(np.concatenate([[0], np.repeat(shares, 2), [0]])),
        "fill": "tozeroy",
        "fillcolor": f"@fill:{index}",
        "line": {"width": 2, "color": f"@outline:{index}"},
        "hoverinfo": "none",
        "hoveron": "points",
    }


def _edges(values: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    every = np.concatenate(values)
    low, high = float(every.min()), float(every.max())
    if high - low < 1e-3:  # all alike: one bar that can be seen
        low, high = low - 0.5, high + 0.5
    n_bins = int(np.clip(np.sqrt(min(map(len, values))) * 2, _MIN_BINS, _MAX_BINS))
    return np.linspace(low, high, n_bins + 1)


def _span(start: int, width: int) -> str:
    return f"{start:,}" if width == 1 else f"{start:,} to {start + width - 1:,}"


def _layout(axis: str, counted: str, mark: float, mark_name: str, anchor: str) -> Figure:
    """Axes, and a dotted line at `mark` whose name stands at its left or right."""
    plain = {"automargin": True, "zeroline": False, "gridcolor": "@faint"}
    top = {"x": mark, "y": 1, "yref": "paper", "xanchor": anchor, "yanchor": "bottom"}
    line = {"width": 1.5, "dash": "dot", "color": "@ink"}
    title = {"font": {"size": 12}}
    return {
        "margin": {"l": 8, "r": 12, "t": 34, "b": 8},
        "bargap": 0,
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.2, "font": {"size": 12}},
        "xaxis": {**plain, "title": {"text": axis, **title}},
        "yaxis": {**plain, "rangemode": "tozero", "title": {"text": counted, **title}},
        "annotations": [{"text": mark_name, "showarrow": False, "font": {"size": 11}, **top}],
        "shapes": [{"type": "line", "x0": mark, "x1": mark, "y0": 0, "y1": 1, "yref": "paper", "line": line}],
    }


def draw_cosines(diagnosis: Diagnosis) -> Figure | None:
    """Cosines of random pairs, and of each text with its nearest; None where they are too few to show a shape."""
    if len(diagnosis.distinct) < MIN_JUDGED or diagnosis.threshold is None:
        return None
    groups = {"two random texts": 100 * diagnosis.pairs.cosines, "a text and its nearest": 100 * diagnosis.nearest}
    axis, mark = "Cosine \N{MULTIPLICATION SIGN} 100", 100 * diagnosis.threshold
    return outlines(groups, axis, mark=mark, mark_name="near copies from here")


def draw_hubs(diagnosis: Diagnosis) -> Figure | None:
    """How many lists of nearest texts each text is in; None where there are too few texts."""
    if diagnosis.hubs is None:
        return None
    axis = f"lists of the {diagnosis.hubs.k} nearest that a text is in"
    return count_bars(diagnosis.hubs.counts, axis, expected=diagnosis.hubs.expected, expected_name="mean")
