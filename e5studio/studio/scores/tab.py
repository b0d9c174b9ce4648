"""The tab with the score matrix: heat map, table, the picked pair, what the model read."""

from __future__ import annotations

import gradio as gr
import numpy as np

from e5studio.studio.charts.figure import Figure
from e5studio.studio.charts.matrix import heat_map
from e5studio.studio.engine.prompt_modes import side_labels
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.jobs.events import (
    EACH,
    NOTHING_PENDING,
    PROJECT_QUEUE,
    UNQUEUED,
    Changes,
    PendingOutput,
    cell_of,
    pending_state,
    show_if_current,
)
from e5studio.studio.scores import text as scores_text
from e5studio.studio.scores.order import Order, matrix_order, valid_order
from e5studio.studio.scores.table import score_table
from e5studio.studio.services import Services
from e5studio.studio.why.panel import WhyPanel
from e5studio.studio.widgets.data_table import data_table_view
from e5studio.studio.widgets.plotly_view import plotly_view
from e5studio.studio.widgets.save_bar import save_bar
from e5studio.studio.widgets.text_tree import text_tree

_WORTH_SORTING = 3

# A large matrix fills the window, and what a click brings would appear below it, unseen.
_SHOW_PAIR = """() => document.querySelector("#e5-pair").scrollIntoView({ block: "nearest" })"""


class ScoresTab:
    """The tab; made inside gr.Blocks."""

    def __init__(self, services: Services) -> None:
        self._downloads = services.downloads
        with gr.Row(elem_id="e5-matrix"):
            with gr.Column(elem_id="e5-matrix-heat", min_width=0):
                self.order = gr.Radio(
                    [("As written", "written"), ("Best first", "score"), ("Groups together", "group")],
                    value="written",
                    label="Order",
                    visible=False,
                    elem_id="e5-order",
                )
                self.heat = plotly_view(elem_id="e5-heat")
                self.reading = text_tree(scores_text.invitation(), elem_id="e5-reading")
                self.pair = text_tree(elem_id="e5-pair", live="polite")
            with gr.Column(elem_id="e5-matrix-table", min_width=0):
                self.table = data_table_view(elem_id="e5-scores")
        self.why = WhyPanel(services)
        self.notes = text_tree(elem_id="e5-notes")
        self.save = save_bar(
            [
                ("scores", [("CSV", "scores.csv"), ("Parquet", "scores.parquet"), ("NumPy", "scores.npy")]),
                ("vectors", [("Parquet", "vectors.parquet"), ("NumPy", "vectors.npy")]),
                ("page", [("JSON", "page.json")]),
            ],
            plot="e5-heat",
            elem_id="e5-save-scores",
        )

    def connect(self, result: gr.State) -> None:
        """Show a pair in full and explain it when its cell or its row is picked; reorder the matrix."""
        for source in (self.heat, self.table):
            picked = source.pick(self.on_pick, [result], [self.pair], **(UNQUEUED | EACH))
            picked.then(None, js=_SHOW_PAIR, **UNQUEUED)
        pending = pending_state()
        ordered = self.order.input(self.on_order, [result, self.order], [pending], **PROJECT_QUEUE)
        show_if_current(ordered, pending, result, [self.heat])
        self.why.connect(result, [self.heat, self.table])

    def show(self, result: ScoreResult, order: Order = "written") -> Changes:
        """Show a new result."""
        return {
            self.order: gr.update(value=order, visible=max(result.scores.shape) >= _WORTH_SORTING),
            self.heat: self._downloads.as_payload(ordered_heat_map(result, order)),
            self.table: self._downloads.as_payload(score_table(result)),
            self.reading: scores_text.reading_help(result),
            self.pair: [],
            self.notes: scores_text.notes(result),
            self.save: gr.update(visible=True),
            **self.why.close(),
        }

    def on_order(self, result: ScoreResult | None, order: str) -> PendingOutput:
        """Another order was chosen."""
        if result is None:
            return NOTHING_PENDING
        heat = self._downloads.as_payload(ordered_heat_map(result, valid_order(order)))
        return PendingOutput(result.key, {self.heat: heat})

    def on_pick(self, result: ScoreResult | None, event: gr.EventData) -> Changes:
        """A cell or a row was picked."""
        cell = cell_of(event)
        return {self.pair: [] if result is None or cell is None else scores_text.pair(result, *cell)}


def ordered_heat_map(result: ScoreResult, order: Order) -> Figure:
    """The matrix with its rows and columns in an order; a click on a cell still names its texts."""
    names = side_labels(result.prompt_mode)
    rows, columns = matrix_order(result, order)
    scores = result.counted  # a text is always 100 to itself, which would drown the rest
    position = np.argsort(columns)
    best = [result.best[row] for row in rows]
    figure = heat_map(
        scores[np.ix_(rows, columns)],
        [result.queries.texts[row] for row in rows],
        [result.passages.texts[column] for column in columns],
        [result.queries.labels[row] for row in rows],
        [result.passages.labels[column] for column in columns],
        [None if column is None else int(position[column]) for column in best],
        (names.left, names.left if result.is_self else names.right),
    )
    figure["hover"] |= {"row_places": rows.tolist(), "column_places": columns.tolist()}
    return figure
