"""The form: model, prompt mode, texts, examples, Score and Copy link."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import gradio as gr

from e5studio.default_model import ModelChoice
from e5studio.models import PromptKind
from e5studio.prompts import WEB_SEARCH_INSTRUCTION
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.engine.prompt_modes import (
    PromptMode,
    prompt_modes_of,
    side_labels,
    takes_instruction,
    valid_prompt_mode,
)
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.engine.text_box import Limits, Separator
from e5studio.studio.form import text as form_text
from e5studio.studio.form.examples import EXAMPLES, Example, first_example
from e5studio.studio.form.link import FIELDS, SharedForm
from e5studio.studio.form.share_link import note_script, share_link
from e5studio.studio.jobs.events import UNQUEUED, Changes
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.headings import heading
from e5studio.studio.widgets.model_picker import model_picker
from e5studio.studio.widgets.text_tree import text_tree


class Form:
    """The left column of the page.

    Args:
        choice: The model that it starts with, and why.
        catalog: The models to choose from.
        limits: Of the texts.
    """

    def __init__(self, choice: ModelChoice, catalog: Catalog, limits: Limits) -> None:
        self._catalog = catalog
        meta = catalog.offered(choice.name)
        kind = meta.prompt_kind
        prompt_mode = prompt_modes_of(kind)[0].prompt_mode
        first = first_example(meta.languages)
        with gr.Column(elem_id="e5-inputs", elem_classes="e5-panel"):
            heading("Model", level=2)
            self.picker = model_picker(choice.name, picker_models(catalog), elem_id="e5-model")
            self.start = text_tree(form_text.chosen_model(choice, catalog.card(meta)), elem_id="e5-start")
            self.prompt_mode = gr.Radio(
                prompt_mode_choices(kind), value=prompt_mode, label="How the texts are used", elem_id="e5-use"
            )
            self.prompts = text_tree(form_text.prompts(kind, prompt_mode), elem_id="e5-prompts")
            self.instruction = gr.Textbox(
                WEB_SEARCH_INSTRUCTION,
                label="Instruction",
                info="The task in one sentence",
                lines=2,
                max_lines=4,
                visible=takes_instruction(kind, prompt_mode),
                elem_id="e5-instruction",
            )
            with gr.Row(elem_id="e5-examples", elem_classes="e5-pills"):
                gr.HTML('<span class="e5-examples-label">Try</span>', apply_default_css=False)
                self._examples = [gr.Button(example.title, size="sm", min_width=0) for example in EXAMPLES]
            self.queries = gr.Textbox(
                "\n".join(first.queries), lines=3, max_lines=6, elem_id="e5-queries", **_left(prompt_mode)
            )
            self.passages = gr.Textbox(
                "\n".join(first.passages), lines=5, max_lines=9, elem_id="e5-passages", **_right(prompt_mode)
            )
            self.separator = gr.Radio(
                [("Each line is a text", "line"), ("Blank lines between texts", "blank_line")],
                value="line",
                label="Where a text ends",
                show_label=False,
                container=False,
                elem_id="e5-separator",
            )
            with gr.Column(elem_id="e5-actions"):
                self.status = text_tree(form_text.start_hint(limits), elem_id="e5-status", live="polite")
                with gr.Row(elem_id="e5-buttons"):
                    self.score = gr.Button("Score", variant="primary", elem_id="e5-score")
                    self.stop = gr.Button("Stop", elem_id="e5-stop", visible=False)
                    self.share = gr.Button("Copy link", elem_id="e5-share", min_width=0)
                self.link = share_link(FIELDS, elem_id="e5-link")

    @property
    def typed(self) -> list[Any]:
        """The inputs of a callback that takes `score_request`'s arguments."""
        return [self.picker, self.prompt_mode, self.queries, self.passages, self.instruction, self.separator]

    def connect(self) -> None:
        """React to the choice of a model, a prompt mode or an example."""
        # Why the page started with a model says nothing of another, which a link or a reload may bring, too.
        reason = f"(model) => model === {json.dumps(self.picker.value)} ? {json.dumps([self.start.value])} : [[]]"
        self.picker.change(None, [self.picker], [self.start], js=reason, **UNQUEUED)
        listen_changes(self, self.status, form_text.CHANGED)
        chosen = [self.picker, self.prompt_mode]
        outputs = [self.prompt_mode, self.prompts, self.instruction, self.queries, self.passages]
        events = [
            self.picker.choose(self.on_model, chosen, outputs, **UNQUEUED),
            self.prompt_mode.input(self.adapt, chosen, outputs, **UNQUEUED),
        ]
        for button, example in zip(self._examples, EXAMPLES, strict=True):
            fill = functools.partial(self.on_example, example)
            events.append(button.click(fill, [self.picker], [*outputs, self.separator, self.status], **UNQUEUED))
        self.note_after(self.link.edited, *(event.then for event in events))

    def note_after(self, *listeners: Any) -> None:
        """After each of these events, have the browser's tab note what the form holds, for a reload."""
        for listener in listeners:
            listener(None, self.typed, None, js=note_script(FIELDS), **UNQUEUED)

    def on_model(self, model: str, prompt_mode: str) -> Changes:
        """Another model was chosen."""
        return self.adapt(model, mode_for_other_model(prompt_mode))

    def on_example(self, example: Example, model: str) -> Changes:
        """An example was chosen."""
        texts = "\n".join(example.queries), "\n".join(example.passages)
        filled = self.fill(SharedForm(model, example.prompt_mode, *texts, example.instruction, "line"))
        return {**filled, self.status: nodes.hint(example.hint + ".")}

    def adapt(self, model: str, prompt_mode: str) -> Changes:
        """Offer what the model knows, and name the text boxes as this prompt mode does."""
        kind = self._catalog.offered(model).prompt_kind
        mode = valid_prompt_mode(kind, prompt_mode)
        return {
            **mode_changes(self._catalog, self.prompt_mode, self.instruction, model, prompt_mode),
            self.prompts: form_text.prompts(kind, mode),
            self.queries: gr.update(**_left(mode)),
            self.passages: gr.update(**_right(mode)),
        }

    def fill(self, shared: SharedForm) -> Changes:
        """Fill all but the model."""
        changes = self.adapt(shared.model, shared.prompt_mode)
        changes[self.instruction] |= {"value": shared.instruction}
        changes[self.queries] |= {"value": shared.queries}
        changes[self.passages] |= {"value": shared.passages}
        return {**changes, self.separator: shared.separator}


