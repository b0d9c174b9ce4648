"""The tab with programs that print the scores of the page elsewhere."""

from __future__ import annotations

from typing import Any

import gradio as gr

from e5studio.studio.code import text as code_text
from e5studio.studio.code.state import state_of
from e5studio.studio.code.targets import TARGETS
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.jobs.events import (
    NOTHING_PENDING,
    UNQUEUED,
    Changes,
    PendingOutput,
    pending_state,
    show_if_current,
)
from e5studio.studio.widgets.text_tree import text_tree

# Only the browser knows the address under which the page is open.
_AFTER_SCORING = "(result, address) => [result, document.baseURI]"
_WITH_ADDRESS = "(result, target, address) => [result, target, document.baseURI]"
_BY_TITLE = {target.title: target for target in TARGETS}


class CodeTab:
    """The tab with programs: one at a time, for the target that is chosen.

    Args:
        has_v1: Whether programs can call this Studio.
    """

    def __init__(self, *, has_v1: bool) -> None:
        """Lay out the tab; called inside gr.Blocks."""
        self._has_v1 = has_v1
        titles = [target.title for target in TARGETS if has_v1 or not target.calls_studio]
        self.status = text_tree(code_text.INVITATION, elem_id="e5-code-status", live="polite")
        with gr.Column(visible=False) as self.program:
            self.target = gr.Radio(
                titles, value=TARGETS[0].title, label="Code for", elem_id="e5-code-target", min_width=0
            )
            self.code = gr.Code(
                interactive=False,
                buttons=["copy", "download"],
                wrap_lines=True,
                show_line_numbers=False,
                elem_id="e5-code",
            )
        self.notes = text_tree(elem_id="e5-code-notes")
        self._address = gr.Textbox(visible=False)

    def connect(self, scored: Any, result: gr.State) -> None:
        """Show the code of each new result.

        Args:
            scored: The event that scores.
            result: What the page shows.
        """
        outputs = [self.status, self.program, self.notes]
        scored.then(self.on_scored, [result, self._address], outputs, js=_AFTER_SCORING, **UNQUEUED)
        # A target that is chosen while the code of the one before is on its way would be overwritten by it.
        for start in (scored.then, self.target.input):
            pending = pending_state()
            inputs = [result, self.target, self._address]
            written = start(self.on_target, inputs, [pending], js=_WITH_ADDRESS, **UNQUEUED)
            show_if_current(written, pending, result, [self.code], [self.target])

    def on_scored(self, result: ScoreResult | None, address: str) -> Changes:
        """Texts were scored."""
        if result is None:
            return {}
        state = state_of(result, address)
        return {
            self.status: code_text.status(state),
            self.program: gr.update(visible=True),
            self.notes: code_text.notes(state, has_v1=self._has_v1),
        }

    def on_target(self, result: ScoreResult | None, target: str, address: str) -> PendingOutput:
        """Texts were scored, or another target was chosen: write its program."""
        if result is None or target not in _BY_TITLE:
            return NOTHING_PENDING
        chosen = _BY_TITLE[target]
        code = chosen.write(state_of(result, address))
        shown = gr.update(value=code, language=chosen.language, label=chosen.file_name)
        return PendingOutput(result.key, {self.code: shown}, (target,))
