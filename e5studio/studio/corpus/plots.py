"""Measurements -> figures for the page. Knows no Gradio."""

from __future__ import annotations

from e5studio.studio.corpus.measuring import MAIN_METRIC, Measured, SettingResult
from e5studio.studio.corpus.words import setting_name
from e5studio.studio.figures.form import Figure
from e5studio.studio.figures.intervals import Estimate, interval_chart


def draw_measured(found: Measured) -> Figure | None:
    """nDCG@10 of each setting with its interval; None where all failed."""
    estimates = [_estimate(row) for row in found.rows if isinstance(row, SettingResult)]
    return interval_chart(estimates, "nDCG@10") if estimates else None


def _estimate(row: SettingResult) -> Estimate:
    main = row.means[MAIN_METRIC]
    ends = (main.value, main.value) if main.interval is None else (main.interval.low, main.interval.high)
    return Estimate(setting_name(row.setting), main.value, *ends)
