"""Below a corpus: evaluate models, prompts and instructions on queries with known answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from e5studio.errors import TextError
from e5studio.studio.corpus import evaluation_text
from e5studio.studio.corpus import text as corpus_text
from e5studio.studio.corpus.beir_files import read_pair_files
from e5studio.studio.corpus.charts import draw_evaluation
from e5studio.studio.corpus.corpus import Corpus, CorpusSetting
from e5studio.studio.corpus.evaluation import CorpusEvaluation, measure
from e5studio.studio.corpus.selection import (
    CorpusChoice,
    answer_column,
    check_machine,
    corpus_setting,
    pairs_of,
    query_column,
    store_of,
    table_of,
)
from e5studio.studio.corpus.table_file import SourceTable
from e5studio.studio.corpus.tables import evaluation_table, failure_table
from e5studio.studio.corpus.visitor_store import VisitorStore
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.engine.prompt_modes import takes_instruction
from e5studio.studio.jobs.button import JobButton, stopped_by
from e5studio.studio.jobs.events import (
    EACH,
    EMBED_QUEUE,
    ONCE,
    READ_QUEUE,
    UNQUEUED,
    Changes,
    components_of,
    fields_of,
)
from e5studio.studio.services import Services
from e5studio.studio.serving.uploads import still_there
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.choice_menu import choice_menu, menu_update
from e5studio.studio.widgets.data_table import data_table_view
from e5studio.studio.widgets.headings import heading
from e5studio.studio.widgets.plotly_view import plotly_view
from e5studio.studio.widgets.table_data import Choice
from e5studio.studio.widgets.text_tree import text_tree

_VARIANTS = (("Without prompts", "none"), ("In bfloat16", "bfloat16"), ("In int8", "int8"))
_NO_COLUMN = ""
_NONE = Choice("no other", "")
_AWAY = ["e5-away"]
_MAX_SETTINGS = 12
# The results stand below all that was chosen for them.
_SHOW_RESULTS = """() => document.querySelector("#e5-measure-status .e5-done")?.scrollIntoView()"""
_HELP = (
    "Bring queries whose answers you know. An answer is the text of a row, its title, or its id (its line, where the "
    "file has no ids). All texts are then ranked for each query: which of them fail, and why?"
)


class EvaluatePanel:
    """Components of the evaluation."""

    def __init__(self, services: Services) -> None:
        """Lay out the panel."""
        self._services = services
        # A class and not `visible`: Gradio would take what stands in the panel off the page.
        with gr.Column(elem_id="e5-answers", elem_classes=_AWAY) as self.panel:
            text_tree(nodes.hint(_HELP), elem_id="e5-answers-help")
            self.pairs = gr.File(
                label="Pairs: a query and its answer in each row; or BEIR's queries and qrels, as files or a zip",
                file_count="multiple",
                height=170,
                elem_id="e5-pairs",
            )
            self.summary = text_tree(elem_id="e5-pairs-said", live="polite")
            with gr.Row(elem_id="e5-pair-columns", elem_classes="e5-computing"):
                self.query = gr.Dropdown([], label="Column of queries", min_width=0, elem_id="e5-query-column")
                self.answer = gr.Dropdown([], label="Column of answers", min_width=0, elem_id="e5-answer-column")
            heading("Compare with the setting of the form")
            with gr.Row(elem_id="e5-measured-settings", elem_classes="e5-computing"):
                self.variants = gr.CheckboxGroup(
                    [(title, name) for title, name in _VARIANTS],
                    label="The same model",
                    min_width=0,
                    elem_id="e5-variants",
                )
                self.models = gr.Dropdown(
                    [(meta.short_name, meta.name) for meta in services.engine.catalog.models],
                    multiselect=True,
                    label="Other models",
                    min_width=0,
                    elem_id="e5-measured-models",
                )
            self.instructions = gr.Textbox(
                label="Other instructions, one per line, for models that take one",
                lines=2,
                max_lines=4,
                elem_id="e5-measured-instructions",
            )
            with gr.Row(elem_id="e5-measure-buttons"):
                start = gr.Button("Measure", variant="primary", elem_id="e5-measure", min_width=0)
                stop = gr.Button("Stop", elem_id="e5-measure-stop", visible=False, min_width=0)
            self.job = JobButton(start, stop, text_tree(elem_id="e5-measure-status", live="polite"))
            self.verdict = text_tree(elem_id="e5-verdict", live="polite")
            self.plot = plotly_view(elem_id="e5-measured-plot")
            self.table = data_table_view(elem_id="e5-measured")
            with gr.Column(elem_id="e5-failures", elem_classes=_AWAY) as self.failures:
                heading("Query by query")
                with gr.Row(elem_classes="e5-map-tools"):
                    self.first = choice_menu("A", [], "", elem_id="e5-failures-a")
                    self.second = choice_menu("against B", [_NONE], _NONE.value, elem_id="e5-failures-b")
                self.counts = text_tree(elem_id="e5-failures-said", live="polite")
                with gr.Row(elem_id="e5-failures-body"):
                    self.queries = data_table_view(elem_id="e5-failed")
                    self.query_text = text_tree(elem_id="e5-failed-query", live="polite")
            self.evaluation = gr.State(None)

    def connect(self, choice: Sequence[Any]) -> None:
        """Bind the events.

        Args:
            choice: Components of the token and of the fields of `CorpusChoice`.
        """
        columns = [self.summary, self.query, self.answer, self.job.status]
        self.pairs.upload(self.on_pairs, [choice[0], self.pairs], columns, **READ_QUEUE)
        self.pairs.clear(self.on_no_pairs, [choice[0]], columns, **READ_QUEUE)
        measured = self.job.start.click(
            self.on_measure,
            [self.query, self.answer, self.variants, self.instructions, self.models, *choice],
            components_of(self),
            **(EMBED_QUEUE | ONCE),
        )
        measured.then(None, js=_SHOW_RESULTS, **UNQUEUED)
        chosen, shown = (
            [choice[0], self.evaluation, self.first, self.second],
            [self.counts, self.queries, self.query_text],
        )
        for menu in (self.first, self.second):
            menu.choose(self.on_settings, chosen, shown, **UNQUEUED)
        self.queries.pick(self.on_query, chosen, [self.query_text], **(UNQUEUED | EACH))
        self.job.connect_stop()

    def show_columns(self, store: VisitorStore | None) -> Changes:
        """The pairs and their columns; without pairs the columns beside the texts."""
        if store is not None and store.pairs is not None:
            return self._show_pairs(store.pairs)
        table = None if store is None else store.table
        if table is None:
            return {self.summary: [], **self._columns([], None, [], None)}
        same_row = ("the text of the same row", _NO_COLUMN)
        answers = [same_row, *((name, name) for name in table.columns)]
        return {self.summary: [], **self._columns(table.columns, query_column(table), answers, _NO_COLUMN)}

    def clear(self) -> Changes:
        """No pairs, no results."""
        return {self.pairs: None, **self.show_columns(None), **self.clear_results()}

    def clear_results(self) -> Changes:
        """No results: those on the page are of texts that are no longer there."""
        results: Changes = {self.job.status: [], self.verdict: [], self.plot: None, self.table: None}
        return {
            **results,
            self.failures: gr.update(elem_classes=_AWAY),
            self.queries: None,
            self.query_text: [],
            self.evaluation: None,
        }

    def on_pairs(self, token: str, paths: list[str] | None) -> Changes:
        """Read files of queries and answers."""
        if not paths:
            return {}
        files = [Path(path) for path in paths]
        try:
            store = store_of(self._services.visitor_stores, token)
            for file in files:
                self._services.visitor_stores.add_file(token, file)
            table = read_pair_files([still_there(file) for file in files])
        except Exception as error:
            return {self.summary: nodes.error(message_for_visitor(error))}
        store.set_pairs(table)
        return {self.job.status: [], **self._show_pairs(table)}

    def on_no_pairs(self, token: str) -> Changes:
        """Go back to the columns beside the texts."""
        store = self._services.visitor_stores.get(token)
        if store is not None:
            store.set_pairs(None)
        return {self.job.status: [], **self.show_columns(store)}

    def on_measure(
        self,
        request: gr.Request,
        query: str | None,
        answer: str | None,
        variants: list[str],
        instructions: str,
        models: list[str] | None,
        token: str,
        *choice: str,
    ) -> Iterator[Changes]:
        """Evaluate the form's setting and the others."""
        chosen = CorpusChoice(*choice)

        def evaluate(on_stage: OnStage) -> CorpusEvaluation:
            check_machine()
            store = store_of(self._services.visitor_stores, token)
            corpus = chosen.set_corpus(store)
            pairs = pairs_of(corpus, table_of(store), store.pairs, query or None, answer or None)
            catalog = self._services.engine.catalog
            left = chosen.setting(catalog)
            settings = measured_settings(catalog, left, variants or [], instructions or "", models or [])
            with store.job() as stop:
                return measure(
                    self._services.engine,
                    corpus,
                    pairs,
                    settings,
                    store.vectors,
                    stopped_by(stop, on_stage),
                    store.embedded,
                )

        def show(evaluation: CorpusEvaluation) -> Changes:
            has_prompts = self._services.engine.catalog.offered(chosen.model).prompt_kind != "none"
            is_without_left_out = "none" in (variants or []) and not has_prompts
            return self._show(token, evaluation) | {
                self.job.status: evaluation_text.measured(evaluation, is_without_left_out=is_without_left_out)
            }

        yield from self.job.run(request, evaluate, show, is_result_left=False)

    def on_settings(self, token: str, evaluation: CorpusEvaluation | None, first: str, second: str) -> Changes:
        """Show the failures of another setting, or of one against another."""
        corpus, indices = self._corpus(token, evaluation), _indices(evaluation, first, second)
        if evaluation is None or corpus is None or not indices:
            return {}
        table = failure_table(evaluation, corpus, *indices)
        order = evaluation_text.query_order(evaluation, *indices)
        return {
            self.counts: evaluation_text.failures(evaluation, *indices),
            self.queries: self._services.downloads.as_payload(table),
            self.query_text: evaluation_text.failure(evaluation, corpus, order[0], indices) if order else [],
        }

    def on_query(
        self, token: str, evaluation: CorpusEvaluation | None, first: str, second: str, event: gr.EventData
    ) -> Changes:
        """Show a query, its answer, and what stands above it."""
        corpus, indices = self._corpus(token, evaluation), _indices(evaluation, first, second)
        label = fields_of(event).get("label")
        if evaluation is None or corpus is None or not indices:
            return {}
        labels = map(evaluation_text.query_label, range(len(evaluation.pairs)))
        query = next((index for index, name in enumerate(labels) if name == label), None)
        return {} if query is None else {self.query_text: evaluation_text.failure(evaluation, corpus, query, indices)}

    def _corpus(self, token: str, evaluation: CorpusEvaluation | None) -> Corpus | None:
        """The corpus of an evaluation; None where it has been replaced."""
        store = self._services.visitor_stores.get(token)
        corpus = None if store is None else store.corpus
        return corpus if corpus is not None and evaluation is not None and corpus.key == evaluation.of else None

    def _show(self, token: str, evaluation: CorpusEvaluation) -> Changes:
        as_payload, chart = self._services.downloads.as_payload, draw_evaluation(evaluation)
        choices = [Choice(name, str(index)) for index, name in evaluation_text.results_of(evaluation).items()]
        first = choices[0].value if choices else ""
        return {
            self.failures: gr.update(elem_classes=["e5-part"] if choices else _AWAY),
            self.first: menu_update(choices, first),
            self.second: menu_update([_NONE, *choices], _NONE.value),
            self.evaluation: evaluation,
            **self.on_settings(token, evaluation, first, _NONE.value),
            self.verdict: evaluation_text.verdict(evaluation),
            self.plot: None if chart is None else as_payload(chart),
            self.table: as_payload(evaluation_table(evaluation)),
        }

    def _show_pairs(self, pairs: SourceTable) -> Changes:
        columns = self._columns(pairs.columns, query_column(pairs), pairs.columns, answer_column(pairs))
        return {self.summary: corpus_text.file_read(pairs), **columns}

    def _columns(
        self, queries: Sequence[str], query: str | None, answers: Sequence[Any], answer: str | None
    ) -> Changes:
        return {
            self.query: gr.update(choices=list(queries), value=query),
            self.answer: gr.update(choices=list(answers), value=answer),
        }


