"""The form: model, use, texts, examples and the two buttons."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import gradio as gr

from e5studio.models import PromptKind, get_model_meta
from e5studio.prompts import WEB_SEARCH_INSTRUCTION
from e5studio.studio.engine.catalog import ModelCard, ModelChoice, model_cards, offered
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
from e5studio.studio.form.examples import EXAMPLES, Example
from e5studio.studio.form.link import FIELDS, SharedForm
from e5studio.studio.form.share_link import keep_script, share_link
from e5studio.studio.jobs.events import UNQUEUED
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.headings import heading
from e5studio.studio.widgets.model_picker import model_picker
from e5studio.studio.widgets.text_tree import text_tree

_FIRST = EXAMPLES[0]
CHANGED = "Changed since it was scored. Press Score again."
"""Beside a result whose inputs are no longer those on the page."""


@dataclass(frozen=True)
class Form:
    """The components that other parts of the page listen to or write to."""

    picker: gr.HTML
    start: gr.HTML
    prompt_mode: gr.Radio
    prompts: gr.HTML
    instruction: gr.Textbox
    queries: gr.Textbox
    passages: gr.Textbox
    separator: gr.Radio
    examples: tuple[tuple[gr.Button, Example], ...]
    score: gr.Button
    stop: gr.Button
    share: gr.Button
    link: gr.HTML
    status: gr.HTML

    @property
    def typed(self) -> list[Any]:
        """What a person gave, in the order of the fields of `ScoreRequest`."""
        return [self.picker, self.prompt_mode, self.queries, self.passages, self.instruction, self.separator]

    @property
    def adapted(self) -> list[Any]:
        """What changes with the model and the use, in the order of `_adapt`."""
        return [self.prompt_mode, self.prompts, self.instruction, self.queries, self.passages]

    @property
    def filled(self) -> list[Any]:
        """In the order of `filled`."""
        return [self.picker, *self.adapted, self.separator, self.status]


def score_request(
    model: str, prompt_mode: str, queries: str, passages: str, instruction: str, separator: str
) -> ScoreRequest:
    """What a person gave, from the values of `Form.typed`."""
    ending: Separator = "blank_line" if separator == "blank_line" else "line"
    return ScoreRequest(model, prompt_mode, queries, passages, instruction, ending)


def picker_models() -> list[dict[str, Any]]:
    """What the picker lists, as plain data."""
    return [asdict(card) | {"parameters": card.parameters} for card in model_cards()]


def start_words(choice: ModelChoice) -> list[nodes.Node]:
    """Which model the page starts with, and why."""
    return form_text.chosen_model(choice, _card(choice.name))


def render_form(choice: ModelChoice, limits: Limits) -> Form:
    """Lay out the panel."""
    kind = get_model_meta(choice.name).prompt_kind
    prompt_mode = prompt_modes_of(kind)[0].prompt_mode
    with gr.Column(elem_id="e5-inputs", elem_classes="e5-panel"):
        heading("Model", level=2)
        picker = model_picker(choice.name, picker_models(), elem_id="e5-model")
        start = text_tree(start_words(choice), elem_id="e5-start")
        radio = gr.Radio(prompt_mode_choices(kind), value=prompt_mode, label="How the texts are used", elem_id="e5-use")
        prompts = text_tree(form_text.prompts(kind, prompt_mode), elem_id="e5-prompts")
        instruction = gr.Textbox(
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
            buttons = [gr.Button(example.title, size="sm", min_width=0) for example in EXAMPLES]
        queries = gr.Textbox(
            "\n".join(_FIRST.queries), lines=3, max_lines=6, elem_id="e5-queries", **_left(prompt_mode)
        )
        passages = gr.Textbox(
            "\n".join(_FIRST.passages), lines=5, max_lines=9, elem_id="e5-passages", **_right(prompt_mode)
        )
        separator = gr.Radio(
            [("Each line is a text", "line"), ("Blank lines between texts", "blank_line")],
            value="line",
            label="Where a text ends",
            show_label=False,
            container=False,
            elem_id="e5-separator",
        )
        with gr.Column(elem_id="e5-actions"):
            start_hint = f"Up to {limits.max_texts} texts in a box. Ctrl + Enter scores, too."
            status = text_tree(nodes.hint(start_hint), elem_id="e5-status", live="polite")
            with gr.Row(elem_id="e5-buttons"):
                score = gr.Button("Score", variant="primary", elem_id="e5-score")
                stop = gr.Button("Stop", elem_id="e5-stop", visible=False)
                share = gr.Button("Copy link", elem_id="e5-share", min_width=0)
            link = share_link(FIELDS, elem_id="e5-link")
    examples = tuple(zip(buttons, EXAMPLES, strict=True))
    return Form(
        picker,
        start,
        radio,
        prompts,
        instruction,
        queries,
        passages,
        separator,
        examples,
        score,
        stop,
        share,
        link,
        status,
    )


def listen_form(inputs: Form) -> None:
    """React to the choice of a model, a use or an example."""
    adapted = inputs.adapted
    chosen = [inputs.picker, inputs.prompt_mode]
    # Why the page started with a model is of no use beside another, which a link or a reload may bring, too.
    told = f"(model) => model === {json.dumps(inputs.picker.value)} ? {json.dumps([inputs.start.value])} : [[]]"
    inputs.picker.change(None, [inputs.picker], [inputs.start], js=told, **UNQUEUED)
    listen_changes(inputs, inputs.status, CHANGED)
    filled_in = [*adapted, inputs.separator, inputs.status]
    made = [
        inputs.picker.choose(_take_model, chosen, adapted, **UNQUEUED),
        inputs.prompt_mode.input(_adapt, chosen, adapted, **UNQUEUED),
        *(
            button.click(_filler(example), [inputs.picker], filled_in, **UNQUEUED)
            for button, example in inputs.examples
        ),
    ]
    keep(inputs, inputs.link.edited, *(event.then for event in made))


def keep(inputs: Form, *events: Any) -> None:
    """After each of these events, have the visitor's own tab note what the inputs are, for a reload."""
    for event in events:
        event(None, inputs.typed, None, js=keep_script(FIELDS), **UNQUEUED)


