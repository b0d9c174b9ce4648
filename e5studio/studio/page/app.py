"""Lays out the Studio's page and binds its events; building it has no side effects."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from e5studio.default_model import ModelChoice
from e5studio.studio.api.endpoints import publish
from e5studio.studio.code.tab import CodeTab
from e5studio.studio.compare.tab import CompareTab
from e5studio.studio.corpus.drop import drop_anywhere
from e5studio.studio.corpus.tab import CorpusTab
from e5studio.studio.diagnose.tab import DiagnoseTab
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.engine.zero_gpu import is_zero_gpu
from e5studio.studio.form.form import Form, picker_models, score_request
from e5studio.studio.form.stale_strip import results_of, stale_strip
from e5studio.studio.guide.guide import BUTTON, SCRIPT, guide_html
from e5studio.studio.jobs.button import JobButton
from e5studio.studio.jobs.events import (
    EACH,
    ENCODE_QUEUE,
    NOTHING_PENDING,
    UNQUEUED,
    Changes,
    PendingOutput,
    components_of,
    fields_of,
    pending_state,
)
from e5studio.studio.map.placing import TextMap
from e5studio.studio.map.tab import MapTab, valid_choices, warm_once
from e5studio.studio.page import privacy
from e5studio.studio.page.share import Sharing
from e5studio.studio.page.view_state import PendingView, view_for
from e5studio.studio.scores import text as scores_text
from e5studio.studio.scores.order import chosen_shading, valid_order
from e5studio.studio.scores.other_languages import warm_finder
from e5studio.studio.scores.tab import ScoresTab
from e5studio.studio.services import Services
from e5studio.studio.serving.gradio_patches import LeanBlocks, make_apps_at_launch
from e5studio.studio.serving.presence import presence
from e5studio.studio.serving.uploads import KEPT_SECONDS
from e5studio.studio.widgets.text_tree import text_tree

_HERE = Path(__file__).parent
_HEADER = f"""
<header class="e5-header">
  {(_HERE / "favicon.svg").read_text(encoding="utf-8")}
  <h1>E5 Studio</h1>
  <p>What E5 embeddings say about your texts</p>
  {BUTTON}
  <button type="button" class="e5-round e5-theme" aria-label="Light or dark" title="Light or dark">◐</button>
