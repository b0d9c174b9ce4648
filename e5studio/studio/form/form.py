"""The form: model, prompt mode, texts, examples, Score and Copy link."""

from __future__ import annotations

import functools
from dataclasses import asdict
from typing import Any

import gradio as gr

from e5studio.default_model import ModelChoice
from e5studio.models import ModelMeta, PromptKind
from e5studio.prompts import WEB_SEARCH_INSTRUCTION
from e5studio.studio.engine.catalog import OWN_GROUP, Catalog, ModelCard
from e5studio.studio.engine.prompt_modes import (
    PromptMode,
    prompt_modes_of,
    side_labels,
    takes_instruction,
    valid_prompt_mode,
)
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.engine.text_box import Separator
from e5studio.studio.form import text as form_text
from e5studio.studio.form.examples import EXAMPLES, Example, first_example
from e5studio.studio.form.fold import fold
from e5studio.studio.form.link import FIELDS, SharedForm
from e5studio.studio.form.share_link import next_step, note_script, share_link
from e5studio.studio.form.text_count import text_count
from e5studio.studio.jobs.events import EACH, UNQUEUED, Changes, components_of, fields_of
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.headings import heading
from e5studio.studio.widgets.model_picker import model_picker
from e5studio.studio.widgets.text_tree import text_tree


class Form:
    """The left column of the page.

    Args:
        choice: The model that it starts with, and why.
        catalog: The models to choose from.
    """

    def __init__(self, choice: ModelChoice, catalog: Catalog) -> None:
        self._catalog, self._choice = catalog, choice
        meta = catalog.offered(choice.name)
        kind = meta.prompt_kind
        prompt_mode = prompt_modes_of(kind)[0].prompt_mode
        first = first_example(meta.languages)
        with gr.Column(elem_id="e5-inputs", elem_classes="e5-panel"):
            fold(elem_id="e5-fold")
            heading("Model", level=2)
            self.picker = model_picker(choice.name, picker_models(catalog), elem_id="e5-model")
            self.model_note = text_tree(self.note_of(meta), elem_id="e5-start", live="polite")
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
            self.example = text_tree(elem_id="e5-example", live="polite")
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
            text_count(elem_id="e5-count")
            with gr.Column(elem_id="e5-actions"):
                self.status = text_tree(nodes.hint(form_text.START), elem_id="e5-status", live="polite")
                with gr.Row(elem_id="e5-buttons"):
                    self.score = gr.Button("Score", variant="primary", elem_id="e5-score")
                    self.stop = gr.Button("Stop", elem_id="e5-stop", visible=False)
                    self.share = gr.Button("Copy link", elem_id="e5-share", min_width=0)
                self.link = share_link(FIELDS, elem_id="e5-link")

    @property
    def typed(self) -> list[Any]:
        """The inputs of a callback that takes `score_request`'s arguments."""
        return [self.picker, self.prompt_mode, self.queries, self.passages, self.instruction, self.separator]

    def connect(self, notes: gr.HTML) -> None:
        """React to the choice of a model, a prompt mode or an example.

        Args:
            notes: Other words on the page that offer a model.
        """
        chosen = [self.picker, self.prompt_mode]
        outputs = [self.model_note, self.prompt_mode, self.prompts, self.instruction, self.queries, self.passages]
        events = [
            self.picker.choose(self.on_model, chosen, outputs, **UNQUEUED),
            self.prompt_mode.input(self.adapt, chosen, outputs, **UNQUEUED),
            *(
                note.pick(self.on_other_model, [self.prompt_mode], components_of(self), **UNQUEUED)
                for note in (self.model_note, notes)
            ),
        ]
        for button, example in zip(self._examples, EXAMPLES, strict=True):
            fill = functools.partial(self.on_example, example)
            events.append(button.click(fill, [self.picker], components_of(self), **(UNQUEUED | EACH)))
        self.note_after(self.link.edited, *(event.then for event in events))

    def note_after(self, *listeners: Any) -> None:
        """After each of these events, have the browser's tab note what the form holds, for a reload."""
        for listener in listeners:
            listener(None, self.typed, None, js=note_script(FIELDS), **UNQUEUED)

    def on_model(self, model: str, prompt_mode: str) -> Changes:
        """Another model was chosen."""
        return self.adapt(model, mode_for_other_model(prompt_mode))

    def on_other_model(self, prompt_mode: str, event: gr.EventData) -> Changes:
        """A button with the name of a model was pressed: take it, and score."""
        meta = self._catalog.offered(fields_of(event).get("key"))
        step = next_step("score" if self._catalog.is_here(meta) else "nothing")
        return {self.picker: meta.name, **self.on_model(meta.name, prompt_mode), self.link: step}

    def on_example(self, example: Example, model: str) -> Changes:
        """An example was chosen: fill it in, with a model of the kind that it needs where one is here, and score it."""
        current = self._catalog.offered(model)
        meta = self._suitable_model(example, current) or current
        texts = "\n".join(example.queries), "\n".join(example.passages)
        is_here = self._catalog.is_here(meta)
        return {
            **self.fill(SharedForm(meta.name, example.prompt_mode, *texts, example.instruction, "line")),
            self.picker: meta.name,
            self.example: form_text.example(example, meta, current),
            self.status: nodes.hint(form_text.filled(is_model_here=is_here)),
            self.link: next_step("score" if is_here else "nothing"),
        }

    def _suitable_model(self, example: Example, current: ModelMeta) -> ModelMeta | None:
        """The current model, or one on this machine, that suits an example."""
        others = (meta for meta in self._catalog.models if example.suits(meta) and self._catalog.is_here(meta))
        return current if example.suits(current) else next(others, None)

    def adapt(self, model: str, prompt_mode: str) -> Changes:
        """Offer what the model knows, and name the text boxes as this prompt mode does."""
        kind = self._catalog.offered(model).prompt_kind
        mode = valid_prompt_mode(kind, prompt_mode)
        return {
            self.model_note: self.note_of(self._catalog.offered(model)),
            **mode_changes(self._catalog, self.prompt_mode, self.instruction, model, prompt_mode),
            self.prompts: form_text.prompts(kind, mode),
            self.queries: gr.update(**_left(mode)),
            self.passages: gr.update(**_right(mode)),
        }

    def note_of(self, meta: ModelMeta) -> list[nodes.Node]:
        """What to know of a model: that it is not here or no E5, or why the page starts with it."""
        catalog = self._catalog
        if not catalog.is_here(meta):
            return form_text.absent_model(catalog.card(meta), catalog.usable())
        return form_text.model_note(self._choice, meta)

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
    """What the picker lists, as plain data: own models, what can be used at once, what we recommend, the others."""
    cards = sorted(catalog.cards(), key=lambda card: (card.group != OWN_GROUP, not card.is_here, not card.advice))
    return [asdict(card) | {"parameters": card.parameters, "group": _picker_group(card)} for card in cards]


def _picker_group(card: ModelCard) -> str:
    if card.group == OWN_GROUP:
        return OWN_GROUP
    if card.is_here:
        return "On this machine"
    return "Recommended" if card.advice else card.group


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


def _left(prompt_mode: PromptMode) -> dict[str, Any]:
    return {"label": side_labels(prompt_mode).left, "placeholder": form_text.ONE_TEXT_PER_LINE}


def _right(prompt_mode: PromptMode) -> dict[str, Any]:
    names = side_labels(prompt_mode)
    return {"label": names.right, "placeholder": names.right_hint or form_text.ONE_TEXT_PER_LINE}
