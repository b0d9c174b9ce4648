"""The tab with programs that print the scores of the page elsewhere."""

from __future__ import annotations

from typing import Any

import gradio as gr

from e5studio.studio.code import text as code_text
from e5studio.studio.code.state import state_of
from e5studio.studio.code.targets import TARGETS
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.jobs.events import UNQUEUED, Changes
from e5studio.studio.widgets.text_tree import text_tree

# Only the browser knows the address under which the page is open.
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
        inputs = [result, self.target, self._address]
        outputs = [self.status, self.program, self.code, self.notes]
        scored.then(self.on_scored, inputs, outputs, js=_WITH_ADDRESS, **UNQUEUED)
        self.target.input(self.on_target, inputs, [self.code], js=_WITH_ADDRESS, **UNQUEUED)

    def on_scored(self, result: ScoreResult | None, target: str, address: str) -> Changes:
        """Texts were scored."""
        if result is None:
            return {}
        state = state_of(result, address)
        return {
            self.status: code_text.status(state),
            self.program: gr.update(visible=True),
            self.notes: code_text.notes(state, has_v1=self._has_v1),
            **self.on_target(result, target, address),
        }

    def on_target(self, result: ScoreResult | None, target: str, address: str) -> Changes:
        """Another target was chosen."""
        if result is None or target not in _BY_TITLE:
            return {}
        chosen = _BY_TITLE[target]
        code = chosen.write(state_of(result, address))
        return {self.code: gr.update(value=code, language=chosen.language, label=chosen.file_name)}
