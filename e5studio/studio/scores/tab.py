"""The tab with the score matrix: heat map, table, the pair that was picked, what the model read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from e5studio.studio.charts.figure import Figure
from e5studio.studio.charts.matrix import heat_map
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.prompt_modes import side_labels
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.jobs.events import (
    PROJECT_QUEUE,
    UNQUEUED,
    PendingOutput,
    fields_of,
    pending_state,
    show_if_current,
)
from e5studio.studio.scores import text as scores_text
from e5studio.studio.scores.order import Order, matrix_order, valid_order
from e5studio.studio.scores.table import score_table
from e5studio.studio.serving.downloads import as_payload
from e5studio.studio.why.panel import Stop, WhyPanel, cleared, listen_why, render_why
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.data_table import data_table_view
from e5studio.studio.widgets.plotly_view import plotly_view
from e5studio.studio.widgets.save_bar import save_bar
from e5studio.studio.widgets.text_tree import text_tree

_WORTH_SORTING = 3

# A large matrix fills the window, and what a click brings would appear below it, unseen.
_SHOW_PAIR = """() => document.querySelector("#e5-pair").scrollIntoView({ block: "nearest" })"""


@dataclass(frozen=True)
class ScoresTab:
    """The components that show a result."""

    order: gr.Radio
    heat: gr.HTML
    table: gr.HTML
    reading: gr.HTML
    pair: gr.HTML
    why: WhyPanel
    notes: gr.HTML
    save: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        """In the order of `show_scores`."""
        return [self.order, self.heat, self.table, self.reading, self.pair, self.notes, self.save, *self.why.outputs]


def render_scores() -> ScoresTab:
    """Lay out the tab."""
    invitation = [
        ["p", "e5-empty-title", "See how close each query is to each passage"],
        ["p", "e5-hint", "Take an example or write your own texts, then press Score."],
    ]
    with gr.Row(elem_id="e5-matrix"):
        with gr.Column(elem_id="e5-matrix-heat", min_width=0):
            order = gr.Radio(
                [("As written", "written"), ("Best first", "score"), ("Groups together", "group")],
                value="written",
                label="Order",
                visible=False,
                elem_id="e5-order",
            )
            heat = plotly_view(elem_id="e5-heat")
            reading = text_tree(invitation, elem_id="e5-reading")
            pair = text_tree(elem_id="e5-pair", live="polite")
        with gr.Column(elem_id="e5-matrix-table", min_width=0):
            table = data_table_view(elem_id="e5-scores")
    why = render_why()
    notes = text_tree(elem_id="e5-notes")
    save = save_bar(
        [
            ("scores", [("CSV", "scores.csv"), ("Parquet", "scores.parquet"), ("NumPy", "scores.npy")]),
            ("vectors", [("Parquet", "vectors.parquet"), ("NumPy", "vectors.npy")]),
            ("page", [("JSON", "page.json")]),
        ],
        plot="e5-heat",
        elem_id="e5-save-scores",
    )
    return ScoresTab(order, heat, table, reading, pair, why, notes, save)


def show_scores(result: ScoreResult, order: Order = "written") -> list[Any]:
    """A result as the values of `ScoresTab.outputs`."""
    return [
        gr.update(value=order, visible=max(result.scores.shape) >= _WORTH_SORTING),
        as_payload(ordered_heat_map(result, order)),
        as_payload(score_table(result)),
        scores_text.reading_help(result),
        [],
        scores_text.notes(result),
        gr.update(visible=True),
        *cleared(),
    ]


def ordered_heat_map(result: ScoreResult, order: Order) -> Figure:
    """The matrix with its rows and columns in an order; a click on a cell still names its texts."""
    names = side_labels(result.prompt_mode)
    rows, columns = matrix_order(result, order)
    scores = result.counted  # a text is always 100 to itself, which would drown the rest
    place_of_column = np.argsort(columns)
    best = [result.best[row] for row in rows]
    figure = heat_map(
        scores[np.ix_(rows, columns)],
        [result.queries.texts[row] for row in rows],
        [result.passages.texts[column] for column in columns],
        [result.queries.labels[row] for row in rows],
        [result.passages.labels[column] for column in columns],
        [None if column is None else int(place_of_column[column]) for column in best],
        (names.left, names.left if result.is_self else names.right),
    )
    figure["hover"] |= {"row_places": rows.tolist(), "column_places": columns.tolist()}
    return figure


def listen_scores(tab: ScoresTab, engine: Engine, result: gr.State) -> Stop:
    """Show a pair in full when its cell or its row is clicked, and then why it scores as it does.

    Returns:
        A listener that ends the leaving out of words.
    """
    for source in (tab.heat, tab.table):
        shown = source.pick(_pair, [result], [tab.pair], **UNQUEUED)
        shown.then(None, js=_SHOW_PAIR, **UNQUEUED)
    reordered = pending_state()
    made = tab.order.input(_reordered, [result, tab.order], [reordered], trigger_mode="always_last", **PROJECT_QUEUE)
    show_if_current(made, reordered, result, [tab.heat])
    return listen_why(tab.why, engine, result, [tab.heat, tab.table])


def _reordered(result: ScoreResult | None, order: str) -> Any:
    if result is None:
        return gr.skip()
    return PendingOutput(result.key, [as_payload(ordered_heat_map(result, valid_order(order)))])


def show_pair(result: ScoreResult | None, row: Any, column: Any) -> list[nodes.Node]:
    """The texts of a cell in full; nothing for what is none."""
    if result is None or not isinstance(row, int) or not isinstance(column, int):
        return []
    return scores_text.pair(result, row, column)


def _pair(result: ScoreResult | None, event: gr.EventData) -> list[nodes.Node]:
    place = fields_of(event)
    return show_pair(result, place.get("row"), place.get("column"))
