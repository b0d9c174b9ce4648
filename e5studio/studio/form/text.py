"""Sentences of the form."""

from __future__ import annotations

from e5studio.default_model import ModelChoice
from e5studio.models import OFFLINE_MODEL, ModelMeta, PromptKind
from e5studio.studio.engine.catalog import ModelCard
from e5studio.studio.engine.prompt_modes import (
    PromptMode,
    prompt_modes_of,
    prompts_in_front,
    side_labels,
    takes_instruction,
)
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.form.examples import Example
from e5studio.studio.widgets.nodes import Child, Node, hint, para, pick, prompt_code, span

_KINDS = {"multilingual": "a multilingual", "instruct": "an instruct"}

START = "Write your own texts: a few are scored as you type."
ONE_TEXT_PER_LINE = "One text per line"


def model_note(choice: ModelChoice, meta: ModelMeta) -> list[Node]:
    """That a model is no E5; of the one that the page starts with, why it is this one."""
    stand_in = [para(span("Stand-in", css="e5-badge"), " This is not E5: English only, and without prompts.")]
    badge = stand_in if meta.name == OFFLINE_MODEL else []
    if meta.name != choice.name:
        return badge
    why: Node = [
        "details",
        "e5-why-model",
        ["summary", "", "Why this model?"],
        *hint(f"{choice.reason[:1].upper()}{choice.reason[1:]}."),
    ]
    return [*badge, why]


def absent_model(card: ModelCard, other: ModelMeta | None) -> list[Node]:
    """What it takes to use a model that is not on this machine, and a button for one that is."""
    lack = f"{card.short_name} is not on this machine ({card.location})."
    button: list[Child] = [" ", pick(other.name, f"Use {other.short_name}")] if other else []
    return [para(lack, *button, css="e5-warning")]


def size(result: ScoreResult) -> str:
    """How many texts were scored."""
    n = len(result.queries)
    return f"{n} texts with each other" if result.is_self else f"{n} \N{MULTIPLICATION SIGN} {len(result.passages)}"


def example(example: Example, meta: ModelMeta, current: ModelMeta) -> list[Node]:
    """What an example shows, and with which model it is filled in."""
    if example.suits(meta):
        return hint(f"{example.hint} {meta.short_name} was chosen for it." if meta != current else example.hint)
    lack = f"It needs {_KINDS[example.needs]} model, and none is on this machine."
    return [*hint(example.hint), para(lack, css="e5-warning")]


def filled(*, is_model_here: bool) -> str:
    """What the status says once texts were filled in."""
    return "Scoring…" if is_model_here else "Press Score to download the model and score these texts."


def prompts(kind: PromptKind, prompt_mode: PromptMode) -> list[Node]:
    """The prompt of each side, and when this prompt mode is right."""
    explanation = next(choice.explanation for choice in prompt_modes_of(kind) if choice.prompt_mode == prompt_mode)
    if prompt_mode == "none":
        return hint(explanation)
    instruction = "{instruction}" if takes_instruction(kind, prompt_mode) else None
    left, right = prompts_in_front(kind, prompt_mode, instruction)
    names = side_labels(prompt_mode)
    sides = [(names.left.lower(), left), (names.right.lower(), right)]
    shown = [("every text", left)] if prompt_mode == "symmetric" else sides
    prompts = [span(f"{name} ", prompt_code(prompt.text)) for name, prompt in shown]
    return [*hint(explanation), para(*prompts, css="e5-prompts")]
