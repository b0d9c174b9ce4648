"""How the texts are used -> which prompt goes in front of which side.

Pure: the ways that are valid for a kind of model, what they are called on the page, and the
arguments that they become for the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

from e5studio.models import PromptKind
from e5studio.prompts import Prompt, resolve_prompt

Use = Literal["retrieval", "symmetric", "none"]
Side = Literal["query", "passage"]


class PromptArguments(TypedDict, total=False):
    """What `E5Encoder.prepare` takes to choose a prompt."""

    prompt_name: str | None
    prompt: str | None
    instruction: str | None


@dataclass(frozen=True)
class UseChoice:
    """One way to use the texts, as the page offers it."""

    use: Use
    label: str
    explanation: str


@dataclass(frozen=True)
class Wording:
    """What the two boxes are called under a use."""

    left: str
    right: str
    left_letter: str
    right_letter: str
    right_hint: str


_NO_PROMPT = "Nothing is put in front of the texts."
_CHOICES: dict[PromptKind, tuple[UseChoice, ...]] = {
    "query_passage": (
        UseChoice("retrieval", "Query → passage", "Search and questions: each side gets its own prompt."),
        UseChoice("symmetric", "Symmetric", "Similarity, clustering, classification: the query prompt on every text."),
        UseChoice("none", "No prompt", f"{_NO_PROMPT} The model was trained with prompts, so expect worse scores."),
    ),
    "instruct": (
        UseChoice("retrieval", "Instruction + query", "Search and questions: the task in front of queries."),
        UseChoice("symmetric", "Symmetric", "Similarity, clustering, classification: the task on every text."),
        UseChoice("none", "No prompt", f"{_NO_PROMPT} The model was trained with instructions; expect worse scores."),
    ),
    "none": (UseChoice("none", "No prompt", f"{_NO_PROMPT} This model was trained without prompts."),),
}


def uses_of(kind: PromptKind) -> tuple[UseChoice, ...]:
    """The ways to use texts with a model, the usual one first."""
    return _CHOICES[kind]


def valid_use(kind: PromptKind, use: str | None) -> Use:
    """`use` where the model knows it, else the model's usual one."""
    return next((choice.use for choice in _CHOICES[kind] if choice.use == use), _CHOICES[kind][0].use)


def wording(use: Use) -> Wording:
    """What the boxes are called."""
    if use == "symmetric":
        return Wording("Texts", "Compare with", "A", "B", "Leave empty to compare the texts with each other")
    hint = "Leave empty to compare the queries with each other" if use == "none" else ""
    return Wording("Queries", "Passages", "Q", "P", hint)


def takes_instruction(kind: PromptKind, use: Use) -> bool:
    """Whether an instruction is put in front of anything."""
    return kind == "instruct" and use != "none"


def prompt_arguments(kind: PromptKind, use: Use, side: Side, instruction: str | None) -> PromptArguments:
    """What the encoder is told for one side.

    An empty instruction counts as none given: the encoder then takes the card's web-search task and reports it.
    """
    if use == "none":
        return {"prompt": ""}
    role = "query" if use == "symmetric" or side == "query" else "document"
    if kind != "instruct" or role == "document":
        return {"prompt_name": role}
    return {"prompt_name": role, "instruction": (instruction or "").strip() or None}


def prompts_in_front(kind: PromptKind, use: Use, instruction: str | None) -> tuple[Prompt, Prompt]:
    """The prompts of queries and passages."""
    query, passage = (
        resolve_prompt(kind, **prompt_arguments(kind, use, side, instruction)) for side in ("query", "passage")
    )
    return query, passage