</header>
{guide_html()}
"""
_SWITCH_THEME = """
element.querySelector(".e5-theme").addEventListener("click", () => document.body.classList.toggle("dark"));
"""
_WARM_AFTER_SECONDS = 10
_SWEEP_SECONDS = 300  # between two searches for old uploaded files

# Where the columns stand below each other, a result would appear out of sight.
_SHOW_RESULTS = """() => {
  const results = document.querySelector("#e5-results");
  const isBelow = results && results.getBoundingClientRect().top > window.innerHeight * 0.8;
  const isTyping = document.activeElement?.matches("textarea");
  if (isBelow && !isTyping && document.querySelector("#e5-status .e5-done")) results.scrollIntoView();
}"""


def build_app(services: Services, choice: ModelChoice) -> gr.Blocks:
    """The page.

    Args:
        services: The state behind the page.
        choice: The model that the page starts with, and why.
    """
    make_apps_at_launch()
    demo = LeanBlocks(
        title="E5 Studio", analytics_enabled=False, delete_cache=(_SWEEP_SECONDS, KEPT_SECONDS - _SWEEP_SECONDS)
    )
    with demo:
        publish(services.engine, choice.name)  # first: of two events with one name, the later gets another
        page = _Page(services, choice)
        page.connect()
        loaded = [page.form.picker, page.form.model_note, page.presence]
        demo.load(page.on_load, [page.form.picker], loaded, **UNQUEUED)
    return demo


class _Page:
    """The form beside the tabs; made inside gr.Blocks."""

    def __init__(self, services: Services, choice: ModelChoice) -> None:
        self._services = services
        self._start_model = choice.name
        self._score_on_gpu = services.engine.on_gpu(services.engine.score)
        gr.HTML(_HEADER, apply_default_css=False, elem_id="e5-top", js_on_load=_SWITCH_THEME + SCRIPT)
        self.result = gr.State(None)
        self.pending_view = gr.State(None)
        with gr.Row(elem_id="e5-main"):
            self.form = Form(choice, services.engine.catalog)
            with gr.Column(elem_id="e5-results", elem_classes="e5-panel"):
                self.stale = stale_strip("e5-stale", results="e5-stale-scores", again="Score again", button="e5-score")
                with gr.Tabs(elem_id="e5-tabs") as self.tabs:
                    with gr.Tab("Scores", id="scores", elem_classes="e5-of-scores"):
                        self.scores = ScoresTab(services)
                    with gr.Tab("Map", id="map", elem_classes="e5-of-scores") as self.map_page:
                        self.map = MapTab(services)
                    with gr.Tab("Compare", id="compare"):
                        self.compare = CompareTab(services, choice.name)
                    with gr.Tab("Corpus", id="corpus"):
                        self.corpus = CorpusTab(services)
                    with gr.Tab("Diagnose", id="diagnose") as self.diagnose_page:
                        self.diagnose = DiagnoseTab(services)
                    with gr.Tab("Code", id="code", elem_classes="e5-of-scores"):
                        self.code = CodeTab(has_v1=services.has_v1)
        text_tree(privacy.PRIVACY_NOTICE, elem_id="e5-keeps")
        drop_anywhere(elem_id="e5-drop")
        self.presence = presence(elem_id="e5-presence")
        self._score_job = JobButton(self.form.score, self.form.stop, self.form.status)
        self._sharing = Sharing(services, self.form, self.scores, self.map, self.tabs, self.result, self.pending_view)

    def connect(self) -> None:
        """Bind the events."""
        form, result = self.form, self.result
        form.connect(self.scores.notes)
        self.scores.connect(result)
        self.map.connect(result)
        form.score.click(self.scores.why.on_stop, **UNQUEUED)
        self.compare.connect(form, result)
        changed = self.corpus.connect(form)
        self._sharing.connect()
        scored = self._connect_score()
        self.code.connect(scored, result)
        self.diagnose.connect(self.diagnose_page, result, self.corpus.token, after=[scored, *changed], embedded=changed)
        self.map_page.select(warm_once, **UNQUEUED)

    def _connect_score(self) -> Any:
        """Score on request; returns the event after which other texts are scored."""
        form, result = self.form, self.result
        scored = form.link.rescore(
            self.on_score,
            [result, self.pending_view, self.scores.order, self.scores.shading, *form.typed],
            [form.score, form.stop, form.status, result, self.stale, *components_of(self.scores)],
            **(ENCODE_QUEUE | EACH),  # a later one replaces the one that runs
        )
        self._score_job.connect_stop()
        # An event of its own, so that the scores need not wait for the map. Another yield would not do: the browser
        # makes the second output from the first in place, and may do so before the first is drawn.
        pending = pending_state()
        known = [result, self.map.text_map, self.pending_view]
        placed = scored.then(self.on_scored, [*known, *self.map.choices], [pending], **UNQUEUED)
        outputs = [*components_of(self.map), form.link]
        placed.then(self.on_placed, [*known, pending, *self.map.choices], outputs, **UNQUEUED)
        scored.then(None, js=_SHOW_RESULTS, **UNQUEUED)
        return scored

    def on_load(self, model: str, request: gr.Request) -> Changes:
        """A page was opened: say which models are here, and prepare what is slow the first time."""
        _warm_soon()
        warm_finder()
        models = picker_models(self._services.engine.catalog)
        note = self.form.note_of(self._services.engine.catalog.offered(model))
        session = str(request.session_hash)
        return {self.form.picker: gr.update(models=models), self.form.model_note: note, self.presence: session}

    def on_score(
        self,
        previous: ScoreResult | None,
        pending_view: PendingView | None,
        order: str,
        shading: str,
        event: gr.EventData,
        request: gr.Request,
        *typed: Any,
    ) -> Iterator[Changes]:
        """Score the texts, on request or by themselves: shows the progress, then the scores or what went wrong."""
        cause = fields_of(event).get("cause")
        is_asked = cause not in ("arrival", "typing")
        if not is_asked and not self._is_scored_by_itself(cause, score_request(*typed).model):
            yield {}
            return

        def show(result: ScoreResult) -> Changes:
            view = view_for(pending_view, result)
            look = (view.order, view.shading) if view else (valid_order(order), chosen_shading(shading, previous))
            shown = self.scores.show(result, *look)
            stale = {self.stale: results_of(result, "These scores are")}
            return {self.form.status: scores_text.summary(result), self.result: result, **stale, **shown}

        def score(on_stage: OnStage) -> ScoreResult:
            known = [previous] if previous else []
            return self._score_on_gpu(score_request(*typed), on_stage=on_stage, before=known)

        is_left = previous is not None
        yield from self._score_job.run(request, score, show, is_result_left=is_left, is_asked=is_asked)

    def _is_scored_by_itself(self, cause: Any, model: str) -> bool:
        """Whether texts are scored before anybody asks: not for a model to download, nor on a GPU with a quota.

        The model that the page starts with is fetched anyway.
        """
        if is_zero_gpu():
            return False
        catalog = self._services.engine.catalog
        return (cause == "arrival" and model == self._start_model) or catalog.is_here(catalog.offered(model))

    def on_scored(
        self, result: ScoreResult | None, text_map: TextMap | None, pending_view: PendingView | None, *choices: Any
    ) -> PendingOutput:
        """Texts were scored: draw their map."""
        if result is None or _is_shown(text_map, result, pending_view):
            return NOTHING_PENDING
        return PendingOutput(result.key, self._drawn(result, pending_view, choices), choices)

    def on_placed(
        self,
        result: ScoreResult | None,
        text_map: TextMap | None,
        pending_view: PendingView | None,
        output: PendingOutput | None,
        *choices: Any,
    ) -> Changes:
        """A map was drawn: show it, or draw that of the result and the choices by now.

        Scores that come close together have their maps drawn at once, and the older map may be ready last.
        """
        if result is None or _is_shown(text_map, result, pending_view):
            return {}
        is_current = output is not None and (output.of, output.choices) == (result.key, choices)
        return output.changes if output and is_current else self._drawn(result, pending_view, choices)

    def _drawn(self, result: ScoreResult, pending_view: PendingView | None, choices: tuple[Any, ...]) -> Changes:
        view = view_for(pending_view, result)
        look = (view.colour, view.placing) if view else valid_choices(*choices)
        return {**self.map.show(result, *look, is_of_link=view is not None), **self._sharing.after_scoring(view)}


def _is_shown(text_map: TextMap | None, result: ScoreResult, pending_view: PendingView | None) -> bool:
    """Whether the page has the result's map, by whatever method the visitor chose, and no link asks for another."""
    return text_map is not None and text_map.of == result.key and view_for(pending_view, result) is None


@functools.cache
def _warm_soon() -> None:
    # Compiling takes both cores for seconds, and visitors press Score first.
    timer = threading.Timer(_WARM_AFTER_SECONDS, warm_once)
    timer.daemon = True
    timer.start()
