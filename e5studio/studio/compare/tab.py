"""The tab that compares: the setting of the form with another, or with every pair of prompts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from e5studio.errors import BackendError, MissingDependencyError, VectorError
from e5studio.studio.compare import text as compare_text
from e5studio.studio.compare.charts import draw_bump, draw_differences, draw_maps, draw_ranks
from e5studio.studio.compare.chips import Chip, chips, has_int8, other_setting
from e5studio.studio.compare.comparison import Comparison, PromptGrid, compare, try_prompts
from e5studio.studio.compare.setting_form import SettingForm
from e5studio.studio.compare.tables import comparison_columns, first_table, prompt_table
from e5studio.studio.engine.error_messages import for_menus, message_for_visitor
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.engine.result import ScoreRequest, ScoreResult
from e5studio.studio.form.form import Form, score_request
from e5studio.studio.form.stale_strip import results_of, stale_strip
from e5studio.studio.jobs.button import JobButton
from e5studio.studio.jobs.events import (
    EACH,
    ENCODE_QUEUE,
    ONCE,
    SAVE_QUEUE,
    UNQUEUED,
    Changes,
    cell_of,
    components_of,
    fields_of,
)
from e5studio.studio.services import Services
from e5studio.studio.serving.table_files import columns_file
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.data_table import data_table_view
from e5studio.studio.widgets.plotly_view import plotly_view
from e5studio.studio.widgets.save_bar import save_bar
from e5studio.studio.widgets.text_tree import text_tree

# The result stays in sight; only the status must not go on saying that it is done.
_NO_LONGER_DONE = f"""(status) => [
  status?.[0]?.[1] === "{nodes.DONE}" ? {json.dumps(nodes.hint(compare_text.CHANGED))} : status,
]"""

# On a phone the conclusion would appear out of sight.
_SHOW_CONCLUSION = """() => {
  const headline = document.querySelector("#e5-compare-said .e5-headline");
  const { top } = headline?.getBoundingClientRect() ?? { top: 0 };
  if (top > window.innerHeight * 0.6) headline.scrollIntoView();
}"""


class CompareTab:
    """The tab that compares two settings, or all prompts, over the texts of the form.

    Args:
        services: Of the page.
        model: B's model at first.
    """

    def __init__(self, services: Services, model: str) -> None:
        self._services = services
        self._compare_on_gpu = services.engine.on_gpu(self._compare)
        self._try_prompts_on_gpu = services.engine.on_gpu(self._try_prompts)
        self.chips = text_tree(elem_id="e5-compare-chips")
        self.setting = SettingForm(model, services.engine.catalog)
        self.is_paired = gr.Checkbox(
            label="Passage 1 answers query 1, passage 2 query 2, and so on", elem_id="e5-paired", container=False
        )
        with gr.Row(elem_id="e5-compare-buttons"):
            self.start = gr.Button("Compare", variant="primary", elem_id="e5-compare", min_width=0)
            self.stop = gr.Button("Stop", elem_id="e5-compare-stop", visible=False, min_width=0)
            self.status = text_tree(nodes.hint(compare_text.HINT), elem_id="e5-compare-status", live="polite")
        self._job = JobButton(self.start, self.stop, self.status)
        self.stale = stale_strip(
            "e5-stale-comparison", results="e5-stale-compared", again="Compare again", button="e5-compare"
        )
        self.conclusion = text_tree(elem_id="e5-compare-said", live="polite")
        with gr.Row(elem_id="e5-compare-matrix"):
            with gr.Column(elem_id="e5-compare-heat", min_width=0):
                self.plot = plotly_view(elem_id="e5-ranks")
                self.reading = text_tree(elem_id="e5-ranks-said")
                self.prompts_text = text_tree(elem_id="e5-all-prompts-said", live="polite")
                self.prompts = data_table_view(elem_id="e5-all-prompts")
                self.pair = text_tree(elem_id="e5-compared-pair", live="polite")
            with gr.Column(elem_id="e5-compare-table", min_width=0):
                self.table = data_table_view(elem_id="e5-firsts")
                self.order_text = text_tree(elem_id="e5-bump-said", live="polite")
                self.order = plotly_view(elem_id="e5-bump")
        with gr.Accordion("Both maps", open=False, visible=False, elem_id="e5-compare-details") as self.details:
            text_tree(nodes.hint(compare_text.MAPS), elem_id="e5-maps-said")
            with gr.Row(elem_id="e5-two-maps"):
                with gr.Column(min_width=0):
                    self.first_map = plotly_view(elem_id="e5-map-a")
                with gr.Column(min_width=0):
                    self.second_map = plotly_view(elem_id="e5-map-b")
        with gr.Accordion(
            "Differences of scores", open=False, visible=False, elem_id="e5-compare-scores"
        ) as self.scores:
            self.differences = plotly_view(elem_id="e5-differences")
        self.save = save_bar(
            [("all pairs", [("CSV", "comparison.csv"), ("Parquet", "comparison.parquet")])],
            plot="e5-ranks",
            elem_id="e5-save-comparison",
        )
        self.comparison = gr.State(None)

    def connect(self, form: Form, result: gr.State) -> None:
        """Bind the events.

        Args:
            form: Holds A and the texts.
            result: What the page shows in its other tabs.
        """
        setting, status = self.setting, self.status
        setting.connect()
        known = [result, self.comparison, self.is_paired]
        outputs = components_of(self)
        once: dict[str, Any] = ENCODE_QUEUE | ONCE
        for event in (
            self.start.click(self.on_compare, [*known, *form.typed, *setting.chosen], outputs, **once),
            self.chips.pick(self.on_chip, [*known, setting.instruction, *form.typed], outputs, **once),
            self.reading.pick(self.on_all_prompts, [self.comparison], outputs, **once),
        ):
            event.then(None, js=_SHOW_CONCLUSION, **UNQUEUED)
        self._job.connect_stop()
        offered = [self.chips, setting.first_dtype, setting.dtype]
        for listener in (form.link.rescore, form.picker.choose, form.prompt_mode.input):
            listener(self.on_form, [form.picker, form.prompt_mode], offered, **UNQUEUED)
        choices = (setting.prompt_mode, setting.dtype, setting.backend, setting.first_dtype, setting.first_backend)
        changed = [setting.picker.choose, setting.instruction.change, *(each.input for each in choices)]
        for listener in (*changed, self.is_paired.input):
            listener(None, [status], [status], js=_NO_LONGER_DONE, **UNQUEUED)
        picked = [self.pair, self.order_text, self.order]
        for source in (self.plot, self.table, self.differences):
            source.pick(self.on_pick, [self.comparison], picked, **(UNQUEUED | EACH))
        self.save.wanted(self.on_save, [self.comparison], [self.save], **(SAVE_QUEUE | EACH))

    def show(self, comparison: Comparison) -> Changes:
        """Show a comparison."""
        payload = self._services.downloads.as_payload
        first_map, second_map = map(payload, draw_maps(comparison))
        differences = draw_differences(comparison)
        return {
            self.status: compare_text.done(comparison),
            self.stale: results_of(comparison.of_form, "This comparison is"),
            self.conclusion: compare_text.conclusion(comparison),
            self.plot: payload({**draw_ranks(comparison), "title": compare_text.headline(comparison)}),
            self.reading: compare_text.how_to_read(comparison),
            self.prompts_text: [],
            self.prompts: None,
            self.table: payload(first_table(comparison)),
            self.pair: [],
            **self._query(comparison, comparison.most_moved()),
            self.details: gr.update(visible=True),
            self.first_map: first_map,
            self.second_map: second_map,
            self.scores: gr.update(visible=differences is not None),
            self.differences: None if differences is None else payload(differences),
            self.save: gr.update(visible=True),
            self.comparison: comparison,
        }

    def on_form(self, model: str, prompt_mode: str) -> Changes:
        """The form may hold another model or prompt mode: offer what can be compared with it."""
        offers = [nodes.pick(chip.key, chip.title) for chip in self._chips(model, prompt_mode)]
        label = nodes.span("At one click", css="e5-examples-label")
        int8 = self.setting.offer_int8() if has_int8() else {}
        return {**int8, self.chips: [["div", "e5-chips", label, *offers]] if offers else []}

    def on_compare(
        self,
        result: ScoreResult | None,
        comparison: Comparison | None,
        is_paired: bool,
        request: gr.Request,
        *values: Any,
    ) -> Iterator[Changes]:
        """Compare was pressed."""
        yield from self._run(request, comparison, result, is_paired, *_requests(*values))

    def on_chip(
        self,
        result: ScoreResult | None,
        comparison: Comparison | None,
        is_paired: bool,
        instruction: str,
        request: gr.Request,
        event: gr.EventData,
        *typed: Any,
    ) -> Iterator[Changes]:
        """A comparison at one click: fill B with it, and compare."""
        form, key = score_request(*typed), fields_of(event).get("key")
        chip = next((chip for chip in self._chips(form.model, form.prompt_mode) if chip.key == key), None)
        if chip is None:
            yield {self.status: nodes.error(compare_text.NOT_WITH_THIS), **self.on_form(form.model, form.prompt_mode)}
            return
        other = other_setting(chip, form, self._services.engine.catalog, instruction)
        yield self.setting.fill(other)
        yield from self._run(request, comparison, result, is_paired, form, other)

    def on_all_prompts(self, comparison: Comparison | None, request: gr.Request) -> Iterator[Changes]:
        """Every pair of prompts was asked for."""
        if comparison is None:
            yield {}
            return

        def work(on_stage: OnStage) -> PromptGrid:
            return self._try_prompts_on_gpu(comparison, on_stage=on_stage)

        yield from self._job.run(request, work, self._show_prompts, is_result_left=True)

    def on_pick(self, comparison: Comparison | None, event: gr.EventData) -> Changes:
        """A cell or a row was clicked: show its pair, and both orders of its query."""
        cell = cell_of(event)
        if comparison is None or cell is None or not comparison.first.has_pair(*cell):
            return {}
        return {self.pair: compare_text.compared_pair(comparison, *cell), **self._query(comparison, cell[0])}

    def on_save(self, comparison: Comparison | None, event: gr.EventData) -> Changes:
        """A file was asked for."""
        name = fields_of(event).get("kind")
        if comparison is None:
            return {self.save: {"fault": "There is nothing to save yet. Press Compare."}}
        try:
            if name not in ("comparison.csv", "comparison.parquet"):
                raise VectorError(f"{str(name)[:80]!r} is no file that can be saved here.")
            file = columns_file(name, comparison_columns(comparison), {})
            return {self.save: {"address": self._services.downloads.put(file)}}
        except Exception as error:
            return {self.save: {"fault": message_for_visitor(error)}}

    def _show_prompts(self, grid: PromptGrid) -> Changes:
        table = self._services.downloads.as_payload(prompt_table(grid))
        return {
            self.status: compare_text.tried(grid),
            self.prompts_text: compare_text.all_prompts(grid),
            self.prompts: table,
        }

    def _query(self, comparison: Comparison, row: int) -> Changes:
        chart = self._services.downloads.as_payload(draw_bump(comparison, row))
        return {self.order_text: compare_text.order_of(comparison, row), self.order: chart}

    def _chips(self, model: str, prompt_mode: str) -> list[Chip]:
        return chips(self._services.engine.catalog, model, prompt_mode, has_int8=has_int8())

    def _run(
        self,
        request: gr.Request,
        comparison: Comparison | None,
        result: ScoreResult | None,
        is_paired: bool,
        *settings: ScoreRequest,
    ) -> Iterator[Changes]:
        before = [each for each in (result, comparison and comparison.first, comparison and comparison.second) if each]

        def work(on_stage: OnStage) -> Comparison:
            return self._compare_on_gpu(*settings, is_paired is True, before, on_stage=on_stage)

        return self._job.run(request, work, self.show, is_result_left=comparison is not None)

    def _compare(
        self,
        form: ScoreRequest,
        other: ScoreRequest,
        is_paired: bool,
        before: list[ScoreResult],
        *,
        on_stage: OnStage | None = None,
    ) -> Comparison:
        try:
            return compare(self._services.engine, form, other, on_stage, is_paired=is_paired, before=before)
        except (BackendError, MissingDependencyError) as error:
            raise for_menus(error, form.dtype, other.dtype) from error

    def _try_prompts(self, comparison: Comparison, *, on_stage: OnStage | None = None) -> PromptGrid:
        return try_prompts(self._services.engine, comparison, on_stage)


def _requests(*values: Any) -> tuple[ScoreRequest, ScoreRequest]:
    """A and B of the values of `Form.typed` and `SettingForm.chosen`."""
    *typed, model, prompt_mode, instruction, dtype, backend, first_dtype, first_backend = values
    first = replace(score_request(*typed), dtype=first_dtype, backend=first_backend)
    second = replace(first, model=model, prompt_mode=prompt_mode, instruction=instruction, dtype=dtype, backend=backend)
    return first, second
