"""Below a corpus: queries whose answers are known, and what each model, prompt and instruction is worth on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from e5studio.errors import TextError
from e5studio.models import list_models
from e5studio.studio.corpus import text as corpus_words
from e5studio.studio.corpus.charts import draw_evaluation
from e5studio.studio.corpus.corpus import CorpusSetting
from e5studio.studio.corpus.evaluation import CorpusEvaluation, measure
from e5studio.studio.corpus.selection import (
    answer_column,
    check_machine,
    chosen_corpus,
    corpus_setting,
    pairs_of,
    query_column,
)
from e5studio.studio.corpus.table_file import SourceTable, read_table
from e5studio.studio.corpus.tables import evaluation_table
from e5studio.studio.corpus.visitor_store import VISITOR_STORES, VisitorStore
from e5studio.studio.engine.catalog import offered
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.engine.prompt_modes import takes_instruction
from e5studio.studio.form.form import Form
from e5studio.studio.jobs.button import listen_stop, run_with_progress, stopped_by
from e5studio.studio.jobs.events import EMBED_QUEUE, READ_QUEUE, UNQUEUED
from e5studio.studio.jobs.job import SessionJobs
from e5studio.studio.serving.downloads import as_payload
from e5studio.studio.serving.uploads import still_there
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.data_table import data_table_view
from e5studio.studio.widgets.headings import heading
from e5studio.studio.widgets.plotly_view import plotly_view
from e5studio.studio.widgets.text_tree import text_tree

_VARIANTS = (("Without prompts", "none"), ("In bfloat16", "bfloat16"), ("In int8", "int8"))
_NO_COLUMN = ""
_MAX_SETTINGS = 12
_HELP = (
    "Each query and its answer, in a file of pairs or in a column beside the texts. An answer is the text of a row, "
    "its title, or its id (its line, where the file has no ids). Every setting then ranks all texts for each query."
)


@dataclass(frozen=True)
class EvaluatePanel:
    """The components of the part."""

    pairs: gr.File
    said: gr.HTML
    columns: gr.Row
    query: gr.Dropdown
    answer: gr.Dropdown
    variants: gr.CheckboxGroup
    instructions: gr.Textbox
    models: gr.Dropdown
    start: gr.Button
    stop: gr.Button
    status: gr.HTML
    verdict: gr.HTML
    plot: gr.HTML
    table: gr.HTML

    @property
    def emptied(self) -> list[Any]:
        """What goes when all is forgotten, in the order of `no_answers`."""
        return [self.pairs, self.said, self.query, self.answer, self.status, self.verdict, self.plot, self.table]


def render_evaluate() -> EvaluatePanel:
    """Lay out the part, closed."""
    with gr.Accordion("Measure with known answers", open=False, elem_id="e5-answers"):
        text_tree(nodes.hint(_HELP), elem_id="e5-answers-help")
        pairs = gr.File(label="A file of pairs: a query and its answer in each row", height=150, elem_id="e5-pairs")
        said = text_tree(elem_id="e5-pairs-said", live="polite")
        with gr.Row(elem_id="e5-pair-columns", elem_classes="e5-computing") as columns:
            query = gr.Dropdown([], label="Column of queries", min_width=0, elem_id="e5-query-column")
            answer = gr.Dropdown([], label="Column of answers", min_width=0, elem_id="e5-answer-column")
        heading("Besides the setting of the form", level=4)
        with gr.Row(elem_id="e5-measured-settings", elem_classes="e5-computing"):
            variants = gr.CheckboxGroup(
                [(title, name) for title, name in _VARIANTS],
                value=["none"],
                label="The same model",
                min_width=0,
                elem_id="e5-variants",
            )
            models = gr.Dropdown(
                [(meta.short_name, meta.name) for meta in list_models()],
                multiselect=True,
                label="Other models",
                min_width=0,
                elem_id="e5-measured-models",
            )
        instructions = gr.Textbox(
            label="Other instructions, one per line, for models that take one",
            lines=2,
            max_lines=4,
            elem_id="e5-measured-instructions",
        )
        with gr.Row(elem_id="e5-measure-buttons"):
            start = gr.Button("Measure", variant="primary", elem_id="e5-measure", min_width=0)
            stop = gr.Button("Stop", elem_id="e5-measure-stop", visible=False, min_width=0)
        status = text_tree(elem_id="e5-measure-status", live="polite")
        verdict = text_tree(elem_id="e5-verdict", live="polite")
        plot = plotly_view(elem_id="e5-measured-plot")
        table = data_table_view(elem_id="e5-measured")
    return EvaluatePanel(
        pairs,
        said,
        columns,
        query,
        answer,
        variants,
        instructions,
        models,
        start,
        stop,
        status,
        verdict,
        plot,
        table,
    )


def listen_evaluate(
    part: EvaluatePanel,
    inputs: Form,
    engine: Engine,
    token: gr.State,
    chosen_columns: Sequence[gr.Dropdown],
    after: Sequence[Any],
) -> None:
    """Read pairs, measure, stop; the events in `after` may bring other columns."""
    running = SessionJobs()
    for event in after:
        event.then(_beside, [token], [part.query, part.answer], **UNQUEUED)
    part.pairs.upload(_read_pairs, [token, part.pairs], [part.said, part.query, part.answer], **READ_QUEUE)
    part.pairs.clear(_no_pairs, [token], [part.said, part.query, part.answer], **READ_QUEUE)
    part.start.click(
        _measurer(engine, running),
        [
            token,
            part.query,
            part.answer,
            part.variants,
            part.instructions,
            part.models,
            inputs.picker,
            inputs.prompt_mode,
            inputs.instruction,
            *chosen_columns,
        ],
        [part.start, part.stop, part.status, part.verdict, part.plot, part.table],
        trigger_mode="once",
        **EMBED_QUEUE,
    )
    listen_stop(part.stop, running)


def columns_for_pairs(table: SourceTable | None) -> list[Any]:
    """The columns of a file that can hold queries, as values of the two dropdowns."""
    if table is None:
        return [gr.update(choices=[], value=None)] * 2
    names = list(table.columns)
    beside = ("the text of the same row", _NO_COLUMN)
    return [
        gr.update(choices=names, value=query_column(table)),
        gr.update(choices=[beside, *((name, name) for name in names)], value=_NO_COLUMN),
    ]


def measured_settings(
    left: CorpusSetting, variants: Sequence[str], instructions: str, models: Sequence[str]
) -> list[CorpusSetting]:
    """The form first, then what is to be held against it, each once.

    Raises:
        TextError: There are too many.
    """
    kind = offered(left.model).prompt_kind
    found = [left]
    if "none" in variants and kind != "none":
        found.append(replace(left, prompt_mode="none", instruction=""))
    found += [replace(left, dtype=dtype) for dtype in ("bfloat16", "int8") if dtype in variants]
    # "No prompt" of a model that knows no other way must not be carried over to models that were trained with prompts.
    others = [corpus_setting(name, "" if kind == "none" else left.prompt_mode, left.instruction) for name in models]
    lines = [line.strip() for line in instructions.splitlines() if line.strip()]
    for setting in (left, *others):
        found += [setting]
        if takes_instruction(offered(setting.model).prompt_kind, setting.prompt_mode):
            found += [replace(setting, instruction=line) for line in lines]
    unique = list(dict.fromkeys(found))
    if len(unique) > _MAX_SETTINGS:
        raise TextError(f"{len(unique)} settings are more than the {_MAX_SETTINGS} measured at once here. Take fewer.")
    return unique


def no_answers() -> list[Any]:
    """An empty part, as the values of `EvaluatePanel.emptied`."""
    none = gr.update(choices=[], value=None)
    return [None, [], none, none, [], [], None, None]


def _read_pairs(token: str, path: str | None) -> list[Any]:
    if not path:
        return [gr.skip()] * 3
    try:
        _, store = VISITOR_STORES.keep_file(token, Path(path))
        table = read_table(still_there(Path(path)), name=Path(path).name)
        store.keep_pairs(table)
    except Exception as error:
        return [nodes.error(message_for_visitor(error)), *[gr.skip()] * 2]
    names = list(table.columns)
    return [
        corpus_words.file_read(table),
        gr.update(choices=names, value=query_column(table)),
        gr.update(choices=names, value=answer_column(table)),
    ]


def _no_pairs(token: str) -> list[Any]:
    store = VISITOR_STORES.open(token)[1]
    store.keep_pairs(None)
    return [[], *columns_for_pairs(store.table)]


def _beside(token: str) -> list[Any]:
    """The columns beside the texts, where no file of pairs was brought."""
    store = VISITOR_STORES.open(token)[1]
    return [gr.skip()] * 2 if store.pairs is not None else columns_for_pairs(store.table)


def _measurer(engine: Engine, running: SessionJobs) -> Any:
    def press(
        token: str,
        query: Any,
        answer: Any,
        variants: list[str],
        instructions: str,
        models: list[str] | None,
        model: str,
        prompt_mode: str,
        instruction: str,
        text: Any,
        title: Any,
        colour: Any,
        request: gr.Request,
    ) -> Iterator[list[Any]]:
        store = VISITOR_STORES.open(token)[1]

        def work(tell: OnStage) -> CorpusEvaluation:
            check_machine()
            corpus = chosen_corpus(store, text, title, colour)
            pairs = pairs_of(corpus, _table(store), store.pairs, query or None, answer or None)
            left = corpus_setting(model, prompt_mode, instruction)
            settings = measured_settings(left, variants or [], instructions or "", models or [])
            with store.work() as is_stopped:
                return measure(engine, corpus, pairs, settings, store.vectors, stopped_by(is_stopped, tell))

        def show(found: CorpusEvaluation) -> list[Any]:
            n = len(found.rows)
            done = f"Measured {n} {'setting' if n == 1 else 'settings'} on {len(found.pairs):,} queries."
            chart = draw_evaluation(found)
            return [
                [["p", "e5-done", done]],
                corpus_words.measured(found),
                None if chart is None else as_payload(chart),
                as_payload(evaluation_table(found)),
            ]

        yield from run_with_progress(running, request, work, show, n_shown=3, is_result_left=False)

    return press


def _table(store: VisitorStore) -> SourceTable:
    if store.table is None:
        raise TextError("There are no texts yet. Choose a file, or paste some lines.")
    return store.table
