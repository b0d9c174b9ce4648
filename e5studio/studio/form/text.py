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
from e5studio.studio.widgets.nodes import Node, hint, prompt_code


def chosen_model(choice: ModelChoice, card: ModelCard) -> list[Node]:
    """Which model the page starts with, and why."""
    return hint(f"Started with {card.short_name}: {choice.reason}.")


def prompts(kind: PromptKind, prompt_mode: PromptMode) -> list[Node]:
    """What is put in front of each side, and when this use is right."""
    words = side_labels(prompt_mode)
    explanation = next(choice.explanation for choice in prompt_modes_of(kind) if choice.prompt_mode == prompt_mode)
    nodes: list[Node] = [["p", "e5-hint", explanation]]
    if prompt_mode == "none":
        return nodes
    instruction = "{instruction}" if takes_instruction(kind, prompt_mode) else None
    left, right = prompts_in_front(kind, prompt_mode, instruction)
    if prompt_mode == "symmetric":
        return [*nodes, ["p", "e5-prompts", ["span", "", "every text ", prompt_code(left.text)]]]
    sides = [
        ["span", "", f"{words.left.lower()} ", prompt_code(left.text)],
        ["span", "", f"{words.right.lower()} ", prompt_code(right.text)],
    ]
    return [*nodes, ["p", "e5-prompts", *sides]]