def score_request(
    model: str, prompt_mode: str, queries: str, passages: str, instruction: str, separator: str
) -> ScoreRequest:
    """The request that the values of `Form.typed` make."""
    ending: Separator = "blank_line" if separator == "blank_line" else "line"
    return ScoreRequest(model, prompt_mode, queries, passages, instruction, ending)


def picker_models(catalog: Catalog) -> list[dict[str, Any]]:
    """What the picker lists, as plain data."""
    return [asdict(card) | {"parameters": card.parameters} for card in catalog.cards()]


def prompt_mode_choices(kind: PromptKind) -> list[tuple[str, str]]:
    """The prompt modes of a kind of model, for a radio."""
    return [(choice.label, choice.prompt_mode) for choice in prompt_modes_of(kind)]


def mode_changes(catalog: Catalog, radio: gr.Radio, instruction: gr.Textbox, model: str, prompt_mode: str) -> Changes:
    """Offer the prompt modes of a model, and its instruction where it takes one.

    Args:
        catalog: Has the model.
        radio: Chooses the prompt mode.
        instruction: Is shown where the model takes one.
        model: A name from the page.
        prompt_mode: Chosen where the model knows it, else the model's usual one.
    """
    kind = catalog.offered(model).prompt_kind
    mode = valid_prompt_mode(kind, prompt_mode)
    return {
        radio: gr.update(choices=prompt_mode_choices(kind), value=mode),
        instruction: gr.update(visible=takes_instruction(kind, mode)),
    }


def mode_for_other_model(prompt_mode: str) -> str:
    """The prompt mode after another model was chosen: "none" is not carried over from a model that knows no other."""
    return "" if prompt_mode == "none" else prompt_mode


def listen_changes(form: Form, status: gr.HTML, message: str, others: Sequence[Any] = ()) -> None:
    """Replace a status that says "done" by a message, once the form changes.

    Args:
        form: What may change.
        status: Where the message is shown.
        message: Says that the result is older than the form.
        others: Further events after which this holds.
    """
    # The result stays in sight; only the status must not go on saying that it is done.
    replace = f"""(status) => [status?.[0]?.[1] === "{nodes.DONE}" ? {json.dumps(nodes.hint(message))} : status]"""
    # A text box's own `input` says nothing of what is pasted or deleted.
    for listener in (form.picker.choose, form.link.typed, *others):
        listener(None, [status], [status], js=replace, **UNQUEUED)


def listen_late_changes(event: Any, form: Form, status: gr.HTML, message: str, result: gr.State) -> None:
    """After long work, show a message in its status if the form changed while it ran.

    Args:
        event: The work.
        form: What the work took its input from.
        status: Where the message is shown.
        message: Says that the result is older than the form.
        result: Holds what the work made, whose `request` is its input.
    """

    def compare(result: Any, shown: list[nodes.Node], *typed: Any) -> Changes:
        now = score_request(*typed)
        is_same = result is None or all(getattr(now, name) == getattr(result.request, name) for name in FIELDS)
        return {} if is_same or not nodes.is_done(shown) else {status: nodes.hint(message)}

    event.then(compare, [result, status, *form.typed], [status], **UNQUEUED)


def _left(prompt_mode: PromptMode) -> dict[str, Any]:
    return {"label": side_labels(prompt_mode).left, "placeholder": form_text.ONE_TEXT_PER_LINE}


def _right(prompt_mode: PromptMode) -> dict[str, Any]:
    names = side_labels(prompt_mode)
    return {"label": names.right, "placeholder": names.right_hint or form_text.ONE_TEXT_PER_LINE}
