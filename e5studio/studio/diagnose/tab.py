"""The tab that shows what is wrong or particular with the texts that were scored, or with those of the corpus.

A diagnosis is shown only as long as the page holds the texts that it is about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gradio as gr

from e5studio.errors import TextError
from e5studio.studio.corpus.corpus import EmbeddedCorpus
from e5studio.studio.diagnose import text as diagnose_text
from e5studio.studio.diagnose.charts import draw_cosines, draw_hubs
from e5studio.studio.diagnose.diagnosis import Diagnosis, diagnose
from e5studio.studio.diagnose.finding import Finding
from e5studio.studio.diagnose.subject import Source, subject_of
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.jobs.button import JobButton
from e5studio.studio.jobs.events import DIAGNOSE_QUEUE, EACH, ONCE, UNQUEUED, Changes, components_of, fields_of
from e5studio.studio.services import Services
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.data_table import data_table_view
from e5studio.studio.widgets.headings import heading
from e5studio.studio.widgets.plotly_view import plotly_view
from e5studio.studio.widgets.text_tree import text_tree

_SOURCES = [("Texts of the form", "scores"), ("Corpus", "corpus")]


@dataclass(frozen=True)
class Diagnosed:
    """Which texts the latest diagnosis is of, without the texts themselves.

    Attributes:
        of: Key of the result or the embedded corpus.
        source: Where they come from.
        pending: What shows the diagnosis, until it is known that the page still holds these texts.
    """

    of: str
    source: Source
    pending: Changes = field(default_factory=dict)


class FindingSlot:
    """Shows one finding."""

    def __init__(self, services: Services, number: int) -> None:
        self._services = services
        with gr.Column(visible=False, elem_id=f"e5-finding-{number}", elem_classes="e5-finding", min_width=0) as panel:
            self.panel = panel
            self.finding = text_tree(elem_id=f"e5-finding-said-{number}")
            self.table = data_table_view(elem_id=f"e5-finding-table-{number}")
            self.text = text_tree(elem_id=f"e5-finding-text-{number}", live="polite")

    def show(self, finding: Finding | None) -> Changes:
        """Show a finding, or nothing."""
        table = None if finding is None else finding.table
        return {
            self.panel: gr.update(visible=finding is not None),
            self.finding: [] if finding is None else diagnose_text.finding_nodes(finding),
            self.table: None if table is None else self._services.downloads.as_payload(table),
            self.text: [],
        }


class DiagnoseTab:
    """The tab with the findings about a set of texts."""

    def __init__(self, services: Services) -> None:
        """Lay out the tab; called inside gr.Blocks."""
        self._services = services
        with gr.Row(elem_id="e5-diagnose-choices", elem_classes="e5-map-choices"):
            self.source = gr.Radio(
                _SOURCES, value="scores", label="Which texts", min_width=0, elem_id="e5-diagnose-source"
            )
            self.start = gr.Button("Diagnose", variant="primary", elem_id="e5-diagnose", min_width=0)
            self.stop = gr.Button("Stop", elem_id="e5-diagnose-stop", visible=False, min_width=0)
        self.status = text_tree(nodes.hint(diagnose_text.INVITATION), elem_id="e5-diagnose-status", live="polite")
        self._job = JobButton(self.start, self.stop, self.status)
        self.summary = text_tree(elem_id="e5-diagnosis", live="polite")
        self.slots = tuple(FindingSlot(services, number) for number in range(diagnose_text.MAX_FINDINGS))
        with gr.Row(visible=False, elem_id="e5-diagnosis-pictures") as self.pictures:
            with gr.Column(min_width=0):
                heading("Random and nearest texts")
                self.cosines = plotly_view(elem_id="e5-cosines")
            with gr.Column(min_width=0):
                heading("How often each text is near others")
                self.hubs = plotly_view(elem_id="e5-hubs")
        self.diagnosed = gr.State(None)
        self._page: gr.Tab | None = None

    def connect(
        self, page: gr.Tab, result: gr.State, token: gr.State, after: Sequence[Any], embedded: Sequence[Any] = ()
    ) -> None:
        """Diagnose on request, scored texts when the tab is opened, and a corpus once it is embedded.

        The tab's title counts what needs attention. The diagnosis is cleared when other texts come.

        Args:
            page: The tab itself.
            result: What was scored.
            token: Of the visitor's store, which holds the corpus.
            after: Events that change the texts.
            embedded: Events after which a corpus may be embedded.
        """
        self._page = page
        texts = [result, token, self.diagnosed]
        inputs, outputs = [self.source, *texts], [*components_of(self, *self.slots), page]
        once: dict[str, Any] = DIAGNOSE_QUEUE | ONCE
        jobs = [
            self.start.click(self.on_diagnose, inputs, outputs, **once),
            page.select(self.on_open, inputs, outputs, **once),
            *(event.then(self.on_embedded, texts, outputs, **DIAGNOSE_QUEUE) for event in embedded),
        ]
        self._job.connect_stop()
        for event in (*after, *jobs):  # a diagnosis, too, waits for this: the texts may have changed while it ran
            event.then(self.on_texts, texts, outputs, **UNQUEUED)
        for slot in self.slots:
            slot.table.pick(self.on_pick, texts, [slot.text], **(UNQUEUED | EACH))

    def show(self, diagnosis: Diagnosis | None) -> Changes:
        """Show a diagnosis, or none."""
        findings = [] if diagnosis is None else diagnose_text.findings(diagnosis)
        known = [finding for finding in findings if finding.level != "unknown"]
        empty = [None] * (len(self.slots) - len(known))
        changes = [slot.show(finding) for slot, finding in zip(self.slots, [*known, *empty], strict=True)]
        title = {} if self._page is None else {self._page: gr.update(label=diagnose_text.tab_title(findings))}
        cosines, hubs = (None, None) if diagnosis is None else (draw_cosines(diagnosis), draw_hubs(diagnosis))
        payload = self._services.downloads.as_payload
        return {
            **title,
            self.summary: diagnose_text.summary(findings) if findings else [],
            **{component: value for slot in changes for component, value in slot.items()},
            self.pictures: gr.update(visible=cosines is not None),
            self.cosines: None if cosines is None else payload(cosines),
            self.hubs: None if hubs is None else payload(hubs),
            self.diagnosed: None if diagnosis is None else Diagnosed(diagnosis.subject.of, diagnosis.subject.source),
        }

    def on_diagnose(
        self, source: str, result: ScoreResult | None, token: str, diagnosed: Diagnosed | None, request: gr.Request
    ) -> Iterator[Changes]:
        """Diagnose was pressed."""
        chosen: Source = "corpus" if source == "corpus" else "scores"

        def work(on_stage: OnStage) -> Diagnosis:
            with self._services.engine.diagnosis_queue.slot(on_stage):
                scored = self._scored(chosen, result, token)
                if scored is None:
                    raise TextError(diagnose_text.NOTHING[chosen])
                return diagnose(subject_of(scored), on_stage)

        def leave(diagnosis: Diagnosis) -> Changes:
            changes = {self.status: diagnose_text.done(diagnosis), **self.show(diagnosis)}
            return {self.diagnosed: replace(changes[self.diagnosed], pending=changes)}

        yield from self._job.run(request, work, leave, is_result_left=diagnosed is not None)

    def on_open(
        self, source: str, result: ScoreResult | None, token: str, diagnosed: Diagnosed | None, request: gr.Request
    ) -> Iterator[Changes]:
        """The tab was opened: diagnose what was scored, unless that is done."""
        is_done = diagnosed is not None and result is not None and diagnosed.of == result.key
        if source == "corpus" or result is None or is_done:
            yield {}
        else:
            yield from self.on_diagnose(source, result, token, diagnosed, request)

    def on_embedded(
        self, result: ScoreResult | None, token: str, diagnosed: Diagnosed | None, request: gr.Request
    ) -> Iterator[Changes]:
        """A corpus may be embedded: diagnose it, unless that is done."""
        embedded = self._services.visitor_stores.embedded(token)
        if embedded is None or (diagnosed is not None and diagnosed.of == embedded.key):
            yield {}
            return
        yield {self.source: "corpus"}
        yield from self.on_diagnose("corpus", result, token, diagnosed, request)

    def on_texts(self, result: ScoreResult | None, token: str, diagnosed: Diagnosed | None) -> Changes:
        """The texts may have changed: clear a diagnosis of others, show one of these that has just been made."""
        if diagnosed is None:
            return {}
        if self._current(result, token, diagnosed) is None:
            return {self.status: nodes.hint(diagnose_text.OTHER_TEXTS), **self.show(None)}
        return diagnosed.pending  # in which nothing is pending any longer

    def on_pick(self, result: ScoreResult | None, token: str, diagnosed: Diagnosed | None, event: gr.EventData) -> Any:
        """A row of a table was clicked: show its text in full."""
        label = fields_of(event).get("label")
        scored = None if diagnosed is None else self._current(result, token, diagnosed)
        text = None if scored is None or not isinstance(label, str) else subject_of(scored).text(label)
        return {} if text is None else diagnose_text.full_text(str(label), text)

    def _scored(self, source: Source, result: ScoreResult | None, token: str) -> ScoreResult | EmbeddedCorpus | None:
        return result if source == "scores" else self._services.visitor_stores.embedded(token)

    def _current(
        self, result: ScoreResult | None, token: str, diagnosed: Diagnosed
    ) -> ScoreResult | EmbeddedCorpus | None:
        """The texts of a diagnosis; None where the page no longer holds them."""
        scored = self._scored(diagnosed.source, result, token)
        return scored if scored is not None and scored.key == diagnosed.of else None
