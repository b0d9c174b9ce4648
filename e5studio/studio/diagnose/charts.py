"""Figures of how numbers are distributed: cosines as outlines over each other, counts as bars. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.studio.charts.figure import FAINT, INK, THEMES, Figure, Theme, theme_layout, typed
from e5studio.studio.diagnose.diagnosis import MIN_JUDGED, Diagnosis

_COLOURS: dict[Theme, tuple[str, ...]] = {"light": ("#64748b", "#1d6fb8"), "dark": ("#94a3b8", "#5ab4f0")}
_FILLS: dict[Theme, tuple[str, ...]] = {
    "light": ("rgba(100, 116, 139, 0.18)", "rgba(29, 111, 184, 0.22)"),
    "dark": ("rgba(148, 163, 184, 0.20)", "rgba(90, 180, 240, 0.24)"),
}
_HEIGHT = 280
_MAX_BINS, _MIN_BINS = 60, 8
_MAX_BARS = 60


@dataclass(frozen=True)
class Outline:
    """Values that make one outline.

    Attributes:
        name: In the legend.
        values: Any number of them.
    """

    name: str
    values: NDArray[np.float32]


def outlines(
    groups: Sequence[Outline], axis: str, *, mark: float | None = None, mark_name: str = "", digits: int = 1
) -> Figure:
    """Up to two distributions over the same bins, each as shares of its own values, and a line that marks a value.

    Args:
        groups: What is drawn; none is empty.
        axis: What the values are.
        mark: Where a line stands.
        mark_name: What it says.
        digits: Decimals of the values in the tips.
    """
    edges = _edges([group.values for group in groups])
    traces, hover = [], []
    for group in groups:
        shares = 100 * np.histogram(group.values, edges)[0] / len(group.values)
        traces.append(_outline(group.name, edges, shares))
        # Two points at each edge, and each bin between them.
        told = [[group.name, _bin_in_words(*ends, digits, share)] for ends, share in _bins(edges, shares)]
        hover.append([told[0], *(each for each in told for _ in range(2)), told[-1]])
    layout = _layout(axis, "% of them")
    margin = 0.03 * (edges[-1] - edges[0])
    ends = [edges[0], edges[-1]] if mark is None else [min(edges[0], mark), max(edges[-1], mark)]
    layout["xaxis"]["range"] = [float(ends[0] - margin), float(ends[1] + margin)]
    means = "; ".join(f"{group.name}: {float(group.values.mean()):.{digits}f} on average" for group in groups)
    return {
        "data": traces,
        "layout": layout | {"annotations": _line_name(mark, mark_name, "right")},
        "themes": {theme: _outline_theme(theme, len(groups), mark) for theme in THEMES},
        "narrow": {"layout": {"margin": {"t": 72}, "legend": {"y": 1.5}}},
        "hover": {"kind": "points", "traces": hover},
        "height": _HEIGHT,
        "width": 0,
        "zoom": False,
        "label": f"Distribution of {axis}. {means}.",
    }


def count_bars(counts: ArrayLike, axis: str, *, expected: float, expected_name: str) -> Figure:
    """How many things have each count; the scale is logarithmic, so that single ones far out are seen.

    Args:
        counts: Of each thing.
        axis: What is counted.
        expected: Where a line stands.
        expected_name: What it says.
    """
    known = np.asarray(counts, np.int64)
    width = max(1, -(-(int(known.max(initial=0)) + 1) // _MAX_BARS))
    heights = np.bincount(known // width)
    starts = np.arange(len(heights)) * width
    hover = [["", f"{int(n):,} in {_span(int(start), width)} lists"] for start, n in zip(starts, heights, strict=True)]
    shown = heights.astype(np.float64)
    shown[heights == 0] = np.nan
    trace: Figure = {
        "type": "bar",
        "x": typed(starts + (width - 1) / 2),
        "y": typed(shown),
        "width": width * 0.9,
        "hoverinfo": "none",
        "marker": {"line": {"width": 0}},
    }
    layout = _layout(axis, "texts")
    layout["yaxis"] |= {"type": "log", "dtick": 1, "range": [-0.15, float(np.log10(max(heights.max(), 1))) + 0.2]}
    layout |= {"annotations": _line_name(expected, expected_name, "left"), "showlegend": False}
    return {
        "data": [trace],
        "layout": layout,
        "themes": {theme: _bar_theme(theme, expected) for theme in THEMES},
        "narrow": {},
        "hover": {"kind": "points", "traces": [hover]},
        "height": _HEIGHT,
        "width": 0,
        "zoom": False,
        "label": f"How many texts have each number of {axis}: from {known.min()} to {known.max()}.",
    }


def _outline(name: str, edges: NDArray[np.float64], shares: NDArray[np.float64]) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": typed(np.repeat(edges, 2)),
        "y": typed(np.concatenate([[0], np.repeat(shares, 2), [0]])),
        "fill": "tozeroy",
        "line": {"width": 2},
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


def _bins(edges: NDArray[np.float64], shares: NDArray[np.float64]) -> list[tuple[tuple[float, float], float]]:
    return [
        ((float(low), float(high)), float(share))
        for low, high, share in zip(edges[:-1], edges[1:], shares, strict=True)
    ]


def _bin_in_words(low: float, high: float, digits: int, share: float) -> str:
    return f"{share:.1f}% from {low:.{digits}f} to {high:.{digits}f}"


def _span(start: int, width: int) -> str:
    return f"{start:,}" if width == 1 else f"{start:,} to {start + width - 1:,}"


def _line(at: float | None, theme: Theme) -> list[Figure]:
    if at is None:
        return []
    line = {"width": 1.5, "dash": "dot", "color": INK[theme]}
    return [{"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "line": line}]


def _line_name(at: float | None, name: str, anchor: str) -> list[Figure]:
    if at is None:
        return []
    place: dict[str, Any] = {"x": at, "y": 1, "yref": "paper", "xanchor": anchor, "yanchor": "bottom"}
    return [{"text": name, "showarrow": False, "font": {"size": 11}, **place}]


def _layout(axis: str, counted: str) -> Figure:
    title = {"font": {"size": 12}}
    return {
        "margin": {"l": 8, "r": 12, "t": 34, "b": 8},
        "bargap": 0,
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.2, "font": {"size": 12}},
        "xaxis": {"automargin": True, "zeroline": False, "title": {"text": axis, **title}},
        "yaxis": {"automargin": True, "zeroline": False, "rangemode": "tozero", "title": {"text": counted, **title}},
    }


def _outline_theme(theme: Theme, n_groups: int, mark: float | None) -> Figure:
    traces = [
        {"line": {"color": colour}, "fillcolor": fill}
        for colour, fill in zip(_COLOURS[theme][:n_groups], _FILLS[theme], strict=False)
    ]
    return {"data": traces, "layout": _lines_theme(theme, mark)}


def _bar_theme(theme: Theme, mark: float) -> Figure:
    return {"data": [{"marker": {"color": _COLOURS[theme][1]}}], "layout": _lines_theme(theme, mark)}


def _lines_theme(theme: Theme, mark: float | None) -> Figure:
    patch = theme_layout(theme)
    patch["xaxis"] = patch["yaxis"] = {"gridcolor": FAINT[theme]}
    return patch | {"shapes": _line(mark, theme)}


def draw_cosines(found: Diagnosis) -> Figure | None:
    """Cosines of random pairs against those with the nearest text; None where they are too few to be a shape."""
    if len(found.kept) < MIN_JUDGED or found.threshold is None:
        return None
    groups = [
        Outline("two random texts", 100 * found.pairs.cosines),
        Outline("a text and its nearest", 100 * found.nearest),
    ]
    return outlines(
        groups, "Cosine \N{MULTIPLICATION SIGN} 100", mark=100 * found.threshold, mark_name="near copies from here"
    )


def draw_hubs(found: Diagnosis) -> Figure | None:
    """In how many lists of nearest texts each stands; None where there are too few to tell."""
    if found.hubs is None:
        return None
    axis = f"lists of the {found.hubs.k} nearest that a text is in"
    return count_bars(found.hubs.counts, axis, expected=found.hubs.expected, expected_name="mean")
