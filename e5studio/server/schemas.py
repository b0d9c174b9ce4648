"""JSON schemas of what requests hold, for the OpenAPI document: one for each kind of field that `fields` reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from e5studio.prompts import PROMPT_NAMES
from e5studio.server.roles import MAX_INSTRUCTION, ROLE_FIELDS
from e5studio.server.token_ids import MAX_TOKEN_ID

Schema = Mapping[str, Any]


def one_of(words: Iterable[str]) -> Schema:
    """A field that holds one of several words."""
    return {"enum": [*words]}


TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 1}
LIST_OF_TEXTS: Schema = {"type": "array", "items": TEXT, "minItems": 1}
TEXTS: Schema = {"anyOf": [TEXT, LIST_OF_TEXTS]}
TOKEN_IDS: Schema = {
    "type": "array",
    "items": {"type": "integer", "minimum": 0, "maximum": MAX_TOKEN_ID},
    "minItems": 1,
}
TEXTS_OR_IDS: Schema = {
    "anyOf": [TEXT, TOKEN_IDS, {"type": "array", "items": {"anyOf": [TEXT, TOKEN_IDS]}, "minItems": 1}]
}
CUT: Schema = {"anyOf": [FLAG, {"type": "string", "pattern": "^(?i:none|start|end|left|right)$"}]}

INSTRUCTION: Mapping[str, Schema] = {"instruction": {**TEXT, "maxLength": MAX_INSTRUCTION}}
ROLE: Mapping[str, Schema] = {**dict.fromkeys(ROLE_FIELDS, one_of(["", "none", *PROMPT_NAMES])), **INSTRUCTION}
"""The fields that say the role of the texts."""


def object_of(fields: Mapping[str, Schema], required: Sequence[str] = ()) -> Schema:
    """An object of these fields, of which those that are not required may be null; it may hold others."""
    properties = {
        name: schema if name in required else {"anyOf": [schema, {"type": "null"}]} for name, schema in fields.items()
    }
    return {"type": "object", "properties": properties, **({"required": [*required]} if required else {})}


def schema_of(example: Any) -> Schema:
    """The schema of answers that have the form of an example; null stands for anything."""
    if isinstance(example, dict):
        return {
            "type": "object",
            "properties": {name: schema_of(value) for name, value in example.items()},
            "required": [*example],
        }
    return TEXT if isinstance(example, str) else {}
