"""Lays out the Studio's page and connects it to the handlers; building it has no side effects."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from e5studio.studio.api.endpoints import publish
from e5studio.studio.code.tab import CodeTab
from e5studio.studio.compare.tab import CompareTab
from e5studio.studio.corpus.tab import listen_corpus, render_corpus
from e5studio.studio.corpus.visitor_store import VISITOR_STORES
from e5studio.studio.diagnose.tab import DiagnoseTab
from e5studio.studio.engine.catalog import ModelChoice
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.engine.result import ScoreRequest, ScoreResult
from e5studio.studio.engine.zero_gpu import is_zero_gpu
from e5studio.studio.form.form import (
    CHANGED,
    listen_form,
    listen_late_changes,
    picker_models,
    render_form,
    score_request,
)
from e5studio.studio.jobs.button import listen_stop, run_with_progress
from e5studio.studio.jobs.events import ENCODE_QUEUE, UNQUEUED, PendingOutput, pending_state, show_if_current
from e5studio.studio.jobs.job import SessionJobs
from e5studio.studio.map.placing import TextMap
from e5studio.studio.map.tab import first_map, listen_map, render_map, warm_once
from e5studio.studio.page import privacy
from e5studio.studio.page.share import Page, after_scoring, listen_sharing
from e5studio.studio.page.view_state import PendingView, view_for
from e5studio.studio.scores import text as scores_text
from e5studio.studio.scores.other_languages import warm_finder
from e5studio.studio.scores.tab import listen_scores, render_scores, show_scores
from e5studio.studio.services import Services
from e5studio.studio.serving.downloads import DOWNLOADS
from e5studio.studio.serving.gradio_patches import LeanBlocks
from e5studio.studio.serving.presence import presence
from e5studio.studio.serving.uploads import KEPT_SECONDS
from e5studio.studio.widgets.text_tree import text_tree

_HERE = Path(__file__).parent
_HEADER = f"""
<header class="e5-header">
  {(_HERE / "favicon.svg").read_text(encoding="utf-8")}
  <h1>E5 Studio</h1>
  <p>What E5 embeddings say about your texts</p>
  <button type="button" class="e5-theme" aria-label="Switch between light and dark" title="Light or dark">◐</button>
</header>
"""
_SWITCH_THEME = """
element.querySelector(".e5-theme").addEventListener("click", () => document.body.classList.toggle("dark"));
"""
_WARM_AFTER_SECONDS = 10
_SWEEP_SECONDS = 300  # between two looks for uploaded files that are over

# Where the columns stand below each other, a result would appear out of sight.
_SHOW_RESULTS = """() => {
  const results = document.querySelector("#e5-results");
  const isBelow = results && results.getBoundingClientRect().top > window.innerHeight * 0.8;
  if (isBelow && document.querySelector(".e5-done")) results.scrollIntoView();
}"""


def build_app(engine: Engine, choice: ModelChoice) -> gr.Blocks:
    """The page.

    Args:
        engine: Does the work.
        choice: The model that the page starts with, and why.
    """
    demo = LeanBlocks(
        title="E5 Studio", analytics_enabled=False, delete_cache=(_SWEEP_SECONDS, KEPT_SECONDS - _SWEEP_SECONDS)
    )
    services = Services(engine, DOWNLOADS, VISITOR_STORES)
    with demo:
        publish(engine, choice.name)  # first: of two events with one name, the later gets another
        gr.HTML(_HEADER, apply_default_css=False, elem_id="e5-top", js_on_load=_SWITCH_THEME)
        result = gr.State(None)
        pending_view = gr.State(None)
        with gr.Row(elem_id="e5-main"):
            inputs = render_form(choice, engine.limits)
            with (
                gr.Column(elem_id="e5-results", elem_classes="e5-panel"),
                gr.Tabs(elem_id="e5-tabs") as tabs,
            ):
                with gr.Tab("Scores", id="scores"):
                    scores = render_scores()
                with gr.Tab("Map", id="map") as map_page:
                    chart = render_map()
                with gr.Tab("Compare", id="compare"):
                    comparison = CompareTab(services, choice.name)
                with gr.Tab("Corpus", id="corpus"):
                    corpus = render_corpus()
                with gr.Tab("Diagnose", id="diagnose") as diagnosis_page:
                    diagnosis = DiagnoseTab(services)
                with gr.Tab("Code", id="code"):
                    code = CodeTab()
        text_tree(privacy.PRIVACY_NOTICE, elem_id="e5-keeps")
        present = presence(elem_id="e5-presence")
        page = Page(inputs, scores, chart, tabs, result, pending_view)
        listen_form(inputs)
        stop_leaving_out = listen_scores(scores, engine, result)
        inputs.score.click(stop_leaving_out, **UNQUEUED)
        listen_map(chart, result)
        comparison.connect(inputs, result)
        changed = listen_corpus(corpus, inputs, engine)
        listen_sharing(page, engine)
        scored = _listen_score(page, engine)
        code.connect(scored, inputs, result)
        diagnosis.connect(diagnosis_page, result, corpus.token, after=[scored, *changed])
        map_page.select(_warm, **UNQUEUED)
        demo.load(_first_paint, None, [inputs.picker, present], **UNQUEUED)
    return demo


def _warm() -> None:
    warm_once()


def _first_paint(request: gr.Request) -> Any:
    """Freshen what is said of the models' files, and have ready what is slow the first time."""
    _warm_soon()
    warm_finder()
    return gr.update(models=picker_models()), str(request.session_hash)


