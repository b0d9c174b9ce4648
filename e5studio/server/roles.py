"""Which prompt goes in front of a request's texts, out of all the fields in which clients say what they are for.

| said by | values |
| --- | --- |
| `input_type` (Cohere, Voyage, NVIDIA) | query, search_query; passage, document, search_document; classification, ... |
| `task` (Jina) | retrieval.query, retrieval.passage, text-matching, ... |
| `prompt_name` (TEI, Hugging Face) | query, passage, document |
| the model's name | ...-query, ...-passage |

The first three also take "none": nothing is put in front. Two that contradict each other are an error, and so is no
role at all, unless the server has a default one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from e5studio.errors import PromptError
from e5studio.prompts import Prompt, PromptName, resolve_prompt, resolve_prompt_name
from e5studio.server.request_errors import RequestError
from e5studio.server.served_models import SUFFIXES, NamedModel, OfferedModel

Role = PromptName | Literal["none"]
DefaultRole = Literal["refuse", "query", "document", "none"]
ROLE_FIELDS = ("input_type", "task", "prompt_name")

MAX_INSTRUCTION = 2_000  # characters; longer ones leave no room for a text
_MAX_SHOWN = 40


@dataclass(frozen=True)
class Roles:
    """How a server chooses prompts.

    Attributes:
        default: The role of texts of which a request says none; "none" leaves them as they are, for clients that put
            the prompt in front themselves.
    """

    default: DefaultRole = "refuse"

    def prompt(self, named: NamedModel, body: dict[str, Any]) -> Prompt:
        """The prompt of a request.

        Args:
            named: The model, and the suffix of its name.
            body: The request; its fields for the role and `instruction` are read.

        Raises:
            RequestError: Nothing says the role, two fields contradict each other, a value means nothing, or the
                model takes no instruction.
        """
        role, instruction = said_role(named, body), instruction_of(body)
        if role is None and self.default != "refuse":
            role = self.default
        if role is None and named.model.takes_prompts:
            raise RequestError("invalid", _how_to_say(named.model), param="input_type")
        return prompt_of(named.model, role or "query", instruction)


def said_role(named: NamedModel, body: dict[str, Any]) -> Role | None:
    """What a request says of the role of its texts; None if it says nothing.

    Raises:
        RequestError: Two fields contradict each other, or a value means nothing.
    """
    said = _said(named, body)
    roles = {field: role for field, (_, role) in said.items()}
    if len({*roles.values()}) > 1:
        parts = " and ".join(f"{field} {said[field][0]!r} ({roles[field]})" for field in said)
        raise RequestError(
            "invalid",
            f"The request contradicts itself about the role of its texts: {parts}. Say one of them.",
            param=next(iter(said)),
        )
    return next(iter(roles.values()), None)


def instruction_of(body: dict[str, Any]) -> str | None:
    """The instruction of a request.

    Raises:
        RequestError: It is no sentence of a reasonable length.
    """
    value = body.get("instruction")
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_INSTRUCTION:
        raise RequestError(
            "invalid",
            f"`instruction` must be the task in one sentence, of at most {MAX_INSTRUCTION:,} characters.",
            param="instruction",
        )
    return value


def prompt_of(model: OfferedModel, role: Role, instruction: str | None = None) -> Prompt:
    """The prompt of a role on a model.

    Raises:
        RequestError: The model, or the role, takes no instruction.
    """
    kind = model.meta.prompt_kind
    if instruction is not None and kind != "instruct":
        raise RequestError(
            "invalid", f"{model.name} was not trained with instructions. Leave `instruction` out.", param="instruction"
        )
    if instruction is not None and role != "query":
        raise RequestError(
            "invalid", "Only queries take an instruction. Leave `instruction` out for other texts.", param="instruction"
        )
    if role == "none":
        return Prompt("")
    try:
        return resolve_prompt(kind, prompt_name=role, instruction=instruction)
    except PromptError as error:
        raise RequestError("invalid", error.fact, param="instruction") from error


def _said(named: NamedModel, body: dict[str, Any]) -> dict[str, tuple[str, Role]]:
    """What each field says, as it was written and as a role."""
    said: dict[str, tuple[str, Role]] = {}
    for field in ROLE_FIELDS:
        value = body.get(field)
        if value is None or value == "":
            continue
        said[field] = (str(value)[:_MAX_SHOWN], _role(field, value))
    if named.suffix is not None:
        said["the model's name"] = (named.suffix, resolve_prompt_name(SUFFIXES[named.suffix]))
    return said


def _role(field: str, value: object) -> Role:
    if value == "none":
        return "none"
    if value == "image":
        raise RequestError("invalid", "E5 models read text only; there are no vectors of images here.", param=field)
    try:
        return resolve_prompt_name(value) if isinstance(value, str) else resolve_prompt_name("")
    except PromptError:
        raise RequestError(
            "invalid",
            f"{field} {str(value)[:_MAX_SHOWN]!r} is unknown. Say 'query' for what is searched with, 'passage' for "
            "what is searched, 'classification', 'clustering' or 'text-matching' for like with like, or 'none'.",
            param=field,
        ) from None


def _how_to_say(model: OfferedModel) -> str:
    return (
        f"{model.name} puts one prompt in front of queries and another in front of passages, and the request does not "
        "say which its texts are. Say it in one of four ways: input_type 'query' or 'passage'; task "
        "'retrieval.query' or 'retrieval.passage'; prompt_name 'query' or 'passage'; or, where a client has no such "
        f"field, with the model's name: {model.short_name}-query or {model.short_name}-passage. Or serve the model "
        "with e5studio serve --default-role."
    )
