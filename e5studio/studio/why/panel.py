"""What opens when a cell is picked: whether the score is high, what it is made of, what each word does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from e5studio.studio.charts.figure import Figure
from e5studio.studio.charts.matrix import word_grid
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.errors import StoppedError
from e5studio.studio.jobs.events import ENCODE_QUEUE, UNQUEUED, PendingOutput, fields_of, pending_state, show_if_current
from e5studio.studio.jobs.job import StopSignals
from e5studio.studio.serving.downloads import as_payload
from e5studio.studio.why import text as why_text
from e5studio.studio.why.explanation import Explanation, WordEffect, explain_pair, leave_words_out
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.plotly_view import plotly_view
from e5studio.studio.widgets.text_tree import text_tree

_PLAIN, _CENTRED = "plain", "centred"


Stop = Callable[[gr.Request], None]


@dataclass(frozen=True)
class WhyPanel:
    """The components of the panel."""

    panel: gr.Column
    high: gr.HTML
    made_of: gr.HTML
    view: gr.Radio
    grid: gr.HTML
    start: gr.Button
    stop: gr.Button
    effects: gr.HTML
    read: gr.HTML
    explained: gr.State
    cell: gr.JSON

    @property
    def outputs(self) -> list[Any]:
        """In the order of `_shown` and `cleared`."""
        return [
            self.panel,
            self.high,
            self.made_of,
            self.view,
            self.grid,
            self.start,
            self.stop,
            self.effects,
            self.read,
            self.explained,
            self.cell,
        ]


def render_why() -> WhyPanel:
    """Lay out the panel, closed."""
    with gr.Column(elem_id="e5-why", visible=False) as panel:
        high = text_tree(elem_id="e5-why-high", live="polite")
        with gr.Row(elem_id="e5-why-words"):
            start = gr.Button("Leave out each word", elem_id="e5-leave-out", size="sm", min_width=0)
            stop = gr.Button("Stop", elem_id="e5-leave-out-stop", size="sm", visible=False, min_width=0)
        effects = text_tree(elem_id="e5-why-effects", live="polite")
        made_of = text_tree(elem_id="e5-why-made")
        view = gr.Radio(
            [("All of the score", _PLAIN), ("Beyond what all texts share", _CENTRED)],
            value=_PLAIN,
            label="Show",
            elem_id="e5-why-view",
        )
        grid = plotly_view(elem_id="e5-why-grid")
        read = text_tree(elem_id="e5-why-read")
        explained = gr.State(None)
    cell = gr.JSON(None, visible=False)  # in the page, where a link's script reads it
    return WhyPanel(panel, high, made_of, view, grid, start, stop, effects, read, explained, cell)


def cleared() -> list[Any]:
    """A closed panel, as the values of `WhyPanel.outputs`: what it said was of an earlier result."""
    start, stop = gr.update(interactive=True), gr.update(visible=False)
    return [gr.update(visible=False), [], [], _PLAIN, None, start, stop, [], [], None, None]


def listen_why(why: WhyPanel, engine: Engine, result: gr.State, sources: list[gr.HTML]) -> Stop:
    """Explain the pair whose cell is picked; show its shares in either way; leave its words out on request.

    Returns:
        A listener that ends the leaving out, for whatever else needs the model.
    """
    signs = StopSignals()

    def stop(request: gr.Request) -> None:
        signs.stop(str(request.session_hash))

    open_panel = explainer(engine)

    def picked(found: ScoreResult | None, event: gr.EventData) -> Any:
        place = fields_of(event)
        row, column = place.get("row"), place.get("column")
        if found is None or not isinstance(row, int) or not isinstance(column, int):
            return gr.skip()
        return PendingOutput(found.key, open_panel(found, row, column))

    why.view.input(_view, [why.explained, why.view], [why.made_of, why.grid], **UNQUEUED)
    why.start.click(
        _leaver(engine, signs),
        [result, why.explained],
        [why.start, why.stop, why.effects],
        trigger_mode="once",
        **ENCODE_QUEUE,
    )
    for source in sources:
        source.pick(stop, **UNQUEUED)
        opened = pending_state()
        # Gradio drops the second of two clicks otherwise, or what it was about.
        made = source.pick(picked, [result], [opened], trigger_mode="multiple", **ENCODE_QUEUE)
        show_if_current(made, opened, result, why.outputs)
    why.stop.click(stop, **UNQUEUED)
    return stop


def explainer(engine: Engine) -> Callable[[ScoreResult | None, int, int], list[Any]]:
    """What explains a cell, as the values of `WhyPanel.outputs`."""

    def explain_cell(found: ScoreResult, row: int, column: int) -> Explanation:
        with engine.encoder_with_tokens(found.meta) as encoder:
            return explain_pair(encoder, found, row, column)

    explained = engine.on_gpu(explain_cell)

    def open_panel(found: ScoreResult | None, row: int, column: int) -> list[Any]:
        if found is None or not found.has_pair(row, column):
            return [gr.skip()] * len(cleared())
        try:
            return _shown(explained(found, row, column))
        except Exception as error:
            return [gr.update(visible=True), nodes.error(message_for_visitor(error)), *cleared()[2:]]

    return open_panel


def _shown(found: Explanation) -> list[Any]:
    is_a_sum = found.shares is not None
    return [
        gr.update(visible=True),
        why_text.is_it_high(found),
        why_text.made_of(found, is_centred=False),
        gr.update(value=_PLAIN, visible=is_a_sum),
        _grid(found, is_centred=False),
        gr.update(interactive=True),
        gr.update(visible=False),
        [],
        why_text.what_was_read(found),
        found,
        {"row": found.row, "column": found.column},
    ]


def _view(found: Explanation | None, view: str) -> tuple[Any, Any]:
    if found is None:
        return gr.skip(), gr.skip()
    is_centred = view == _CENTRED
    return why_text.made_of(found, is_centred=is_centred), _grid(found, is_centred=is_centred)


def _grid(found: Explanation, *, is_centred: bool) -> Figure | None:
    shares = found.centred if is_centred else found.shares
    if shares is None:
        return None
    points = (100 * shares.shares).astype(np.float32)
    return as_payload(word_grid(points, shares.left.names, shares.right.names, is_centred=is_centred))


def _leaver(engine: Engine, signs: StopSignals) -> Any:
    def leave_out(
        found: ScoreResult | None, explained: Explanation | None, request: gr.Request
    ) -> Iterator[tuple[Any, Any, Any]]:
        if found is None or explained is None:
            return
        session = str(request.session_hash)
        sign = signs.start(session)
        yield gr.update(interactive=False), gr.update(visible=True), nodes.progress(None, "Leaving words out")

        def stage(share: float | None, doing: str) -> None:
            if sign.is_set():
                raise StoppedError

        try:
            with engine.lease(found.meta, stage) as encoder:
                steps = leave_words_out(encoder, found, explained)
                while (effects := _next_in_turn(engine, steps, stage)) is not None:
                    yield gr.skip(), gr.skip(), why_text.words_left_out(explained, effects)
        except StoppedError:
            pass
        except Exception as error:
            yield gr.skip(), gr.skip(), nodes.error(message_for_visitor(error))
        finally:
            signs.end(session, sign)  # also where the visitor has closed the page
        yield gr.update(interactive=True), gr.update(visible=False), gr.skip()

    return leave_out


def _next_in_turn(engine: Engine, steps: Iterator[list[WordEffect]], stage: OnStage) -> list[WordEffect] | None:
    # A turn for each step: held over a `yield`, it would be a closed page's for ever.
    with engine.encode_queue.slot(stage):
        effects = next(steps, None)
    stage(None, "")
    return effects
