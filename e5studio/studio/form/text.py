"""Sentences of the form."""

from __future__ import annotations

from e5studio.models import PromptKind
from e5studio.studio.engine.catalog import ModelCard, ModelChoice
from e5studio.studio.engine.prompt_modes import Use, prompts_in_front, takes_instruction, uses_of, wording
from e5studio.studio.widgets.nodes import Node, hint, prompt_code


def chosen_model(choice: ModelChoice, card: ModelCard) -> list[Node]:
    """Which model the page starts with, and why."""
    return hint(f"Started with {card.short_name}: {choice.reason}.")


def prompts(kind: PromptKind, use: Use) -> list[Node]:
    """What is put in front of each side, and when this use is right."""
    words = wording(use)
    explanation = next(choice.explanation for choice in uses_of(kind) if choice.use == use)
    nodes: list[Node] = [["p", "e5-hint", explanation]]
    if use == "none":
        return nodes
    instruction = "{instruction}" if takes_instruction(kind, use) else None
    left, right = prompts_in_front(kind, use, instruction)
    if use == "symmetric":
        return [*nodes, ["p", "e5-prompts", ["span", "", "every text ", prompt_code(left.text)]]]
    sides = [
        ["span", "", f"{words.left.lower()} ", prompt_code(left.text)],
        ["span", "", f"{words.right.lower()} ", prompt_code(right.text)],
    ]
    return [*nodes, ["p", "e5-prompts", *sides]]
