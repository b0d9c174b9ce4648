"""The panel that opens when a cell is picked: whether the score is high, what it is made of, what each word does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr
import numpy as np

from e5studio.analysis.attribution import Words
from e5studio.studio.charts.matrix import word_grid
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.errors import StoppedError
from e5studio.studio.jobs.events import (
    EACH,
    ENCODE_QUEUE,
    NOTHING_PENDING,
    ONCE,
    UNQUEUED,
    Changes,
    PendingOutput,
    cell_of,
    components_of,
    fields_of,
    pending_state,
    show_if_current,
)
from e5studio.studio.jobs.job import SessionJobs, StopSignal
from e5studio.studio.services import Services
from e5studio.studio.why import text as why_text
from e5studio.studio.why.explanation import Explanation, PartEffect, explain_pair, leave_out
from e5studio.studio.why.sentences import parts_at
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.plotly_view import plotly_view
from e5studio.studio.widgets.text_tree import text_tree

_PLAIN, _CENTRED = "plain", "centred"

# Where the card stands below the matrix, what a click brings would appear out of sight.
_SHOW_CARD = """() => {
  const card = document.querySelector("#e5-why")?.getBoundingClientRect();
  if (!card) return;
  const isSeen = card.top >= 0 && card.top < 0.5 * innerHeight;
  if (!isSeen) scrollBy({ top: card.top - 0.3 * innerHeight });
}"""


class WhyPanel:
    """The panel, closed at first; made inside gr.Blocks."""

    def __init__(self, services: Services) -> None:
        self._engine = services.engine
        self._downloads = services.downloads
        self._explain_pair = services.engine.on_gpu(self._explain_pair_here)
        self._streams, self._picks = SessionJobs(), SessionJobs()
        with gr.Column(elem_id="e5-why", min_width=0, visible=False) as self.panel:
            self.card = text_tree(elem_id="e5-pair", live="polite")
            with gr.Row(elem_id="e5-why-words"):
                self.start = gr.Button(
                    why_text.leave_out_label(None), elem_id="e5-leave-out", size="sm", visible=False, min_width=0
                )
                self.stop = gr.Button("Stop", elem_id="e5-leave-out-stop", size="sm", visible=False, min_width=0)
            self.effects = text_tree(elem_id="e5-why-effects", live="polite")
        with gr.Accordion("All word pairs", open=False, visible=False, elem_id="e5-why-more") as self.more:
            self.high = text_tree(elem_id="e5-why-high")
            self.made_of = text_tree(elem_id="e5-why-made")
            self.view = gr.Radio(
                [("All of the score", _PLAIN), ("Beyond what all texts share", _CENTRED)],
                value=_PLAIN,
                label="Show",
                elem_id="e5-why-view",
            )
            self.grid = plotly_view(elem_id="e5-why-grid")
            self.read = text_tree(elem_id="e5-why-read")
        self.explained = gr.State(None)
        self.cell = gr.JSON(None, visible=False)  # in the page, where a link's script reads it

    def connect(self, result: gr.State, sources: Sequence[gr.HTML]) -> None:
        """Explain the pair that is picked in one of the sources; show its shares either way; leave words out."""
        self.view.input(self.on_view, [self.explained, self.view], [self.made_of, self.grid], **UNQUEUED)
        outputs = [self.card, self.start, self.stop, self.effects]
        known = [result, self.explained]
        self.start.click(self.on_leave_out, known, outputs, **(ENCODE_QUEUE | ONCE))
        self.effects.pick(self.on_leave_words_out, known, outputs, **(ENCODE_QUEUE | EACH))
        self.stop.click(self.on_stop, **UNQUEUED)
        for source in sources:
            shown = source.pick(self.on_show, [result], components_of(self), **(UNQUEUED | EACH))
            shown.then(None, js=_SHOW_CARD, **UNQUEUED)
            pending = pending_state()
            # Otherwise Gradio drops the second of two clicks, or what it was about.
            picked = source.pick(self.on_pick, [result], [pending], **(ENCODE_QUEUE | EACH))
            show_if_current(picked, pending, result, components_of(self))

    def close(self) -> Changes:
        """Close the panel, which is about an earlier result."""
        return {
            self.panel: gr.update(visible=False),
            self.more: gr.update(visible=False),
            self.card: [],
            self.start: gr.update(visible=False),
            self.stop: gr.update(visible=False),
            self.effects: [],
            self.explained: None,
            self.cell: None,
        }

    def explain(self, result: ScoreResult, row: int, column: int) -> Changes:
        """Open the panel for a cell; nothing changes where there is none."""
        if not result.has_pair(row, column):
            return {}
        is_open = {**self.close(), self.panel: gr.update(visible=True)}
        try:
            explanation = self._explain_pair(result, row, column)
            grid = self._grid(explanation, is_centred=False)
        except Exception as error:
            note = nodes.error(message_for_visitor(error))
            return {**is_open, self.card: why_text.card(result, row, column, note=note)}
        return {
            **is_open,
            self.card: why_text.card(result, row, column, explanation),
            **self._show_effects(explanation),
            self.more: gr.update(visible=True),
            self.high: why_text.is_it_high(explanation),
            self.made_of: why_text.made_of(explanation, is_centred=False),
            self.view: gr.update(value=_PLAIN, visible=explanation.shares is not None),
            self.grid: grid,
            self.read: why_text.what_was_read(explanation),
            self.explained: explanation,
            self.cell: {"row": row, "column": column},
        }

    def _show_effects(self, explanation: Explanation) -> Changes:
        """Offer to leave parts out, or what the strongest sentences do where that is known already."""
        if explanation.effects is None:
            return {self.start: gr.update(value=why_text.leave_out_label(explanation), visible=True, interactive=True)}
        return {self.effects: why_text.strongest_sentences(explanation, explanation.effects)}

    def on_show(self, result: ScoreResult | None, event: gr.EventData, request: gr.Request) -> Changes:
        """A cell was picked: show what is known of it without the model, and stop leaving words of another out."""
        self.on_stop(request)
        cell = cell_of(event)
        if result is None or cell is None or not result.has_pair(*cell):
            return {}
        reading = nodes.progress(None, "Finding what carries the score")
        return {
            **self.close(),
            self.panel: gr.update(visible=True),
            self.card: why_text.card(result, *cell, note=reading),
            # Whoever has opened the fold for one pair finds it open for the next.
            self.more: gr.skip(),
            self.high: [],
            self.made_of: [],
            self.grid: None,
            self.read: [],
        }

    def on_pick(self, result: ScoreResult | None, event: gr.EventData, request: gr.Request) -> PendingOutput | Changes:
        """A cell was picked; it is not explained where another was picked meanwhile."""
        cell, session = cell_of(event), str(request.session_hash)
        if result is None or cell is None:
            return NOTHING_PENDING
        pick = self._picks.start(session, StopSignal())
        try:
            output = PendingOutput(result.key, self.explain(result, *cell))
            return {} if pick.is_set() else output  # what the later pick has left stays pending
        finally:
            self._picks.end(session, pick)

    def on_view(self, explanation: Explanation | None, view: str) -> Changes:
        """The other way to show the shares was chosen."""
        if explanation is None:
            return {}
        is_centred = view == _CENTRED
        return {
            self.made_of: why_text.made_of(explanation, is_centred=is_centred),
            self.grid: self._grid(explanation, is_centred=is_centred),
        }

    def on_stop(self, request: gr.Request) -> None:
        """Stop leaving words out, on request or because something else needs the model."""
        self._streams.stop(str(request.session_hash))

    def on_leave_out(
        self, result: ScoreResult | None, explanation: Explanation | None, request: gr.Request
    ) -> Iterator[Changes]:
        """Show what each part of both texts does, a few at a time."""
        if result is None or explanation is None:
            yield {}
            return

        def show(effects: list[PartEffect]) -> Changes:
            cell = explanation.row, explanation.column
            return {
                self.card: why_text.card(result, *cell, explanation, effects=effects),
                self.effects: why_text.strongest_sentences(explanation, effects),
            }

        yield from self._leave_out(result, explanation, [side.parts for side in explanation.sides], show, request)

    def on_leave_words_out(
        self, result: ScoreResult | None, explanation: Explanation | None, event: gr.EventData, request: gr.Request
    ) -> Iterator[Changes]:
        """Show what each word of a sentence does."""
        parts = [] if explanation is None else _words_of_sentence(explanation, fields_of(event).get("key"))
        if result is None or explanation is None or not parts:
            yield {}
            return

        def show(effects: list[PartEffect]) -> Changes:
            return {self.effects: why_text.words_left_out(explanation, parts, effects)}

        yield from self._leave_out(result, explanation, parts, show, request)

    def _leave_out(
        self,
        result: ScoreResult,
        explanation: Explanation,
        parts: Sequence[Words],
        show: Callable[[list[PartEffect]], Changes],
        request: gr.Request,
    ) -> Iterator[Changes]:
        session = str(request.session_hash)
        stop = self._streams.start(session, StopSignal())
        yield {
            self.start: gr.update(interactive=False),
            self.stop: gr.update(visible=True),
            self.effects: nodes.progress(None, "Scoring again without each part"),
        }

        def on_stage(share: float | None, doing: str) -> None:
            if stop.is_set():
                raise StoppedError

        try:
            with self._engine.lease(result.meta, on_stage) as encoder:
                steps = leave_out(encoder, result, parts, explanation)
                while (effects := self._next_effects(steps, on_stage)) is not None:
                    yield show(effects)
        except StoppedError:
            pass
        except Exception as error:
            yield {self.effects: nodes.error(message_for_visitor(error))}
        finally:
            self._streams.end(session, stop)  # also where the visitor has closed the page
        yield {self.start: gr.update(interactive=True), self.stop: gr.update(visible=False)}

    def _explain_pair_here(self, result: ScoreResult, row: int, column: int) -> Explanation:
        with self._engine.encoder_with_tokens(result.meta) as encoder:
            return explain_pair(encoder, result, row, column)

    def _grid(self, explanation: Explanation, *, is_centred: bool) -> dict[str, Any] | None:
        shares = explanation.centred if is_centred else explanation.shares
        if shares is None:
            return None
        points = (100 * shares.shares).astype(np.float32)
        figure = word_grid(points, shares.left.names, shares.right.names, is_centred=is_centred)
        return self._downloads.as_payload(figure)

    def _next_effects(self, steps: Iterator[list[PartEffect]], on_stage: OnStage) -> list[PartEffect] | None:
        # The queue's slot is taken for one step: over a `yield`, a closed page would hold it for ever.
        with self._engine.encode_queue.slot(on_stage):
            effects = next(steps, None)
        on_stage(None, "")
        return effects


def _words_of_sentence(explanation: Explanation, key: Any) -> list[Words]:
    """The words of the sentence with this key, "1:5" for the sixth of the column's text; none of the other text."""
    for number, side in enumerate(explanation.sides):
        for index in range(len(side.parts.names)):
            if key == f"{number}:{index}":
                words = [parts_at(each.text, []) for each in explanation.sides]
                words[number] = side.words_in(index)
                return words
    return []
