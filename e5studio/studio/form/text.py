"""Sentences of the form."""

from __future__ import annotations

from e5studio.default_model import ModelChoice
from e5studio.models import PromptKind
from e5studio.studio.engine.catalog import ModelCard
from e5studio.studio.engine.prompt_modes import (
    PromptMode,
    prompt_modes_of,
    prompts_in_front,
    side_labels,
    takes_instruction,
)
from e5studio.studio.engine.text_box import Limits
from e5studio.studio.widgets.nodes import Node, hint, para, prompt_code, span

CHANGED = "Changed since it was scored. Press Score again."
ONE_TEXT_PER_LINE = "One text per line"


def chosen_model(choice: ModelChoice, card: ModelCard) -> list[Node]:
    """Which model the page starts with, and why."""
    return hint(f"Started with {card.short_name}: {choice.reason}.")


def start_hint(limits: Limits) -> list[Node]:
    """What the status says before anything was scored."""
    return hint(f"Up to {limits.max_texts} texts in each box. Ctrl + Enter scores, too.")


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
