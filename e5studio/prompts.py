"""The text in front of each text: prompt name, instruction or explicit prompt -> `Prompt`.

Follows the model cards: "query: " and "passage: " for the prefix models, with "query: "
on every text of a symmetric task; `INSTRUCT_TEMPLATE` on queries, and nothing on
documents, for the instruct models. The text itself is never changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from e5studio.errors import PromptError
from e5studio.models import PromptKind

PromptName = Literal["query", "document"]

WEB_SEARCH_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
"""The task of the examples on the cards of both instruct models."""

INSTRUCT_TEMPLATE = "Instruct: {instruction}\nQuery: "

_PROMPTS: dict[PromptKind, dict[PromptName, str]] = {
    "query_passage": {"query": "query: ", "document": "passage: "},
    "instruct": {"query": INSTRUCT_TEMPLATE, "document": ""},
    "none": {"query": "", "document": ""},
}

_ALIASES: dict[str, PromptName] = {
    # sentence-transformers, mteb, unilm, Voyage
    "query": "query",
    "document": "document",
    "passage": "document",
    "corpus": "document",
    # Cohere
    "search_query": "query",
    "search_document": "document",
    # Jina
    "retrieval.query": "query",
    "retrieval.passage": "document",
    # Elastic
    "search": "query",
    "ingest": "document",
    # Symmetric tasks: the query prompt (or the instruction) on every text, as the cards say.
    "symmetric": "query",
    "sts": "query",
    "text-matching": "query",
    "classification": "query",
    "clustering": "query",
    "separation": "query",
    "bitext": "query",
}
PROMPT_NAMES = tuple(_ALIASES)
"""What `resolve_prompt_name` understands, in any case."""


@dataclass(frozen=True)
class Prompt:
    """The text put in front of every text of one call, and how it was chosen.

    Attributes:
        text: The text in front; "" for none.
        name: "query" or "document", or None for an explicit prompt.
        instruction: The task in the prompt of an instruct model.
        is_default_instruction: The caller gave no instruction, so the card's web-search task is used.
    """

    text: str
    name: PromptName | None = None
    instruction: str | None = None
    is_default_instruction: bool = False


def resolve_prompt_name(name: str) -> PromptName:
    """Map the prompt names of other embeddings APIs to "query" or "document".

    Raises:
        PromptError: The name is unknown.
    """
    prompt_name = _ALIASES.get(name.strip().casefold())
    if prompt_name is None:
        known = ", ".join(PROMPT_NAMES)
        raise PromptError(f"Unknown prompt name {name!r}. Use 'query' or 'document' (also understood: {known}).")
    return prompt_name


def resolve_prompt(
    kind: PromptKind,
    *,
    prompt_name: str | None = None,
    prompt: str | Prompt | None = None,
    instruction: str | None = None,
) -> Prompt:
    """Choose the prompt of a call.

    Args:
        kind: The prompts that the model was trained with.
        prompt_name: "query", "document", or a name that `resolve_prompt_name` understands.
        prompt: An explicit text in front; "" for none. A `Prompt` is returned unchanged.
        instruction: The task, on instruct models; one sentence.

    Raises:
        PromptError: Neither name nor prompt on a model that has prompts, both of them, or an
            instruction for a model or prompt name that takes none.
    """
    _refuse_unusable(prompt_name=prompt_name, prompt=prompt, instruction=instruction)
    if prompt is not None:
        if prompt_name is not None or instruction is not None:
            raise PromptError(
                f"Got prompt={prompt!r} together with prompt_name={prompt_name!r} and instruction={instruction!r}. "
                "An explicit prompt stands alone: give either the prompt or the prompt name."
            )
        return prompt if isinstance(prompt, Prompt) else Prompt(prompt)
    if prompt_name is None:
        if kind != "none":
            raise PromptError(_no_prompt_message(kind))
        prompt_name = "query"
    name = resolve_prompt_name(prompt_name)
    if kind != "instruct":
        if instruction is not None:
            raise PromptError(
                f"Got instruction={instruction!r}, but this model was not trained with instructions. "
                "Leave it out, or use an instruct model such as intfloat/multilingual-e5-large-instruct."
            )
        return Prompt(_PROMPTS[kind][name], name)
    if name == "document":
        if instruction is not None:
            raise PromptError("Documents take no instruction on instruct models; put it on the queries only.")
        return Prompt("", name)
    if instruction is not None and not instruction.strip():
        raise PromptError("The instruction is empty. Describe the task in one sentence, or pass prompt='' for none.")
    task = WEB_SEARCH_INSTRUCTION if instruction is None else instruction
    return Prompt(INSTRUCT_TEMPLATE.format_map({"instruction": task}), name, task, instruction is None)


def describe_prompts(kind: PromptKind) -> dict[PromptName, str]:
    """The prompt of queries and of documents, with `{instruction}` in place of a task."""
    return dict(_PROMPTS[kind])


def already_prompted(texts: Iterable[str], kind: PromptKind) -> list[int]:
    """Indices of texts that already begin like one of the model's prompts."""
    starts = {"query_passage": ("query:", "passage:"), "instruct": ("instruct:",), "none": ()}[kind]
    if not starts:
        return []
    return [index for index, text in enumerate(texts) if text[:16].lstrip().casefold().startswith(starts)]


def join_title(title: str | None, text: str) -> str:
    """A passage with its title, as unilm's evaluation joins them: `(title + " " + text).strip()`."""
    return f"{title} {text}".strip() if title else text


def _refuse_unusable(**arguments: object) -> None:
    for name, value in arguments.items():
        if value is None or isinstance(value, Prompt):
            continue
        if not isinstance(value, str):
            raise PromptError(f"{name}={value!r} is no text but {type(value).__name__}. Pass a str.")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise PromptError(
                f"{name}={value!r} holds half of a character (a lone surrogate). Correct it at its source."
            )


def _no_prompt_message(kind: PromptKind) -> str:
    choices = "; ".join(f"prompt_name={name!r} puts {text!r} in front" for name, text in _PROMPTS[kind].items())
    return (
        f"This model was trained with prompts, and none was chosen. {choices}. Use encode_query and "
        "encode_document, or prompt_name='symmetric' for similarity, clustering and classification, "
        "or prompt='' for none."
    )