@functools.cache
def _warm_soon() -> threading.Timer:
    # Compiling takes both cores for seconds, and the first thing that people do is press Score.
    timer = threading.Timer(_WARM_AFTER_SECONDS, warm_once)
    timer.daemon = True
    timer.start()
    return timer


def _listen_score(page: Page, engine: Engine) -> Any:
    """Score on request; gives the event after which other texts are scored."""
    running = SessionJobs()
    inputs = page.inputs
    scores = [page.result, *page.scores.outputs]
    first = pending_state()
    scored = inputs.score.click(
        _scorer(engine, running, len(scores)),
        [page.result, page.pending_view, *inputs.typed],
        [inputs.score, inputs.stop, inputs.status, *scores],
        trigger_mode="once",
        **ENCODE_QUEUE,
    )
    # An event of its own, so that the scores need not wait for the map. A yield more would not do: the browser works
    # out the second from the first in place, and may do so before the first is drawn.
    made = scored.then(_map_of_new, [page.result, page.chart.placed, page.pending_view], [first], **UNQUEUED)
    show_if_current(made, first, page.result, [*page.chart.outputs, inputs.link])
    scored.then(None, js=_SHOW_RESULTS, **UNQUEUED)
    listen_late_changes(scored, inputs, inputs.status, CHANGED, page.result)

    listen_stop(inputs.stop, running)
    return scored


def _map_of_new(found: ScoreResult | None, placed: TextMap | None, pending_view: PendingView | None) -> Any:
    if found is None or (placed is not None and placed.of == found.key):  # nothing was scored
        return gr.skip()
    return PendingOutput(found.key, [*first_map(found), after_scoring(view_for(pending_view, found))])


def _scorer(engine: Engine, running: SessionJobs, n_shown: int) -> Any:
    """The work behind the Score button: tells what is done, then shows the scores or what went wrong."""
    gpu_score = engine.on_gpu(engine.score)

    def work(asked: ScoreRequest, before: Sequence[ScoreResult], tell: OnStage) -> ScoreResult:
        if is_zero_gpu():  # it works in another process, where nothing can be told or stopped
            return gpu_score(asked, before=before)
        return engine.score(asked, tell, before=before)

    def score(
        before: ScoreResult | None, pending_view: PendingView | None, request: gr.Request, *typed: Any
    ) -> Iterator[list[Any]]:
        asked = score_request(*typed)

        def show(found: ScoreResult) -> list[Any]:
            view = view_for(pending_view, found)
            return [scores_text.summary(found), found, *show_scores(found, view.order if view else "written")]

        yield from run_with_progress(
            running,
            request,
            functools.partial(work, asked, [before] if before else []),
            show,
            n_shown=n_shown,
            is_result_left=before is not None,
        )

    return score