def listen_changes(inputs: Form, status: gr.HTML, told: str, others: Sequence[Any] = ()) -> None:
    """Have a status that says that something is done say that the inputs have changed since, once they have.

    Args:
        inputs: What may change.
        status: Where it is said.
        told: What is said.
        others: Events of more that may change.
    """
    # The result stays in sight; only what says that it is done must not go on saying so.
    tell = f"""(told) => [told?.[0]?.[1] === "e5-done" ? {json.dumps(nodes.hint(told))} : told]"""
    # A box's own `input` says nothing of what is pasted or deleted.
    for changed in (inputs.picker.choose, inputs.link.typed, *others):
        changed(None, [status], [status], js=tell, **UNQUEUED)


def listen_late_changes(event: Any, inputs: Form, status: gr.HTML, told: str, scored: gr.State) -> None:
    """After long work: have its status say that the inputs changed while it ran, if they did.

    Args:
        event: The work.
        inputs: What it was done with.
        status: Where it is said.
        told: What is said.
        scored: Holds what came of it, whose `request` is the inputs that it was done with.
    """

    def tell(done: Any, said: list[nodes.Node], *typed: Any) -> Any:
        is_done = bool(said) and said[0][1] == "e5-done"
        is_same = done is None or _as_typed(done.request) == _as_typed(score_request(*typed))
        return gr.skip() if is_same or not is_done else nodes.hint(told)

    event.then(tell, [scored, status, *inputs.typed], [status], **UNQUEUED)


def _as_typed(asked: ScoreRequest) -> tuple[str, ...]:
    return tuple(getattr(asked, name) for name in FIELDS)


def _take_model(model: str, prompt_mode: str) -> tuple[Any, ...]:
    """Another model is used in its usual way: "no prompt" must not be carried over from a model that knows no other."""
    return _adapt(model, "" if prompt_mode == "none" else prompt_mode)


def _adapt(model: str, prompt_mode: str) -> tuple[Any, ...]:
    """Offer what the model knows, and call the boxes what they are under this use."""
    kind = offered(model).prompt_kind
    known = valid_prompt_mode(kind, prompt_mode)
    return (
        gr.update(choices=prompt_mode_choices(kind), value=known),
        form_text.prompts(kind, known),
        gr.update(visible=takes_instruction(kind, known)),
        gr.update(**_left(known)),
        gr.update(**_right(known)),
    )


def _filler(example: Example) -> Any:
    def fill(model: str) -> tuple[Any, ...]:
        radio, prompts, instruction, queries, passages = _adapt(model, example.prompt_mode)
        return (
            radio,
            prompts,
            {**instruction, "value": example.instruction},
            {**queries, "value": "\n".join(example.queries)},
            {**passages, "value": "\n".join(example.passages)},
            "line",
            nodes.hint(example.hint + "."),
        )

    return fill


def filled(found: SharedForm | None, told: list[nodes.Node]) -> list[Any]:
    """The inputs of a link, as the values of `Form.filled`; they stay as they are where there are none."""
    if found is None:
        return [*[gr.skip()] * 7, told]
    radio, prompts, instruction, queries, passages = _adapt(found.model, found.prompt_mode)
    return [
        found.model,
        radio,
        prompts,
        {**instruction, "value": found.instruction},
        {**queries, "value": found.queries},
        {**passages, "value": found.passages},
        found.separator,
        told,
    ]


def prompt_mode_choices(kind: PromptKind) -> list[tuple[str, str]]:
    """The ways to use texts with a model of this kind, for a radio."""
    return [(choice.label, choice.prompt_mode) for choice in prompt_modes_of(kind)]


def _left(prompt_mode: PromptMode) -> dict[str, Any]:
    return {"label": side_labels(prompt_mode).left, "placeholder": "One text per line"}


def _right(prompt_mode: PromptMode) -> dict[str, Any]:
    names = side_labels(prompt_mode)
    return {"label": names.right, "placeholder": names.right_hint or "One text per line"}


def _card(name: str) -> ModelCard:
    return next(card for card in model_cards() if card.name == name)
