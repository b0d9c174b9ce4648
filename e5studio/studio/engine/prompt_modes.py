"""Prompt modes: which are valid for a kind of model, their labels, and the encoder's arguments for each side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

from e5studio.models import PromptKind
from e5studio.prompts import Prompt, resolve_prompt

PromptMode = Literal["retrieval", "symmetric", "none"]
Side = Literal["query", "passage"]


class PromptArguments(TypedDict, total=False):
    """The arguments of `E5Encoder.prepare` that choose a prompt."""

    prompt_name: str | None
    prompt: str | None
    instruction: str | None


@dataclass(frozen=True)
class PromptModeChoice:
    """A prompt mode as the page offers it."""

    prompt_mode: PromptMode
    label: str
    explanation: str


@dataclass(frozen=True)
class SideLabels:
    """The labels of the two text boxes under a prompt mode."""

    left: str
    right: str
    left_letter: str
    right_letter: str
    right_hint: str


_NO_PROMPT = "Nothing is put in front of the texts."
_CHOICES: dict[PromptKind, tuple[PromptModeChoice, ...]] = {
    "query_passage": (
        PromptModeChoice("retrieval", "Query → passage", "Search and questions: each side gets its own prompt."),
        PromptModeChoice(
            "symmetric", "Symmetric", "Similarity, clustering, classification: the query prompt on every text."
        ),
        PromptModeChoice(
            "none", "No prompt", f"{_NO_PROMPT} The model was trained with prompts, so expect worse scores."
        ),
    ),
    "instruct": (
        PromptModeChoice("retrieval", "Instruction + query", "Search and questions: the task in front of queries."),
        PromptModeChoice("symmetric", "Symmetric", "Similarity, clustering, classification: the task on every text."),
        PromptModeChoice(
            "none", "No prompt", f"{_NO_PROMPT} The model was trained with instructions; expect worse scores."
        ),
    ),
    "none": (PromptModeChoice("none", "No prompt", f"{_NO_PROMPT} This model was trained without prompts."),),
}


def prompt_modes_of(kind: PromptKind) -> tuple[PromptModeChoice, ...]:
    """The prompt modes of a kind of model, the usual one first."""
    return _CHOICES[kind]


def valid_prompt_mode(kind: PromptKind, prompt_mode: str | None) -> PromptMode:
    """`prompt_mode` if the kind of model has it, else its usual one."""
    return next(
        (choice.prompt_mode for choice in _CHOICES[kind] if choice.prompt_mode == prompt_mode),
        _CHOICES[kind][0].prompt_mode,
    )


def side_labels(prompt_mode: PromptMode) -> SideLabels:
    """The labels of the text boxes."""
    if prompt_mode == "symmetric":
        return SideLabels("Texts", "Compare with", "A", "B", "Leave empty to compare the texts with each other")
    hint = "Leave empty to compare the queries with each other" if prompt_mode == "none" else ""
    return SideLabels("Queries", "Passages", "Q", "P", hint)


def takes_instruction(kind: PromptKind, prompt_mode: PromptMode) -> bool:
    """Whether an instruction changes anything."""
    return kind == "instruct" and prompt_mode != "none"


def prompt_arguments(kind: PromptKind, prompt_mode: PromptMode, side: Side, instruction: str | None) -> PromptArguments:
    """The encoder's arguments for one side.

    An empty instruction counts as none: the encoder then uses the model card's web-search task and reports it.
    """
    if prompt_mode == "none":
        return {"prompt": ""}
    prompt_name = "query" if prompt_mode == "symmetric" or side == "query" else "document"
    if kind != "instruct" or prompt_name == "document":
        return {"prompt_name": prompt_name}
    return {"prompt_name": prompt_name, "instruction": (instruction or "").strip() or None}


def prompts_in_front(kind: PromptKind, prompt_mode: PromptMode, instruction: str | None) -> tuple[Prompt, Prompt]:
    """The prompts of queries and passages."""
    query, passage = (
        resolve_prompt(kind, **prompt_arguments(kind, prompt_mode, side, instruction)) for side in ("query", "passage")
    )
    return query, passage
