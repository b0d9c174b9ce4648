"""Figures of settings with the interval of each, one below the other. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from e5studio.studio.charts.figure import Figure, plot_text
from e5studio.studio.corpus.evaluation import MAIN_METRIC, CorpusEvaluation, SettingResult
from e5studio.studio.corpus.text import setting_name


@dataclass(frozen=True)
class Estimate:
    """The value of a metric and its interval.

    Attributes:
        name: Of the setting.
        value: Of the metric.
        low: Lower end of the interval; the value itself where there is none.
        high: Upper end.
    """

    name: str
    value: float
    low: float
    high: float


def interval_chart(estimates: Sequence[Estimate], metric: str) -> Figure:
    """A point and a line for each, the first at the top."""
    rows = list(range(len(estimates)))
    names = [plot_text(each.name, 90, width=34) for each in estimates]
    trace: Figure = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [each.value for each in estimates],
        "y": rows,
        "text": [f"{each.value:.4f}" for each in estimates],
        "textposition": "top center",
        "textfont": {"size": 12, "color": "@ink"},
        "hoverinfo": "none",
        "cliponaxis": False,
        "marker": {"size": 11, "color": "@blue"},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [each.high - each.value for each in estimates],
            "arrayminus": [each.value - each.low for each in estimates],
            "color": "@blue",
            "thickness": 2,
            "width": 6,
        },
    }
    hover = [[each.name, f"{each.value:.4f}, from {each.low:.4f} to {each.high:.4f}"] for each in estimates]
    values = "; ".join(f"{each.name} {each.value:.4f}" for each in estimates)
    axis = {"automargin": True, "zeroline": False, "gridcolor": "@faint"}
    return {
        "data": [trace],
        "layout": {
            "showlegend": False,
            "margin": {"l": 8, "r": 24, "t": 16, "b": 8},
            "xaxis": {**axis, "title": {"text": metric, "font": {"size": 12}}},
            "yaxis": {
                **axis,
                "range": [len(estimates) - 0.4, -0.6],
                "tickvals": rows,
                "ticktext": names,
                "tickfont": {"size": 12},
            },
        },
        "narrow": {"layout": {"yaxis": {"ticktext": [plot_text(each.name, 40, width=16) for each in estimates]}}},
        "hover": {"kind": "points", "traces": [hover]},
        "height": 90 + 62 * len(estimates),
        "width": 0,
        "zoom": False,
        "label": f"{metric} of {len(estimates)} settings: {values}.",
    }


def draw_evaluation(evaluation: CorpusEvaluation) -> Figure | None:
    """nDCG@10 of each setting with its interval; None where all failed."""
    estimates = [_estimate(row) for row in evaluation.rows if isinstance(row, SettingResult)]
    return interval_chart(estimates, "nDCG@10") if estimates else None


def _estimate(row: SettingResult) -> Estimate:
    main = row.means[MAIN_METRIC]
    ends = (main.value, main.value) if main.interval is None else (main.interval.low, main.interval.high)
    return Estimate(setting_name(row.setting), main.value, *ends)
