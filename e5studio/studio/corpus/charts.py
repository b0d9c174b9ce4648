"""Figures of settings with the interval of each, one below the other. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from e5studio.studio.charts.figure import FAINT, INK, THEMES, Figure, Theme, plot_text, theme_layout
from e5studio.studio.corpus.evaluation import MAIN_METRIC, CorpusEvaluation, SettingResult
from e5studio.studio.corpus.text import setting_name

_COLOUR: dict[Theme, str] = {"light": "#1d6fb8", "dark": "#5ab4f0"}


@dataclass(frozen=True)
class Estimate:
    """A figure and how sure it is.

    Attributes:
        name: Of the setting.
        value: The figure.
        low: Lower end of its interval; the figure itself where there is none.
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
        "textfont": {"size": 12},
        "hoverinfo": "none",
        "cliponaxis": False,
        "marker": {"size": 11},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [each.high - each.value for each in estimates],
            "arrayminus": [each.value - each.low for each in estimates],
            "thickness": 2,
            "width": 6,
        },
    }
    hover = [[each.name, f"{each.value:.4f}, from {each.low:.4f} to {each.high:.4f}"] for each in estimates]
    told = "; ".join(f"{each.name} {each.value:.4f}" for each in estimates)
    return {
        "data": [trace],
        "layout": {
            "showlegend": False,
            "margin": {"l": 8, "r": 24, "t": 16, "b": 8},
            "xaxis": {"automargin": True, "zeroline": False, "title": {"text": metric, "font": {"size": 12}}},
            "yaxis": {
                "automargin": True,
                "zeroline": False,
                "range": [len(estimates) - 0.4, -0.6],
                "tickvals": rows,
                "ticktext": names,
                "tickfont": {"size": 12},
            },
        },
        "themes": {theme: _theme(theme) for theme in THEMES},
        "narrow": {"layout": {"yaxis": {"ticktext": [plot_text(each.name, 40, width=16) for each in estimates]}}},
        "hover": {"kind": "points", "traces": [hover]},
        "height": 90 + 62 * len(estimates),
        "width": 0,
        "zoom": False,
        "label": f"{metric} of {len(estimates)} settings: {told}.",
    }


def _theme(theme: Theme) -> Figure:
    patch = theme_layout(theme)
    patch["xaxis"] = patch["yaxis"] = {"gridcolor": FAINT[theme]}
    marker = {"color": _COLOUR[theme]}
    return {
        "data": [{"marker": marker, "error_x": {"color": _COLOUR[theme]}, "textfont": {"color": INK[theme]}}],
        "layout": patch,
    }


def draw_evaluation(found: CorpusEvaluation) -> Figure | None:
    """nDCG@10 of each setting with its interval; None where all failed."""
    estimates = [_estimate(row) for row in found.rows if isinstance(row, SettingResult)]
    return interval_chart(estimates, "nDCG@10") if estimates else None


def _estimate(row: SettingResult) -> Estimate:
    main = row.means[MAIN_METRIC]
    ends = (main.value, main.value) if main.interval is None else (main.interval.low, main.interval.high)
    return Estimate(setting_name(row.setting), main.value, *ends)
