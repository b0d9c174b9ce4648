"""The tab with the score matrix: heat map, table, the picked pair, what the model read."""

from __future__ import annotations

from typing import Any

import gradio as gr

from e5studio.models import ENGLISH, XLMR_LANGUAGES, ModelMeta
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.jobs.events import (
    NOTHING_PENDING,
    PROJECT_QUEUE,
    Changes,
    PendingOutput,
    pending_state,
    show_if_current,
)
from e5studio.studio.scores import text as scores_text
from e5studio.studio.scores.charts import ordered_heat_map
from e5studio.studio.scores.order import Order, Shading, valid_order, valid_shading
from e5studio.studio.scores.table import score_table
from e5studio.studio.services import Services
from e5studio.studio.why.panel import WhyPanel
from e5studio.studio.widgets.data_table import data_table_view
from e5studio.studio.widgets.plotly_view import plotly_view
from e5studio.studio.widgets.save_bar import save_bar
from e5studio.studio.widgets.text_tree import text_tree

_WORTH_SORTING = 3


class ScoresTab:
    """The tab; made inside gr.Blocks."""

    def __init__(self, services: Services) -> None:
        self._downloads, self._catalog = services.downloads, services.engine.catalog
        self.reading = text_tree(scores_text.invitation(), elem_id="e5-reading")
        with gr.Row(elem_id="e5-matrix"):
            with gr.Column(elem_id="e5-matrix-heat", min_width=0):
                with gr.Row(elem_id="e5-look", visible=False) as self.look:
                    self.order = gr.Radio(
                        [("As written", "written"), ("Best first", "score"), ("Groups together", "group")],
                        value="written",
                        label="Order",
                        elem_id="e5-order",
                        min_width=0,
                    )
                    self.shading = gr.Radio(
                        [("Row by row", "row"), ("All together", "all")],
                        value="row",
                        label="Colour",
                        elem_id="e5-shading",
                        min_width=0,
                    )
                self.heat = plotly_view(elem_id="e5-heat")
                self.scale = text_tree(elem_id="e5-scale")
            self.why = WhyPanel(services)
            with gr.Column(elem_id="e5-matrix-table", min_width=0):
                self.table = data_table_view(elem_id="e5-scores")
        self.notes = text_tree(elem_id="e5-notes")
        self.save = save_bar(
            [
                ("scores", [("CSV", "scores.csv"), ("Parquet", "scores.parquet"), ("NumPy", "scores.npy")]),
                ("vectors", [("Parquet", "vectors.parquet"), ("NumPy", "vectors.npy")]),
                ("page", [("HTML", "scores.html"), ("JSON to open here", "page.json")]),
            ],
            plot="e5-heat",
            elem_id="e5-save-scores",
        )

    def connect(self, result: gr.State) -> None:
        """Explain the pair whose cell or row is picked; change the order and the colours of the matrix."""
        pending = pending_state()
        looks = [result, self.order, self.shading]
        looked = gr.on([self.order.input, self.shading.input], self.on_look, looks, [pending], **PROJECT_QUEUE)
        show_if_current(looked, pending, result, [self.heat, self.reading])
        self.why.connect(result, [self.heat, self.table])

    def show(self, result: ScoreResult, order: Order = "written", shading: Any = None) -> Changes:
        """Show a new result."""
        valid = valid_shading(shading, result)
        return {
            self.look: gr.update(visible=max(result.scores.shape) >= _WORTH_SORTING),
            self.order: order,
            self.shading: valid,
            **self._draw(result, order, valid),
            self.table: self._downloads.as_payload(score_table(result)),
            self.scale: scores_text.scale_help(result),
            self.notes: scores_text.notes(result, self._multilingual_model(result)),
            self.save: gr.update(visible=True),
            **self.why.close(),
        }

    def _multilingual_model(self, result: ScoreResult) -> ModelMeta | None:
        """One that is on this machine, for texts that were scored by an English one."""
        if result.meta.languages != ENGLISH:
            return None
        catalog = self._catalog
        return next(
            (each for each in catalog.models if each.languages == XLMR_LANGUAGES and catalog.is_here(each)), None
        )

    def on_look(self, result: ScoreResult | None, order: str, shading: str) -> PendingOutput:
        """Another order or shading was chosen."""
        if result is None:
            return NOTHING_PENDING
        return PendingOutput(result.key, self._draw(result, valid_order(order), valid_shading(shading, result)))

    def _draw(self, result: ScoreResult, order: Order, shading: Shading) -> Changes:
        return {
            self.heat: self._downloads.as_payload(ordered_heat_map(result, order, shading)),
            self.reading: scores_text.reading_help(result, is_by_row=shading == "row"),
        }
