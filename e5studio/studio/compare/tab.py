"""The tab that compares: the setting of the form with another, or with every pair of prompts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from e5studio.errors import BackendError, MissingDependencyError, VectorError
from e5studio.prompts import WEB_SEARCH_INSTRUCTION
from e5studio.studio.compare import text as compare_text
from e5studio.studio.compare.charts import draw_bump, draw_differences, draw_grid, draw_maps, draw_shifts
from e5studio.studio.compare.comparison import Comparison, PromptGrid, compare, most_moved_query, shifts, try_prompts
from e5studio.studio.compare.setting_form import SettingForm
from e5studio.studio.compare.tables import comparison_columns, grid_columns, grid_table, moves_table
from e5studio.studio.engine.error_messages import for_menus, message_for_visitor
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.engine.prompt_modes import takes_instruction, valid_prompt_mode
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
    components_of,
    fields_of,
)
from e5studio.studio.services import Services
from e5studio.studio.serving.table_files import columns_file
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.data_table import data_table_view
from e5studio.studio.widgets.headings import heading
from e5studio.studio.widgets.plotly_view import plotly_view
from e5studio.studio.widgets.save_bar import save_bar
from e5studio.studio.widgets.text_tree import text_tree

_OTHER_INSTRUCTIONS = (
    "Given a question, retrieve Wikipedia passages that answer the question",
    "Retrieve semantically similar text.",
)

# The result stays in sight; only the status must not go on saying that it is done.
_NO_LONGER_DONE = f"""(status) => [
  status?.[0]?.[1] === "{nodes.DONE}" ? {json.dumps(nodes.hint(compare_text.CHANGED))} : status,
]"""

Outcome = Comparison | PromptGrid


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
        with gr.Row(elem_id="e5-presets", elem_classes="e5-pills"):
            gr.HTML('<span class="e5-examples-label">At one click</span>', apply_default_css=False)
            self.prompts = gr.Button("With and without prompts", size="sm", min_width=0, elem_id="e5-try-prompts")
            self.instruction = gr.Button("Another instruction", size="sm", min_width=0, elem_id="e5-try-instruction")
            self.precision = gr.Button("float32 and int8", size="sm", min_width=0, elem_id="e5-try-precision")
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
        self.summary = text_tree(elem_id="e5-compare-said", live="polite")
        with gr.Row(elem_id="e5-compare-matrix"):
            with gr.Column(elem_id="e5-compare-heat", min_width=0):
                self.plot = plotly_view(elem_id="e5-differences")
                self.pair = text_tree(elem_id="e5-compared-pair", live="polite")
            with gr.Column(elem_id="e5-compare-table", min_width=0):
                self.table = data_table_view(elem_id="e5-moves")
        with gr.Column(visible=False, elem_id="e5-compare-details") as self.details:
            with gr.Row(elem_id="e5-compare-charts"):
                with gr.Column(min_width=0):
                    heading("One query, both orders")
                    self.bump_text = text_tree(elem_id="e5-bump-said", live="polite")
                    self.bump = plotly_view(elem_id="e5-bump")
                with gr.Column(min_width=0):
                    heading("What moves, and what it gains")
                    self.shift_text = text_tree(elem_id="e5-moved-said")
                    self.shifts = plotly_view(elem_id="e5-moved")
            heading("Both maps")
            text_tree(nodes.hint(compare_text.MAPS), elem_id="e5-maps-said")
            with gr.Row(elem_id="e5-two-maps"):
                with gr.Column(min_width=0):
                    heading("Map of A", level=4)
                    self.first_map = plotly_view(elem_id="e5-map-a")
                with gr.Column(min_width=0):
                    heading("Map of B", level=4)
                    self.second_map = plotly_view(elem_id="e5-map-b")
        self.save = save_bar(
            [("all pairs", [("CSV", "comparison.csv"), ("Parquet", "comparison.parquet")])],
            plot="e5-differences",
            elem_id="e5-save-comparison",
        )
        self.comparison = gr.State(None)
        self._is_filled = gr.State(False)

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
        inputs = [*known, *form.typed, *setting.chosen]
        self.start.click(self.on_compare, inputs, outputs, **once)
        self.prompts.click(self.on_prompts, [*known, *form.typed], outputs, **once)
        for preset, fill in ((self.instruction, self.on_instruction), (self.precision, self.on_precision)):
            filled = preset.click(fill, [*form.typed, setting.instruction], outputs, **UNQUEUED)
            filled.then(self.on_filled, [self._is_filled, *inputs], outputs, **ENCODE_QUEUE)
        self._job.connect_stop()
        choices = (setting.prompt_mode, setting.dtype, setting.backend, setting.first_dtype, setting.first_backend)
        changed = [setting.picker.choose, setting.instruction.change, *(each.input for each in choices)]
        for listener in (*changed, self.is_paired.input):
            listener(None, [status], [status], js=_NO_LONGER_DONE, **UNQUEUED)
        for source in (self.plot, self.table, self.shifts):
            source.pick(self.on_pick, [self.comparison], [self.pair, self.bump_text, self.bump], **(UNQUEUED | EACH))
        self.save.wanted(self.on_save, [self.comparison], [self.save], **(SAVE_QUEUE | EACH))

    def show(self, comparison: Outcome) -> Changes:
        """Show a comparison."""
        parts = self._grid(comparison) if isinstance(comparison, PromptGrid) else self._settings(comparison)
        return {
            **parts,
            self.status: compare_text.done(comparison),
            self.pair: [],
            self.save: gr.update(visible=True),
            self.details: gr.update(visible=isinstance(comparison, Comparison)),
            self.comparison: comparison,
            self.stale: results_of(
                comparison.usual if isinstance(comparison, PromptGrid) else comparison.first, "This comparison is"
            ),
        }

    def on_compare(
        self, result: ScoreResult | None, comparison: Outcome | None, is_paired: bool, request: gr.Request, *values: Any
    ) -> Iterator[Changes]:
        """Compare was pressed."""
        known = _known(result, comparison)
        yield from self._run(request, comparison, self._compare_on_gpu, *_requests(*values), is_paired is True, known)

    def on_prompts(
        self, result: ScoreResult | None, comparison: Outcome | None, is_paired: bool, request: gr.Request, *typed: Any
    ) -> Iterator[Changes]:
        """The preset with all prompts was pressed."""
        first, known = score_request(*typed), _known(result, comparison)
        yield from self._run(request, comparison, self._try_prompts_on_gpu, first, is_paired is True, known)

    def on_instruction(
        self, model: str, prompt_mode: str, queries: str, passages: str, instruction: str, separator: str, other: str
    ) -> Changes:
        """The preset with another instruction was pressed: fill B with it."""
        kind = self._services.engine.catalog.offered(model).prompt_kind
        if not takes_instruction(kind, valid_prompt_mode(kind, prompt_mode)):
            return {self.status: nodes.error(compare_text.NO_INSTRUCTION), self._is_filled: False}
        if other.strip() in ("", WEB_SEARCH_INSTRUCTION, instruction.strip()):
            other = next(each for each in _OTHER_INSTRUCTIONS if each != instruction.strip())
        return self._filled(self.setting.fill(model, prompt_mode, other, "auto"))

    def on_precision(
        self, model: str, prompt_mode: str, queries: str, passages: str, instruction: str, separator: str, other: str
    ) -> Changes:
        """The preset with int8 was pressed: fill B with it."""
        return self._filled(self.setting.fill(model, prompt_mode, instruction, "int8"))

    def on_filled(self, is_filled: bool, request: gr.Request, *inputs: Any) -> Iterator[Changes]:
        """A preset has filled B, or could not."""
        result, comparison, is_paired, *values = inputs
        if is_filled:
            yield from self.on_compare(result, comparison, is_paired, request, *values)
        else:
            yield {}

    def on_pick(self, comparison: Outcome | None, event: gr.EventData) -> Changes:
        """A cell, a row or a point was clicked: show its pair, and both orders of its query."""
        fields = fields_of(event)
        if isinstance(comparison, Comparison) and fields.get("label") in comparison.first.queries.labels:
            return self._query(comparison, comparison.first.queries.labels.index(fields["label"]))
        row, column = fields.get("row"), fields.get("column")
        if comparison is None or not isinstance(row, int) or not isinstance(column, int):
            return {}
        if isinstance(comparison, PromptGrid):
            return {self.pair: compare_text.grid_pair(comparison, row, column)}
        if not comparison.first.has_pair(row, column):
            return {}
        return {self.pair: compare_text.compared_pair(comparison, row, column), **self._query(comparison, row)}

    def on_save(self, comparison: Outcome | None, event: gr.EventData) -> Changes:
        """A file was asked for."""
        name = fields_of(event).get("kind")
        if comparison is None:
            return {self.save: {"fault": "There is nothing to save yet. Press Compare."}}
        try:
            if name not in ("comparison.csv", "comparison.parquet"):
                raise VectorError(f"{str(name)[:80]!r} is no file that can be saved here.")
            columns = grid_columns(comparison) if isinstance(comparison, PromptGrid) else comparison_columns(comparison)
            return {self.save: {"address": self._services.downloads.put(columns_file(name, columns, {}))}}
        except Exception as error:
            return {self.save: {"fault": message_for_visitor(error)}}

    def _settings(self, comparison: Comparison) -> Changes:
        payload = self._services.downloads.as_payload
        first_map, second_map = draw_maps(comparison)
        query_shifts = shifts(comparison)
        return {
            self.summary: [*compare_text.settings(comparison), *compare_text.differences(comparison)],
            self.plot: payload(draw_differences(comparison)),
            self.table: payload(moves_table(comparison)),
            **self._query(comparison, most_moved_query(comparison)),
            self.shift_text: compare_text.moved(query_shifts),
            self.shifts: None if query_shifts is None else payload(draw_shifts(comparison, query_shifts)),
            self.first_map: payload(first_map),
            self.second_map: payload(second_map),
        }

    def _grid(self, grid: PromptGrid) -> Changes:
        payload = self._services.downloads.as_payload
        return {
            **dict.fromkeys((self.bump, self.shifts, self.first_map, self.second_map)),
            self.summary: [*compare_text.grid_differences(grid), *compare_text.grid_settings(grid)],
            self.plot: payload(draw_grid(grid)),
            self.table: payload(grid_table(grid)),
        }

    def _query(self, comparison: Comparison, row: int) -> Changes:
        chart = self._services.downloads.as_payload(draw_bump(comparison, row))
        return {self.bump_text: compare_text.bump(comparison, row), self.bump: chart}

    def _filled(self, setting: Changes) -> Changes:
        return {**setting, self.status: nodes.progress(None, "Starting"), self._is_filled: True}

    def _run(
        self, request: gr.Request, previous: Outcome | None, function: Callable[..., Outcome], *arguments: Any
    ) -> Iterator[Changes]:
        def work(on_stage: OnStage) -> Outcome:
            return function(*arguments, on_stage=on_stage)

        return self._job.run(request, work, self.show, is_result_left=previous is not None)

    def _compare(
        self,
        first: ScoreRequest,
        second: ScoreRequest,
        is_paired: bool,
        known: list[ScoreResult],
        *,
        on_stage: OnStage | None = None,
    ) -> Comparison:
        try:
            return compare(self._services.engine, first, second, on_stage, is_paired=is_paired, before=known)
        except (BackendError, MissingDependencyError) as error:
            raise for_menus(error, first.dtype, second.dtype) from error

    def _try_prompts(
        self, request: ScoreRequest, is_paired: bool, known: list[ScoreResult], *, on_stage: OnStage | None = None
    ) -> PromptGrid:
        return try_prompts(self._services.engine, request, on_stage, is_paired=is_paired, before=known)


def _known(result: ScoreResult | None, comparison: Outcome | None) -> list[ScoreResult]:
    """The visitor's results so far."""
    results = [] if result is None else [result]
    return [*results, comparison.first, comparison.second] if isinstance(comparison, Comparison) else results


def _requests(*values: Any) -> tuple[ScoreRequest, ScoreRequest]:
    """A and B of the values of `Form.typed` and `SettingForm.chosen`."""
    *typed, model, prompt_mode, instruction, dtype, backend, first_dtype, first_backend = values
    first = replace(score_request(*typed), dtype=first_dtype, backend=first_backend)
    second = replace(first, model=model, prompt_mode=prompt_mode, instruction=instruction, dtype=dtype, backend=backend)
    return first, second
