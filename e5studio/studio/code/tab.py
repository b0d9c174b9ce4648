"""The tab that gives what was scored as code, which prints the same numbers elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from e5studio.studio.code.code_view import code_view
from e5studio.studio.code.state import MAX_INLINE_BYTES, ScoredState, state_of
from e5studio.studio.code.targets import TARGETS
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.form.form import Form, listen_changes, listen_late_changes
from e5studio.studio.form.text import CHANGED
from e5studio.studio.jobs.events import UNQUEUED, PendingOutput, pending_state, show_if_current
from e5studio.studio.serving.downloads import as_payload
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.text_tree import text_tree

# Only the browser knows for certain under which address it has the page open.
_WITH_ADDRESS = "(result, address) => [result, document.baseURI]"


@dataclass(frozen=True)
class CodeTab:
    """The components that show code."""

    status: gr.HTML
    programs: gr.HTML
    notes: gr.HTML
    address: gr.Textbox

    @property
    def outputs(self) -> list[Any]:
        """In the order of `show_code`."""
        return [self.status, self.programs, self.notes]


def render_code() -> CodeTab:
    """Lay out the tab."""
    invitation = [
        ["p", "e5-empty-title", "The same numbers from your own program"],
        ["p", "e5-hint", "Press Score, and the code that gives the same scores elsewhere appears here."],
    ]
    status = text_tree(invitation, elem_id="e5-code-status", live="polite")
    programs = code_view(elem_id="e5-code")
    notes = text_tree(elem_id="e5-code-notes")
    return CodeTab(status, programs, notes, gr.Textbox(visible=False))


def show_code(state: ScoredState) -> list[Any]:
    """A state as the values of `CodeTab.outputs`."""
    programs = [
        {
            "title": target.title,
            "file_name": target.file_name,
            "language": target.language,
            "code": target.write(state),
        }
        for target in TARGETS
    ]
    return [code_status(state), as_payload({"programs": programs}), code_notes(state)]


def code_status(state: ScoredState) -> list[nodes.Node]:
    """Which scores the code gives."""
    n = len(state.queries)
    size = f"{n} texts with each other" if state.is_self else f"{n} \N{MULTIPLICATION SIGN} {len(state.passages)}"
    short = state.model.rsplit("/", 1)[-1]
    return [["p", "e5-done", f"Code for the scores of {size} with {short}, {state.computing}."]]


def code_notes(state: ScoredState) -> list[nodes.Node]:
    """How near the numbers come, and why not nearer."""
    notes = [
        "Each program prints cosine \N{MULTIPLICATION SIGN} 100 to two decimals, and names above the first row that it "
        "should print.",
        "In float32 every program agrees with the page to 0.01. Libraries add up in another order, so the last digit "
        "may be rounded the other way. Lower precisions round more; the program then says how much was measured.",
        "e5studio, LangChain and LlamaIndex are installed from E5 Studio's folder, as their first line says. The other "
        "programs in Python fetch the model's weights from the Hugging Face Hub, or find them in its cache.",
        f"curl and gradio_client ask this Studio, at {state.address}. The program with curl is for a POSIX shell: on "
        "Windows Git Bash or WSL.",
    ]
    if not state.is_inline:
        notes.append(
            f"The texts take more than {MAX_INLINE_BYTES:,} bytes, so they are read from e5-page.json: save it in the "
            "Scores tab (Save, page, JSON) beside the program."
        )
    return [["ul", "", *(["li", "e5-hint", note] for note in notes)]]


def listen_code(tab: CodeTab, scored: Any, inputs: Form, result: gr.State) -> None:
    """Show the code of each new result, and say when the inputs are no longer those that it is for.

    Args:
        tab: Of `render_code`.
        scored: The event that scores.
        inputs: What was scored, until it changes.
        result: What the page shows.
    """
    drafted = pending_state()

    def code_of_new(found: ScoreResult | None, address: str) -> Any:
        if found is None:
            return gr.skip()
        return PendingOutput(found.key, dict(zip(tab.outputs, show_code(state_of(found, address)), strict=True)))

    made = scored.then(code_of_new, [result, tab.address], [drafted], js=_WITH_ADDRESS, **UNQUEUED)
    shown = show_if_current(made, drafted, result, tab.outputs)
    listen_changes(inputs, tab.status, CHANGED, [inputs.link.opened])
    listen_late_changes(shown, inputs, tab.status, CHANGED, result)
