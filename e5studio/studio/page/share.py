"""Links that open the page as it is, reloads, and files of what the page shows. Stores nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from e5studio.errors import E5StudioError
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.form import text as form_text
from e5studio.studio.form.form import Form
from e5studio.studio.form.link import FIELDS, read_link
from e5studio.studio.form.share_link import choices_script, next_step, pack_script
from e5studio.studio.jobs.events import (
    EACH,
    ENCODE_QUEUE,
    NOTHING_PENDING,
    SAVE_QUEUE,
    UNQUEUED,
    Changes,
    PendingOutput,
    components_of,
    fields_of,
    pending_state,
    show_if_current,
)
from e5studio.studio.map.placing import TextMap
from e5studio.studio.map.tab import MapTab
from e5studio.studio.page import text as page_text
from e5studio.studio.page.save import STANDALONE_KINDS, export, export_html, export_page, valid_export
from e5studio.studio.page.view_state import (
    CHOICE_FIELDS,
    VIEW_FIELDS,
    PendingView,
    SharedView,
    read_view,
    view_for,
)
from e5studio.studio.scores.tab import ScoresTab
from e5studio.studio.services import Services
from e5studio.studio.widgets import nodes


@dataclass(frozen=True)
class Sharing:
    """Makes links, opens them, and saves files.

    Attributes:
        services: The state behind the page.
        form: What a link fills.
        scores: Shows a link's order and pair.
        map: Shows a link's map.
        tabs: Opens a link's tab.
        result: What the page shows.
        pending_view: A link's view, until its texts are scored.
    """

    services: Services
    form: Form
    scores: ScoresTab
    map: MapTab
    tabs: gr.Tabs
    result: gr.State
    pending_view: gr.State

    @property
    def _view(self) -> list[Any]:
        """The inputs of a callback that takes the values of `VIEW_FIELDS`."""
        return [self.scores.why.cell, self.scores.order, self.scores.shading, *self.map.choices]

    def connect(self) -> None:
        """Bind the events."""
        form, link = self.form, self.form.link
        form.share.click(None, [*form.typed, *self._view], js=pack_script(FIELDS, VIEW_FIELDS), **UNQUEUED)
        opened = link.opened(self.on_open, None, [*components_of(form), self.pending_view], **(UNQUEUED | EACH))
        form.note_after(opened.then)
        choices = self._view[1:]
        methods, settings = self.map.panel.settings[0], self.map.panel.settings[1:]
        inputs = [each.input for each in (self.scores.order, self.scores.shading, *settings)]
        for listener in (self.map.panel.colour.choose, methods.choose, *inputs):
            listener(None, choices, None, js=choices_script(CHOICE_FIELDS), **UNQUEUED)
        self._connect_restore()
        for bar in (self.scores.save, self.map.save):
            bar.wanted(self.on_save, [self.result, self.map.text_map, *self._view], [bar], **(SAVE_QUEUE | EACH))

    def _connect_restore(self) -> None:
        """Once a link's texts are scored: open its tab and its pair."""
        pending_pair = pending_state()
        inputs = [self.result, self.pending_view]
        viewed = self.form.link.restore(self.on_restore, inputs, [self.tabs], **UNQUEUED)
        explained = viewed.then(self.on_restore_pair, inputs, [pending_pair], **ENCODE_QUEUE)
        explained = show_if_current(explained, pending_pair, self.result, components_of(self.scores.why))
        explained.then(self.on_restored, inputs, [self.pending_view], **UNQUEUED)

    def on_open(self, event: gr.EventData) -> Changes:
        """A link, a saved page or this tab's note was read."""
        fields, engine = fields_of(event), self.services.engine
        state, is_note = fields.get("state"), bool(fields.get("is_note"))
        unchanged = {self.form.link: next_step("nothing"), self.pending_view: None}
        try:
            shared = read_link(state, engine.catalog, engine.limits)
        except E5StudioError as error:
            message = nodes.hint(page_text.NOTE_DAMAGED) if is_note else nodes.error(message_for_visitor(error))
            return {**unchanged, self.form.status: message}
        # A link may name a model of many gigabytes: the visitor decides whether to fetch it.
        is_here = engine.catalog.is_here(engine.catalog.offered(shared.model))
        status = page_text.NOTE_RESTORED if is_note else page_text.OPENED
        view = replace(read_view(state), tab=None) if is_note else read_view(state)  # the address has the tab
        is_viewed = not is_note or (isinstance(state, dict) and "view" in state)
        return {
            **unchanged,
            **self.form.fill(shared),
            self.form.picker: shared.model,
            self.form.example: [],
            self.form.status: nodes.hint(f"{status} {form_text.filled(is_model_here=is_here)}"),
            self.form.link: next_step("score" if is_here else "nothing"),
            self.pending_view: PendingView(shared, view) if is_viewed else None,
        }

    def on_restore(self, result: ScoreResult | None, pending_view: PendingView | None) -> Changes:
        """Open a link's tab."""
        view = view_for(pending_view, result)
        return {} if view is None or view.tab is None else {self.tabs: gr.update(selected=view.tab)}

    def on_restore_pair(self, result: ScoreResult | None, pending_view: PendingView | None) -> PendingOutput:
        """Explain a link's pair."""
        view = view_for(pending_view, result)
        if result is None or view is None or view.cell is None:
            return NOTHING_PENDING
        return PendingOutput(result.key, self.scores.why.explain(result, *view.cell))

    def on_restored(self, result: ScoreResult | None, pending_view: PendingView | None) -> Changes:
        """Forget a link's view that is shown; by now it may be another link's."""
        return {} if view_for(pending_view, result) is None else {self.pending_view: None}

    def after_scoring(self, view: SharedView | None) -> Changes:
        """Have the browser restore a link's view of what was scored."""
        return {self.form.link: next_step("nothing" if view is None else "restore")}

    def on_save(
        self, event: gr.EventData, result: ScoreResult | None, text_map: TextMap | None, *view: Any
    ) -> dict[str, str]:
        """Make a file and tell its address."""
        if result is None:
            return {"fault": page_text.NOTHING_TO_SAVE}
        try:
            return {"address": self._store(fields_of(event).get("kind"), result, text_map, view)}
        except Exception as error:
            return {"fault": message_for_visitor(error)}

    def _store(self, kind: Any, result: ScoreResult, text_map: TextMap | None, values: tuple[Any, ...]) -> str:
        downloads, view = self.services.downloads, read_view({"view": dict(zip(VIEW_FIELDS, values, strict=True))})
        if kind == "page.json":
            return downloads.put(export_page(result, view))
        if kind in STANDALONE_KINDS:
            return downloads.add_file(export_html(kind, result, text_map, view, downloads.new_path(".html")))
        return downloads.put(export(valid_export(kind), result, text_map))
