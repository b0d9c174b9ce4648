"""The tab that compares: the setting of the form against another, or against every pair of prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from e5studio.backends import BackendName, DType
from e5studio.errors import BackendError, MissingDependencyError, VectorError
from e5studio.models import get_model_meta
from e5studio.prompts import WEB_SEARCH_INSTRUCTION
from e5studio.studio.compare import text as compare_text
from e5studio.studio.compare.charts import draw_bump, draw_differences, draw_grid, draw_maps, draw_shifts
from e5studio.studio.compare.comparison import Comparison, PromptGrid, compare, most_moved_query, shifts, try_prompts
from e5studio.studio.compare.tables import comparison_columns, grid_columns, grid_table, moves_table
from e5studio.studio.engine.catalog import offered
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.error_messages import for_menus, message_for_visitor
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.engine.prompt_modes import prompt_modes_of, takes_instruction, valid_prompt_mode
from e5studio.studio.engine.result import ScoreRequest, ScoreResult
from e5studio.studio.engine.zero_gpu import is_zero_gpu
from e5studio.studio.form.form import (
    Form,
    listen_changes,
    listen_late_changes,
    picker_models,
    prompt_mode_choices,
    score_request,
)
from e5studio.studio.jobs.button import listen_stop, run_with_progress
from e5studio.studio.jobs.events import ENCODE_QUEUE, SAVE_QUEUE, UNQUEUED, fields_of
from e5studio.studio.jobs.job import SessionJobs
from e5studio.studio.serving.downloads import DOWNLOADS, as_payload
from e5studio.studio.serving.table_files import columns_file
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.data_table import data_table_view
from e5studio.studio.widgets.headings import heading
from e5studio.studio.widgets.model_picker import model_picker
from e5studio.studio.widgets.plotly_view import plotly_view
from e5studio.studio.widgets.save_bar import save_bar
from e5studio.studio.widgets.text_tree import text_tree

_DTYPES: list[tuple[str, DType]] = [
    ("float32", "auto"),
    ("bfloat16", "bfloat16"),
    ("float16", "float16"),
    ("int8", "int8"),
]
_BACKENDS: list[tuple[str, BackendName]] = [
    ("Fastest here", "auto"),
    ("PyTorch", "torch"),
    ("OpenVINO", "openvino"),
    ("ONNX Runtime", "onnx"),
]
_OTHER_INSTRUCTIONS = (
    "Given a question, retrieve Wikipedia passages that answer the question",
    "Retrieve semantically similar text.",
)
_FORM = "Its model, use, instruction and texts are those of the form, which ends with the Score button."
_CHANGED = "Changed since it was compared. Press Compare again."
_N_FORM = 7
_N_SHOWN = 14

Compared = Comparison | PromptGrid


@dataclass(frozen=True)
class SettingForm:
    """What a person chooses for B, and how both are computed."""

    picker: gr.HTML
    prompt_mode: gr.Radio
    instruction: gr.Textbox
    dtype: gr.Dropdown
    backend: gr.Dropdown
    first_dtype: gr.Dropdown
    first_backend: gr.Dropdown

    @property
    def values(self) -> list[Any]:
        """In the order of `_settings`."""
        return [
            self.picker,
            self.prompt_mode,
            self.instruction,
            self.dtype,
            self.backend,
            self.first_dtype,
            self.first_backend,
        ]


@dataclass(frozen=True)
class CompareTab:
    """The components of the tab."""

    form: SettingForm
    prompts: gr.Button
    instruction: gr.Button
    precision: gr.Button
    is_paired: gr.Checkbox
    start: gr.Button
    stop: gr.Button
    status: gr.HTML
    said: gr.HTML
    plot: gr.HTML
    pair: gr.HTML
    table: gr.HTML
    save: gr.HTML
    details: gr.Column
    bump_said: gr.HTML
    bump: gr.HTML
    moved_said: gr.HTML
    moved: gr.HTML
    maps_said: gr.HTML
    first_map: gr.HTML
    second_map: gr.HTML
    compared: gr.State

    @property
    def outputs(self) -> list[Any]:
        """In the order of `_shown`."""
        return [
            self.said,
            self.plot,
            self.pair,
            self.table,
            self.save,
            self.details,
            self.bump_said,
            self.bump,
            self.moved_said,
            self.moved,
            self.maps_said,
            self.first_map,
            self.second_map,
            self.compared,
        ]


def render_compare(model: str) -> CompareTab:
    """Lay out the tab; `model` is what B starts with."""
    with gr.Row(elem_id="e5-presets", elem_classes="e5-pills"):
        gr.HTML('<span class="e5-examples-label">At one click</span>', apply_default_css=False)
        prompts = gr.Button("With and without prompts", size="sm", min_width=0, elem_id="e5-try-prompts")
        instruction = gr.Button("Another instruction", size="sm", min_width=0, elem_id="e5-try-instruction")
        precision = gr.Button("float32 and int8", size="sm", min_width=0, elem_id="e5-try-precision")
    form = _render_form(model)
    is_paired = gr.Checkbox(
        label="Passage 1 answers query 1, passage 2 query 2, and so on", elem_id="e5-paired", container=False
    )
    with gr.Row(elem_id="e5-compare-buttons"):
        start = gr.Button("Compare", variant="primary", elem_id="e5-compare", min_width=0)
        stop = gr.Button("Stop", elem_id="e5-compare-stop", visible=False, min_width=0)
    status = text_tree(
        nodes.hint("Differences, no verdict: prompts sometimes hurt. What is better for search needs known answers."),
        elem_id="e5-compare-status",
        live="polite",
    )
    said = text_tree(elem_id="e5-compare-said", live="polite")
    with gr.Row(elem_id="e5-compare-matrix"):
        with gr.Column(elem_id="e5-compare-heat", min_width=0):
            plot = plotly_view(elem_id="e5-differences")
            pair = text_tree(elem_id="e5-compared-pair", live="polite")
        with gr.Column(elem_id="e5-compare-table", min_width=0):
            table = data_table_view(elem_id="e5-moves")
    with gr.Column(visible=False, elem_id="e5-compare-details") as details:
        with gr.Row(elem_id="e5-compare-charts"):
            with gr.Column(min_width=0):
                heading("One query, both orders")
                bump_said = text_tree(elem_id="e5-bump-said", live="polite")
                bump = plotly_view(elem_id="e5-bump")
            with gr.Column(min_width=0):
                gr.HTML('<h3 class="e5-heading">What moves, and what it gains</h3>', apply_default_css=False)
                moved_said = text_tree(elem_id="e5-moved-said")
                moved = plotly_view(elem_id="e5-moved")
        heading("Both maps")
        maps_said = text_tree(elem_id="e5-maps-said")
        with gr.Row(elem_id="e5-two-maps"):
            with gr.Column(min_width=0):
                heading("Map of A", level=4)
                first_map = plotly_view(elem_id="e5-map-a")
            with gr.Column(min_width=0):
                heading("Map of B", level=4)
                second_map = plotly_view(elem_id="e5-map-b")
    save = save_bar(
        [("all pairs", [("CSV", "comparison.csv"), ("Parquet", "comparison.parquet")])],
        plot="e5-differences",
        elem_id="e5-save-comparison",
    )
    compared = gr.State(None)
    return CompareTab(
        form,
        prompts,
        instruction,
        precision,
        is_paired,
        start,
        stop,
        status,
        said,
        plot,
        pair,
        table,
        save,
        details,
        bump_said,
        bump,
        moved_said,
        moved,
        maps_said,
        first_map,
        second_map,
        compared,
    )


def _render_form(model: str) -> SettingForm:
    kind = get_model_meta(model).prompt_kind
    # The question most asked: what would these texts score without prompts?
    prompt_mode = prompt_modes_of(kind)[-1].prompt_mode
    with gr.Row(elem_id="e5-settings"):
        with gr.Column(min_width=0, elem_classes="e5-setting"):
            heading("A: as in the form")
            text_tree(nodes.hint(_FORM), elem_id="e5-setting-a")
            first_dtype, first_backend = _render_computing("a")
        with gr.Column(min_width=0, elem_classes="e5-setting"):
            heading("B: the same texts with")
            picker = model_picker(model, picker_models(), elem_id="e5-other-model")
            radio = gr.Radio(
                prompt_mode_choices(kind),
                value=prompt_mode,
                label="How the texts are used",
                elem_id="e5-other-use",
            )
            instruction = gr.Textbox(
                WEB_SEARCH_INSTRUCTION,
                label="Instruction",
                lines=2,
                max_lines=4,
                visible=takes_instruction(kind, prompt_mode),
                elem_id="e5-other-instruction",
            )
            dtype, backend = _render_computing("b")
    return SettingForm(picker, radio, instruction, dtype, backend, first_dtype, first_backend)


def _render_computing(name: str) -> tuple[gr.Dropdown, gr.Dropdown]:
    with gr.Row(elem_classes="e5-computing"):
        dtype = gr.Dropdown(_DTYPES, value="auto", label="Precision", min_width=0, elem_id=f"e5-dtype-{name}")
        backend = gr.Dropdown(_BACKENDS, value="auto", label="Computed by", min_width=0, elem_id=f"e5-backend-{name}")
    return dtype, backend


def listen_compare(tab: CompareTab, inputs: Form, engine: Engine, result: gr.State) -> None:
    """Compare on request; show a pair, and both orders of its query, when its cell or its row is clicked."""
    form, running = tab.form, SessionJobs()
    chosen = [form.picker, form.prompt_mode]
    form.picker.choose(_take_model, chosen, [form.prompt_mode, form.instruction], **UNQUEUED)
    form.prompt_mode.input(_adapt, chosen, [form.prompt_mode, form.instruction], **UNQUEUED)

    known = [result, tab.compared, tab.is_paired]
    outputs = [tab.start, tab.stop, tab.status, *tab.outputs]
    once: dict[str, Any] = {"trigger_mode": "once", **ENCODE_QUEUE}
    settings = [*known, *inputs.typed, *form.values]
    works = [
        tab.start.click(_comparer(engine, running), [gr.State(True), *settings], outputs, **once),
        tab.prompts.click(_prompt_tryer(engine, running), [*known, *inputs.typed], outputs, **once),
    ]
    for preset, fill in ((tab.instruction, _other_instruction), (tab.precision, _int8)):
        is_filled = gr.State(False)
        typed = [*inputs.typed, form.instruction]
        filled = preset.click(fill, typed, [*form.values, tab.status, is_filled], **UNQUEUED)
        works.append(filled.then(_comparer(engine, running), [is_filled, *settings], outputs, **once))
    for work in works:
        listen_late_changes(work, inputs, tab.status, _CHANGED, tab.compared)
    listen_stop(tab.stop, running)
    choices = (form.prompt_mode, form.dtype, form.backend, form.first_dtype, form.first_backend, tab.is_paired)
    others = [form.picker.choose, form.instruction.change, *(choice.input for choice in choices)]
    listen_changes(inputs, tab.status, _CHANGED, others)
    for source in (tab.plot, tab.table, tab.moved):
        source.pick(_pick, [tab.compared], [tab.pair, tab.bump_said, tab.bump], **UNQUEUED)
    tab.save.wanted(_save, [tab.compared], [tab.save], **SAVE_QUEUE)


def show_compared(found: Compared) -> list[Any]:
    """A comparison as the values of `CompareTab.outputs`."""
    if isinstance(found, PromptGrid):
        said = [*compare_text.grid_differences(found), *compare_text.grid_settings(found)]
        table = as_payload(grid_table(found))
        details: list[Any] = [gr.update(visible=False), [], None, [], None, [], None, None]
        return [said, as_payload(draw_grid(found)), [], table, gr.update(visible=True), *details, found]
    said = [*compare_text.settings(found), *compare_text.differences(found)]
    table = as_payload(moves_table(found))
    moved = shifts(found)
    first, second = draw_maps(found)
    return [
        said,
        as_payload(draw_differences(found)),
        [],
        table,
        gr.update(visible=True),
        gr.update(visible=True),
        *_show_query(found, most_moved_query(found)),
        compare_text.moved(moved),
        None if moved is None else as_payload(draw_shifts(found, moved)),
        nodes.hint(compare_text.MAPS),
        as_payload(first),
        as_payload(second),
        found,
    ]


def _comparer(engine: Engine, running: SessionJobs) -> Any:
    """The work behind the Compare button, and behind what fills the form first."""

    def run(
        first: ScoreRequest,
        second: ScoreRequest,
        is_paired: bool,
        before: Sequence[ScoreResult],
        tell: OnStage | None = None,
    ) -> Comparison:
        try:
            return compare(engine, first, second, tell, is_paired=is_paired, before=before)
        except (BackendError, MissingDependencyError) as error:
            raise for_menus(error, first.dtype, second.dtype) from error

    gpu_run = engine.on_gpu(run)

    def press(
        is_ready: bool,
        result: ScoreResult | None,
        compared: Compared | None,
        is_paired: bool,
        request: gr.Request,
        *chosen: Any,
    ) -> Iterator[list[Any]]:
        if not is_ready:
            yield [gr.skip()] * (3 + _N_SHOWN)
            return
        asked = (*_settings(*chosen), is_paired is True, _known(result, compared))

        def work(tell: OnStage) -> Comparison:
            # A lent GPU works in another process, where nothing can be told or stopped.
            return gpu_run(*asked) if is_zero_gpu() else run(*asked, tell)

        is_left = compared is not None
        yield from run_with_progress(running, request, work, _done, n_shown=_N_SHOWN, is_result_left=is_left)

    return press


def _prompt_tryer(engine: Engine, running: SessionJobs) -> Any:
    """The work behind the preset that tries every pair of prompts."""

    def run(
        asked: ScoreRequest, is_paired: bool, before: Sequence[ScoreResult], tell: OnStage | None = None
    ) -> PromptGrid:
        return try_prompts(engine, asked, tell, is_paired=is_paired, before=before)

    gpu_run = engine.on_gpu(run)

    def press(
        result: ScoreResult | None, compared: Compared | None, is_paired: bool, request: gr.Request, *typed: Any
    ) -> Iterator[list[Any]]:
        asked = (score_request(*typed), is_paired is True, _known(result, compared))

        def work(tell: OnStage) -> PromptGrid:
            return gpu_run(*asked) if is_zero_gpu() else run(*asked, tell)

        is_left = compared is not None
        yield from run_with_progress(running, request, work, _done, n_shown=_N_SHOWN, is_result_left=is_left)

    return press


def _done(found: Compared) -> list[Any]:
    return [compare_text.done(found), *show_compared(found)]


def _known(result: ScoreResult | None, compared: Compared | None) -> list[ScoreResult]:
    """What the visitor has scored already."""
    known = [] if result is None else [result]
    if isinstance(compared, Comparison):
        known += [compared.first, compared.second]
    return known


def _settings(*values: Any) -> tuple[ScoreRequest, ScoreRequest]:
    """A and B of the values of `Form.typed` and `SettingForm.values`."""
    *typed, model, prompt_mode, instruction, dtype, backend, first_dtype, first_backend = values
    first = replace(score_request(*typed), dtype=first_dtype, backend=first_backend)
    second = replace(first, model=model, prompt_mode=prompt_mode, instruction=instruction, dtype=dtype, backend=backend)
    return first, second


def _other_instruction(
    model: str, prompt_mode: str, queries: str, passages: str, instruction: str, separator: str, other: str
) -> list[Any]:
    """B as the form, with another instruction."""
    if not takes_instruction(offered(model).prompt_kind, valid_prompt_mode(offered(model).prompt_kind, prompt_mode)):
        told = nodes.error(
            "This model takes no instruction. Choose one that does in the form, such as "
            "multilingual-e5-large-instruct, or try its prompts."
        )
        return [*[gr.skip()] * _N_FORM, told, False]
    suggested = next(each for each in _OTHER_INSTRUCTIONS if each != instruction.strip())
    is_own = other.strip() not in ("", WEB_SEARCH_INSTRUCTION, instruction.strip())
    return _filled(model, prompt_mode, other if is_own else suggested, "auto")


def _int8(
    model: str, prompt_mode: str, queries: str, passages: str, instruction: str, separator: str, other: str
) -> list[Any]:
    """B as the form, in int8."""
    return _filled(model, prompt_mode, instruction, "int8")


def _filled(model: str, prompt_mode: str, instruction: str, dtype: DType) -> list[Any]:
    """The values of the form, the status, and that it is filled."""
    radio, box = _adapt(model, prompt_mode)
    told = nodes.progress(None, "Starting")
    return [model, radio, {**box, "value": instruction}, dtype, "auto", "auto", "auto", told, True]


def _take_model(model: str, prompt_mode: str) -> tuple[Any, Any]:
    """Another model is used in its usual way: "no prompt" must not be carried over from a model that knows no other."""
    return _adapt(model, "" if prompt_mode == "none" else prompt_mode)


def _adapt(model: str, prompt_mode: str) -> tuple[Any, Any]:
    """Offer what B's model knows."""
    kind = offered(model).prompt_kind
    known = valid_prompt_mode(kind, prompt_mode)
    return gr.update(choices=prompt_mode_choices(kind), value=known), gr.update(visible=takes_instruction(kind, known))


