"""Links that open the page as it is, files of what it shows, and reloads: connects them. Stores nothing of any."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

import gradio as gr

from e5studio.errors import E5StudioError
from e5studio.hub import find_local
from e5studio.studio.engine.catalog import offered
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.engine.text_box import Limits
from e5studio.studio.form.form import Form, filled, keep
from e5studio.studio.form.link import FIELDS, read_link
from e5studio.studio.form.share_link import pack_script
from e5studio.studio.jobs.events import (
    ENCODE_QUEUE,
    PROJECT_QUEUE,
    SAVE_QUEUE,
    UNQUEUED,
    PendingOutput,
    fields_of,
    pending_state,
    show_if_current,
)
from e5studio.studio.map.placing import MapSettings, TextMap
from e5studio.studio.map.tab import MapTab, place_anew, shown_settings
from e5studio.studio.page.save import export, export_page, valid_export
from e5studio.studio.page.view_state import VIEW_FIELDS, PendingView, SharedView, read_view, view_for
from e5studio.studio.scores.tab import ScoresTab, show_pair
from e5studio.studio.serving.downloads import DOWNLOADS, Download
from e5studio.studio.why.panel import explainer
from e5studio.studio.widgets import nodes


@dataclass(frozen=True)
class Page:
    """The parts of the page whose state is shared, and where a link's wishes wait for their result."""

    inputs: Form
    scores: ScoresTab
    chart: MapTab
    tabs: gr.Tabs
    result: gr.State
    pending_view: gr.State

    @property
    def view(self) -> list[Any]:
        """How the page looks, in the order of `VIEW_FIELDS`."""
        return [self.scores.order, self.chart.colour, self.scores.why.cell, *self.chart.settings]


def listen_sharing(page: Page, engine: Engine) -> None:
    """Make links, open them, and save files."""
    inputs = page.inputs
    inputs.share.click(None, [*inputs.typed, *page.view], js=pack_script(FIELDS, VIEW_FIELDS), **UNQUEUED)
    opened = inputs.link.opened(
        _opener(engine.limits), None, [*inputs.filled, inputs.link, page.pending_view], **UNQUEUED
    )
    keep(inputs, opened.then)
    _listen_restore(page, engine)
    for bar in (page.scores.save, page.chart.save):
        bar.wanted(_save, [page.result, page.chart.placed, *page.view], [bar], **SAVE_QUEUE)


def after_scoring(view: SharedView | None) -> dict[str, str]:
    """What the link's script does once a result is there, whose view a link may wish for."""
    return _then("nothing" if view is None or view == SharedView(order=view.order) else "restore")


def _opener(limits: Limits) -> Callable[..., list[Any]]:
    def open_link(event: gr.EventData) -> list[Any]:
        brought = fields_of(event)
        state, is_kept = brought.get("state"), bool(brought.get("is_kept"))
        try:
            found = read_link(state, limits)
        except E5StudioError as error:
            told = (
                nodes.hint("What you had here could not be brought back.")
                if is_kept
                else nodes.error(message_for_visitor(error))
            )
            return [*filled(None, told), _then("nothing"), None]
        if is_kept:
            return [*filled(found, nodes.hint("Brought back what you had here. Press Score.")), _then("nothing"), None]
        # A link may name a model of many gigabytes; whoever opens it should be asked before they are fetched.
        is_here = find_local(offered(found.model)) is not None
        told = nodes.hint("Opened from a link." if is_here else "Opened from a link. Score fetches the model first.")
        return [*filled(found, told), _then("score" if is_here else "nothing"), PendingView(found, read_view(state))]

    return open_link


def _listen_restore(page: Page, engine: Engine) -> None:
    """Once a link's texts are scored: its tab, its map and its pair."""
    explained = explainer(engine)
    why, chart = page.scores.why, page.chart
    placed, opened_pair = pending_state(), pending_state()

    def look(found: ScoreResult | None, pending_view: PendingView | None) -> list[Any]:
        view = _wanted(found, pending_view)
        if view is None:
            return [gr.skip()] * (2 + len(chart.settings))
        return [gr.update(selected=view.tab), *shown_settings(view.placing), view.colour]

    def place(found: ScoreResult | None, pending_view: PendingView | None) -> Any:
        view = _wanted(found, pending_view)
        if view is None or (view.placing == MapSettings() and view.colour == "role"):
            yield [gr.skip(), gr.skip()]
            return
        yield from place_anew(found, view.colour, *astuple(view.placing))

    def pair(found: ScoreResult | None, pending_view: PendingView | None) -> Any:
        view = _wanted(found, pending_view)
        if found is None or view is None or view.cell is None:
            return gr.skip()
        return PendingOutput(found.key, [show_pair(found, *view.cell), *explained(found, *view.cell)])

    def forget(found: ScoreResult | None, pending_view: PendingView | None) -> Any:
        return gr.skip() if _wanted(found, pending_view) is None else None  # it may be another link's by now

    asked = [page.result, page.pending_view]
    opened = page.inputs.link.restore(look, asked, [page.tabs, *chart.settings, chart.colour], **UNQUEUED)
    made = opened.then(place, asked, [chart.caption, placed], **PROJECT_QUEUE)
    drawn = show_if_current(made, placed, page.result, chart.drawn)
    made = drawn.then(pair, asked, [opened_pair], **ENCODE_QUEUE)
    shown = show_if_current(made, opened_pair, page.result, [page.scores.pair, *why.outputs])
    shown.then(forget, asked, [page.pending_view], **UNQUEUED)


def _wanted(found: ScoreResult | None, pending_view: PendingView | None) -> SharedView | None:
    return view_for(pending_view, found) if found is not None else None


def _save(event: gr.EventData, result: ScoreResult | None, placed: TextMap | None, *looks: Any) -> dict[str, str]:
    wanted = fields_of(event).get("kind")
    if result is None:
        return {"fault": "There is nothing to save yet. Press Score."}
    try:
        return {"address": DOWNLOADS.put(_file(wanted, result, placed, looks))}
    except Exception as error:
        return {"fault": message_for_visitor(error)}


def _file(wanted: Any, result: ScoreResult, placed: TextMap | None, looks: tuple[Any, ...]) -> Download:
    if wanted == "page.json":
        return export_page(result, read_view({"view": dict(zip(VIEW_FIELDS, looks, strict=True))}))
    return export(valid_export(wanted), result, placed)


def _then(what: str) -> dict[str, str]:
    """What the link's script does next; a mark makes each a new value, or the page would not tell it."""
    return {"then": what, "mark": secrets.token_hex(4)}
