"""The prompts of a benchmark task. Two sets of rules are in use, and published tables mix them.

"authors": E5's own evaluation (microsoft/unilm, e5: mteb_beir_eval.py, mteb_except_retrieval_eval.py).
Retrieval has a prompt for queries and one for documents; everything else is symmetric and has the
query prompt on every text, QuoraRetrieval too; classification takes vectors that are not normalised;
no model reads more than 512 tokens of a text.

"mteb": what mteb itself gives these models. Prompts by role where a task has roles, and none on
symmetric tasks; instruct models get mteb's own instructions; vectors are always normalised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from e5studio.errors import PromptError
from e5studio.evaluation.task_names import authors_instruction, has_documents_like_queries
from e5studio.models import PromptKind
from e5studio.prompts import WEB_SEARCH_INSTRUCTION, Prompt, resolve_prompt

Protocol = Literal["authors", "mteb"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

AUTHORS_MAX_TOKENS = 512

InstructionSource = Literal["given", "authors", "mteb", "card"]


@dataclass(frozen=True)
class TaskPrompts:
    """The prompts of one task, and how its texts are embedded.

    Attributes:
        kind: The kind of prompts.
        protocol: The rules.
        query: Prompt of queries, and of all texts of a symmetric task.
        document: Prompt of documents.
        normalize: Whether vectors are scaled to length 1.
        reads_titles: Whether a document's title is part of its text.
        instruction_source: Where an instruct model's instruction comes from; None without an instruction.
    """

    kind: PromptKind
    protocol: Protocol
    query: Prompt
    document: Prompt
    normalize: bool = True
    reads_titles: bool = True
    instruction_source: InstructionSource | None = None


def task_prompts(
    kind: PromptKind,
    *,
    name: str,
    task_type: str,
    protocol: Protocol = "authors",
    has_roles: bool | None = None,
    instruction: str | None = None,
    mteb_instruction: Callable[[], str] | None = None,
) -> TaskPrompts:
    """The prompts of a task under a protocol.

    Args:
        kind: The prompts that the model was trained with.
        name: mteb's name of the task.
        task_type: mteb's type of it.
        protocol: The rules to follow.
        has_roles: For "mteb": whether its texts are queries and documents; None: if it is retrieval.
        instruction: The caller's instruction, for instruct models.
        mteb_instruction: Returns mteb's instruction; called if the protocol is "mteb" or the authors have none.

    Raises:
        PromptError: An instruction for a model that takes none, or mteb's instruction is needed and unknown.
    """
    check_protocol(protocol)
    words, source = _instruction(kind, name, task_type, protocol, instruction, mteb_instruction)
    query = resolve_prompt(kind, prompt_name="query", instruction=words)
    document = resolve_prompt(kind, prompt_name="document")
    is_retrieval = task_type in ("Retrieval", "InstructionRetrieval")
    if protocol == "authors":
        is_symmetric = not is_retrieval or has_documents_like_queries(name)
        return TaskPrompts(
            kind,
            protocol,
            query,
            query if is_symmetric else document,
            normalize=task_type != "Classification",
            reads_titles=not (is_retrieval and is_symmetric),
            instruction_source=source,
        )
    if has_roles if has_roles is not None else is_retrieval:
        return TaskPrompts(kind, protocol, query, document, instruction_source=source)
    symmetric = query if kind == "instruct" else Prompt("")
    return TaskPrompts(kind, protocol, symmetric, symmetric, instruction_source=source)


def check_protocol(protocol: str) -> None:
    """Refuse an unknown protocol with a PromptError."""
    if protocol not in PROTOCOLS:
        raise PromptError(f"protocol={protocol!r} is unknown. It is one of {', '.join(map(repr, PROTOCOLS))}.")


def _instruction(
    kind: PromptKind,
    name: str,
    task_type: str,
    protocol: Protocol,
    instruction: str | None,
    mteb_instruction: Callable[[], str] | None,
) -> tuple[str | None, InstructionSource | None]:
    if instruction is not None or kind != "instruct":
        return instruction, "given" if instruction is not None else None
    authors = authors_instruction(name, task_type) if protocol == "authors" else None
    if authors is not None:
        return authors, "authors"
    if mteb_instruction is not None:
        return mteb_instruction(), "mteb"
    if protocol == "mteb":
        raise PromptError(
            f"mteb's instruction for {name!r} is not known here. Give one (--instruction), or take protocol 'authors'."
        )
    return WEB_SEARCH_INSTRUCTION, "card"