def _show_query(found: Comparison, row: int) -> list[Any]:
    """What is said of one query, and its chart."""
    return [compare_text.bump(found, row), as_payload(draw_bump(found, row))]


def _pick(compared: Compared | None, event: gr.EventData) -> list[Any]:
    """A cell or a row tells its pair and its query, a point its query."""
    place = fields_of(event)
    if isinstance(compared, Comparison) and place.get("label") in compared.first.queries.labels:
        return [gr.skip(), *_show_query(compared, compared.first.queries.labels.index(place["label"]))]
    row, column = place.get("row"), place.get("column")
    if compared is None or not isinstance(row, int) or not isinstance(column, int):
        return [gr.skip()] * 3
    if isinstance(compared, PromptGrid):
        return [compare_text.grid_pair(compared, row, column), gr.skip(), gr.skip()]
    if not compared.first.has_pair(row, column):
        return [gr.skip()] * 3
    return [compare_text.compared_pair(compared, row, column), *_show_query(compared, row)]


def _save(event: gr.EventData, compared: Compared | None) -> dict[str, str]:
    name = fields_of(event).get("kind")
    if compared is None:
        return {"fault": "There is nothing to save yet. Press Compare."}
    try:
        if name not in ("comparison.csv", "comparison.parquet"):
            raise VectorError(f"{str(name)[:80]!r} is no file that can be saved here.")
        columns = grid_columns(compared) if isinstance(compared, PromptGrid) else comparison_columns(compared)
        return {"address": DOWNLOADS.put(columns_file(name, columns, {}))}
    except Exception as error:
        return {"fault": message_for_visitor(error)}