def _indices(evaluation: CorpusEvaluation | None, first: str, second: str) -> list[int]:
    """The chosen settings; none where the first is not one that was measured."""
    measured = {} if evaluation is None else {str(index): index for index in evaluation_text.results_of(evaluation)}
    if first not in measured:
        return []
    return [measured[first], *([measured[second]] if second in measured and second != first else [])]


def measured_settings(
    catalog: Catalog, left: CorpusSetting, variants: Sequence[str], instructions: str, models: Sequence[str]
) -> list[CorpusSetting]:
    """The form's setting first, then those to compare with it, each once.

    Raises:
        TextError: There are too many.
    """
    kind = catalog.offered(left.model).prompt_kind
    settings = [left]
    if "none" in variants and kind != "none":
        settings.append(replace(left, prompt_mode="none", instruction=""))
    settings += [replace(left, dtype=dtype) for dtype in ("bfloat16", "int8") if dtype in variants]
    # "No prompt" of a model that knows no other way must not be carried over to models that were trained with prompts.
    prompt_mode = "" if kind == "none" else left.prompt_mode
    others = [corpus_setting(catalog, name, prompt_mode, left.instruction) for name in models]
    lines = [line.strip() for line in instructions.splitlines() if line.strip()]
    for setting in (left, *others):
        settings += [setting]
        if takes_instruction(catalog.offered(setting.model).prompt_kind, setting.prompt_mode):
            settings += [replace(setting, instruction=line) for line in lines]
    unique = list(dict.fromkeys(settings))
    if len(unique) > _MAX_SETTINGS:
        raise TextError(f"{len(unique)} settings are more than the {_MAX_SETTINGS} measured at once here. Take fewer.")
    return unique
