"""The tab that says what is wrong or particular with the texts that were scored, or with those of the corpus.

A diagnosis stands only beside the texts that it is of: where others come, it goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from e5studio.errors import TextError
from e5studio.studio.corpus import text as corpus_words
from e5studio.studio.corpus.map import row_of_label
from e5studio.studio.corpus.visitor_store import VISITOR_STORES
from e5studio.studio.diagnose import text as diagnosis_words
from e5studio.studio.diagnose.charts import draw_cosines, draw_hubs
from e5studio.studio.diagnose.diagnosis import Diagnosis, diagnose
from e5studio.studio.diagnose.finding import Finding
from e5studio.studio.diagnose.subject import Source, Subject, subject_of_corpus, subject_of_scores
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.jobs.button import listen_stop, run_with_progress
from e5studio.studio.jobs.events import DIAGNOSE_QUEUE, UNQUEUED, fields_of
from e5studio.studio.jobs.job import SessionJobs
from e5studio.studio.map import text as map_text
from e5studio.studio.serving.downloads import as_payload
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.data_table import data_table_view
from e5studio.studio.widgets.headings import heading
from e5studio.studio.widgets.plotly_view import plotly_view
from e5studio.studio.widgets.text_tree import text_tree

_SOURCES = [("Texts of the form", "scores"), ("Corpus", "corpus")]
_INVITATION = "Copies, texts cut off, texts that are near everything, and what is usual among the rest."
_OTHERS = "Other texts have come since. Press Diagnose again."
_NOTHING: dict[Source, str] = {
    "scores": "Nothing is scored yet. Press Score, then come back.",
    "corpus": "There is no embedded corpus. Open the Corpus tab, bring texts and press Embed.",
}


@dataclass(frozen=True)
class Diagnosed:
    """Which texts the page shows a diagnosis of; no text is kept in it.

    Attributes:
        of: Key of the result or the embedded corpus.
        source: Where they come from.
    """

    of: str
    source: Source


@dataclass(frozen=True)
class FindingSlot:
    """Where one finding stands."""

    panel: gr.Column
    said: gr.HTML
    table: gr.HTML
    text: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        """In the order of `_in_slot`."""
        return [self.panel, self.said, self.table, self.text]


@dataclass(frozen=True)
class DiagnoseTab:
    """The components of the tab."""

    source: gr.Radio
    start: gr.Button
    stop: gr.Button
    status: gr.HTML
    summary: gr.HTML
    slots: tuple[FindingSlot, ...]
    pictures: gr.Row
    cosines: gr.HTML
    hubs: gr.HTML
    diagnosed: gr.State

    @property
    def outputs(self) -> list[Any]:
        """In the order of `show_diagnosis`."""
        slots = [component for slot in self.slots for component in slot.outputs]
        return [self.summary, *slots, self.pictures, self.cosines, self.hubs, self.diagnosed]


def render_diagnose() -> DiagnoseTab:
    """Lay out the tab."""
    with gr.Row(elem_id="e5-diagnose-choices", elem_classes="e5-map-choices"):
        source = gr.Radio(_SOURCES, value="scores", label="Which texts", min_width=0, elem_id="e5-diagnose-source")
        start = gr.Button("Diagnose", variant="primary", elem_id="e5-diagnose", min_width=0)
        stop = gr.Button("Stop", elem_id="e5-diagnose-stop", visible=False, min_width=0)
    status = text_tree(nodes.hint(_INVITATION), elem_id="e5-diagnose-status", live="polite")
    summary = text_tree(elem_id="e5-diagnosis", live="polite")
    slots = tuple(_render_slot(number) for number in range(diagnosis_words.MAX_FINDINGS))
    with gr.Row(visible=False, elem_id="e5-diagnosis-pictures") as pictures:
        with gr.Column(min_width=0):
            heading("Random and nearest texts")
            cosines = plotly_view(elem_id="e5-cosines")
        with gr.Column(min_width=0):
            heading("How often each text is near others")
            hubs = plotly_view(elem_id="e5-hubs")
    diagnosed = gr.State(None)
    return DiagnoseTab(source, start, stop, status, summary, slots, pictures, cosines, hubs, diagnosed)


def _render_slot(number: int) -> FindingSlot:
    with gr.Column(visible=False, elem_id=f"e5-finding-{number}", elem_classes="e5-finding", min_width=0) as panel:
        said = text_tree(elem_id=f"e5-finding-said-{number}")
        table = data_table_view(elem_id=f"e5-finding-table-{number}")
        text = text_tree(elem_id=f"e5-finding-text-{number}", live="polite")
    return FindingSlot(panel, said, table, text)


def listen_diagnose(
    tab: DiagnoseTab, page: gr.Tab, engine: Engine, result: gr.State, token: gr.State, after: Sequence[Any]
) -> None:
    """Diagnose on request, and what was scored when the tab is opened; forget it when other texts come.

    Args:
        tab: Of `render_diagnose`.
        page: The tab itself.
        engine: Whose line a diagnosis waits in.
        result: What was scored.
        token: Of the shelf with the corpus.
        after: Events that bring other texts, or take them away.
    """
    running = SessionJobs()
    asked = [tab.source, result, token, tab.diagnosed]
    outputs = [tab.start, tab.stop, tab.status, *tab.outputs]
    press, opened = _diagnoser(engine, running), _diagnoser(engine, running, is_opening=True)
    works = [
        tab.start.click(press, asked, outputs, trigger_mode="once", **DIAGNOSE_QUEUE),
        page.select(opened, asked, outputs, trigger_mode="once", **DIAGNOSE_QUEUE),
    ]
    listen_stop(tab.stop, running)
    for event in (*after, *works):  # after its own works too: texts may have come while they ran
        event.then(_keep_current, [result, token, tab.diagnosed], [tab.status, *tab.outputs], **UNQUEUED)
    for slot in tab.slots:
        slot.table.pick(_pick, [result, token, tab.diagnosed], [slot.text], **UNQUEUED)


def show_diagnosis(found: Diagnosis | None) -> list[Any]:
    """A diagnosis, or none, as the values of `DiagnoseTab.outputs`."""
    listed = diagnosis_words.findings(found) if found is not None else []
    slots = [*listed, *[None] * (diagnosis_words.MAX_FINDINGS - len(listed))]
    cosines = draw_cosines(found) if found is not None else None
    hubs = draw_hubs(found) if found is not None else None
    return [
        diagnosis_words.summary(listed) if listed else [],
        *(value for finding in slots for value in _in_slot(finding)),
        gr.update(visible=cosines is not None),
        None if cosines is None else as_payload(cosines),
        None if hubs is None else as_payload(hubs),
        None if found is None else Diagnosed(found.subject.of, found.subject.source),
    ]


def _in_slot(finding: Finding | None) -> list[Any]:
    if finding is None:
        return [gr.update(visible=False), [], None, []]
    table = None if finding.table is None else as_payload(finding.table)
    return [gr.update(visible=True), diagnosis_words.finding_nodes(finding), table, []]


def _diagnoser(engine: Engine, running: SessionJobs, *, is_opening: bool = False) -> Any:
    """The work behind the button; where the tab is opened, only for scores that have no diagnosis yet."""

    def press(
        source: str, result: ScoreResult | None, token: str, diagnosed: Diagnosed | None, request: gr.Request
    ) -> Iterator[list[Any]]:
        chosen: Source = "corpus" if source == "corpus" else "scores"
        if is_opening and (chosen == "corpus" or result is None or _is_of(diagnosed, result)):
            yield [gr.skip()] * (3 + _N_SHOWN)
            return

        def work(tell: OnStage) -> Diagnosis:
            with engine.diagnosis_queue.slot(tell):
                return diagnose(_subject(chosen, result, token), tell)

        def show(found: Diagnosis) -> list[Any]:
            return [diagnosis_words.done(found), *show_diagnosis(found)]

        is_left = diagnosed is not None
        yield from run_with_progress(running, request, work, show, n_shown=_N_SHOWN, is_result_left=is_left)

    return press


_N_SHOWN = 5 + 4 * diagnosis_words.MAX_FINDINGS


def _subject(source: Source, result: ScoreResult | None, token: str) -> Subject:
    if source == "scores" and result is not None:
        return subject_of_scores(result)
    embedded = VISITOR_STORES.embedded(token) if source == "corpus" else None
    if embedded is None:
        raise TextError(_NOTHING[source])
    return subject_of_corpus(embedded)


def _is_of(diagnosed: Diagnosed | None, result: ScoreResult) -> bool:
    return diagnosed is not None and diagnosed.of == result.key


def _keep_current(result: ScoreResult | None, token: str, diagnosed: Diagnosed | None) -> list[Any]:
    """Take a diagnosis away whose texts are no longer those of the page."""
    if diagnosed is None or _current_key(diagnosed.source, result, token) == diagnosed.of:
        return [gr.skip()] * (1 + _N_SHOWN)
    return [nodes.hint(_OTHERS), *show_diagnosis(None)]


def _current_key(source: Source, result: ScoreResult | None, token: str) -> str | None:
    if source == "scores":
        return None if result is None else result.key
    embedded = VISITOR_STORES.embedded(token)
    return None if embedded is None else embedded.key


def _pick(event: gr.EventData, result: ScoreResult | None, token: str, diagnosed: Diagnosed | None) -> Any:
    """A text of a table in full."""
    name = fields_of(event).get("label")
    if diagnosed is None or not isinstance(name, str):
        return gr.skip()
    if diagnosed.source == "scores":
        return map_text.point(result, name) if result is not None and _is_of(diagnosed, result) else gr.skip()
    embedded = VISITOR_STORES.embedded(token)
    row = row_of_label(embedded.corpus, name) if embedded is not None and embedded.key == diagnosed.of else None
    return gr.skip() if embedded is None or row is None else corpus_words.point(embedded.corpus, row, [])
