"""Figures of settings with the interval of each, one below the other. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from e5studio.studio.charts.figure import Figure, plot_text
from e5studio.studio.corpus.evaluation import MAIN_METRIC, CorpusEvaluation, Mean, SettingResult
from e5studio.studio.corpus.evaluation_text import setting_name


def interval_chart(means: Sequence[tuple[str, Mean]], metric: str) -> Figure:
    """A point and a line for each setting's name and mean, the first at the top."""
    rows = list(range(len(means)))
    names = [name for name, _ in means]
    values = [mean.value for _, mean in means]
    lows = [mean.interval.low if mean.interval else mean.value for _, mean in means]
    highs = [mean.interval.high if mean.interval else mean.value for _, mean in means]
    trace: Figure = {
        "type": "scatter",
        "mode": "markers+text",
        "x": values,
        "y": rows,
        "text": [f"{value:.4f}" for value in values],
        "textposition": "top center",
        "textfont": {"size": 12, "color": "@ink"},
        "hoverinfo": "none",
        "cliponaxis": False,
        "marker": {"size": 11, "color": "@blue"},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [high - value for high, value in zip(highs, values, strict=True)],
            "arrayminus": [value - low for low, value in zip(lows, values, strict=True)],
            "color": "@blue",
            "thickness": 2,
            "width": 6,
        },
    }
    estimates = zip(names, values, lows, highs, strict=True)
    hover = [[name, f"{value:.4f}, from {low:.4f} to {high:.4f}"] for name, value, low, high in estimates]
    listed = "; ".join(f"{name} {value:.4f}" for name, value in zip(names, values, strict=True))
    axis = {"automargin": True, "zeroline": False, "gridcolor": "@faint"}
    return {
        "data": [trace],
        "layout": {
            "showlegend": False,
            "margin": {"l": 8, "r": 24, "t": 16, "b": 8},
            "xaxis": {**axis, "title": {"text": metric, "font": {"size": 12}}},
            "yaxis": {
                **axis,
                "range": [len(rows) - 0.4, -0.6],
                "tickvals": rows,
                "ticktext": [plot_text(name, 90, width=34) for name in names],
                "tickfont": {"size": 12},
            },
        },
        "narrow": {"layout": {"yaxis": {"ticktext": [plot_text(name, 40, width=16) for name in names]}}},
        "hover": {"kind": "points", "traces": [hover]},
        "height": 90 + 62 * len(rows),
        "width": 0,
        "zoom": False,
        "label": f"{metric} of {len(rows)} settings: {listed}.",
    }


def draw_evaluation(evaluation: CorpusEvaluation) -> Figure | None:
    """nDCG@10 of each setting with its interval; None where there are not two of them to compare."""
    results = [row for row in evaluation.rows if isinstance(row, SettingResult)]
    means = [(setting_name(row), row.means[MAIN_METRIC]) for row in results]
    return interval_chart(means, "nDCG@10") if len(means) > 1 else None
