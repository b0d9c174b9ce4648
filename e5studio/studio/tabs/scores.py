"""The tab with the score matrix: heat map, table, the pair that was picked, what the model read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from e5studio.studio import words
from e5studio.studio.components.plotly_view import plotly_view
from e5studio.studio.components.score_table import score_table_view
from e5studio.studio.components.text_tree import text_tree
from e5studio.studio.figures import heat_map
from e5studio.studio.handlers import Handlers, ScoreResult
from e5studio.studio.tables import score_table
from e5studio.studio.tabs.why import WhyPanel, cleared, listen_why, render_why
from e5studio.studio.uses import wording


@dataclass(frozen=True)
class ScoresTab:
    """The components that show a result."""

    heat: gr.HTML
    table: gr.HTML
    reading: gr.HTML
    pair: gr.HTML
    why: WhyPanel
    notes: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        """In the order of `show_scores`."""
        return [self.heat, self.table, self.reading, self.pair, self.notes, *self.why.outputs]


def render_scores() -> ScoresTab:
    """Lay out the tab."""
    invitation = [
        ["p", "e5-empty-title", "See how close each query is to each passage"],
        ["p", "e5-hint", "Take an example or write your own texts, then press Score."],
    ]
    with gr.Row(elem_id="e5-matrix"):
        with gr.Column(elem_id="e5-matrix-heat", min_width=0):
            heat = plotly_view(elem_id="e5-heat")
            reading = text_tree(invitation, elem_id="e5-reading")
            pair = text_tree(elem_id="e5-pair", live="polite")
        with gr.Column(elem_id="e5-matrix-table", min_width=0):
            table = score_table_view(elem_id="e5-scores")
    why = render_why()
    notes = text_tree(elem_id="e5-notes")
    return ScoresTab(heat, table, reading, pair, why, notes)


def show_scores(result: ScoreResult) -> list[Any]:
    """A result as the values of `ScoresTab.outputs`."""
    names = wording(result.use)
    scores = result.scores.copy()
    if result.is_self:
        np.fill_diagonal(scores, np.nan)  # a text is always 100 to itself, which would drown the rest
    figure = heat_map(
        scores,
        result.queries.texts,
        result.passages.texts,
        result.queries.labels,
        result.passages.labels,
        result.best,
        (names.left, names.left if result.is_self else names.right),
    )
    return [figure, score_table(result), words.reading_help(result), [], words.notes(result), *cleared()]


def listen_scores(tab: ScoresTab, handlers: Handlers, result: gr.State) -> None:
    """Show a pair in full when its cell or its row is clicked, and then why it scores as it does."""
    for source in (tab.heat, tab.table):
        source.pick(_pair, [result], [tab.pair], queue=False, show_progress="hidden", api_visibility="private")
    listen_why(tab.why, handlers, result, [tab.heat, tab.table])


def _pair(result: ScoreResult | None, event: gr.EventData) -> list[words.Node]:
    place = event._data or {}
    row, column = place.get("row"), place.get("column")
    if result is None or not isinstance(row, int) or not isinstance(column, int):
        return []
    return words.pair(result, row, column)
