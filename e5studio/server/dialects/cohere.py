"""Cohere's routes: `/v2/embed` and `/v1/embed`; `meta.warnings` says what was cut."""

from __future__ import annotations

import uuid
from typing import Any, cast

from e5studio.server.dialects.openai import size_warnings
from e5studio.server.fields import (
    Body,
    check_number,
    cut_field,
    dimensions_field,
    refuse,
    texts_field,
    whole_number,
)
from e5studio.server.preparation import TextPart
from e5studio.server.request_errors import RequestError
from e5studio.server.schemas import COUNT, CUT, LIST_OF_TEXTS, ROLE, TEXT, object_of, one_of
from e5studio.server.service import Call, Dialect, DialectRoute
from e5studio.server.vector_formats import ELEMENT_TYPES, as_base64, finished, quantized
from e5studio.tokenization import replace_surrogates

_TYPES = (*ELEMENT_TYPES, "base64")
_FEWEST_TOKENS = 16  # with a prompt and special tokens


def error_body(error: RequestError, status: int) -> dict[str, Any]:
    """A message."""
    return {"message": error.message}


async def embed_v2(call: Call) -> dict[str, Any]:
    """`POST /v2/embed`."""
    return {**await _embed(call, _types(call.body) or ["float"], "2"), "response_type": "embeddings_by_type"}


async def embed_v1(call: Call) -> dict[str, Any]:
    """`POST /v1/embed`: without `embedding_types` the vectors stand alone."""
    types = _types(call.body)
    answer = await _embed(call, types or ["float"], "1")
    if types:
        return {**answer, "response_type": "embeddings_by_type"}
    return {**answer, "embeddings": answer["embeddings"]["float"], "response_type": "embeddings_floats"}


async def _embed(call: Call, types: list[str], version: str) -> dict[str, Any]:
    body = call.body
    named = call.model_of_body()
    max_tokens = _max_tokens(body, named.model.max_tokens)
    dimensions = dimensions_field(body, ("output_dimension",), named.model.meta.embed_dim)
    prompt = call.service.roles.prompt(named, body)
    field, texts = _texts(body, call.service.max_items)
    [embedded] = await call.embed(named, [TextPart(texts, prompt, field, cut_field(body, ("truncate",)), max_tokens)])
    vectors = finished(embedded.vectors, dimensions=dimensions)
    meta: dict[str, Any] = {
        "api_version": {"version": version},
        "billed_units": {"input_tokens": call.n_tokens},
        "prompt": prompt.text,
        "fingerprint": call.fingerprint,
        "truncated": call.truncated(),
    }
    if warnings := [*call.warnings(), *size_warnings(dimensions, types)]:
        meta["warnings"] = warnings
    return {
        "id": str(uuid.uuid4()),
        "embeddings": {each: as_base64(vectors) if each == "base64" else quantized(vectors, each) for each in types},
        "texts": [replace_surrogates(text) for text in texts],
        "meta": meta,
    }


def _texts(body: Body, max_items: int) -> tuple[str, list[str]]:
    """The field that holds the texts, and the texts."""
    if body.get("images"):
        refuse("images", "E5 models read text only; there are no vectors of images here.")
    inputs = body.get("inputs")
    if inputs is None:
        return "texts", texts_field(body, "texts", max_items=max_items, allow_one=False)
    if not isinstance(inputs, list):
        refuse("inputs", "`inputs` must be a list.")
    check_number(inputs, "inputs", max_items)
    return "inputs", [_text_of(each, index) for index, each in enumerate(inputs)]


def _text_of(item: object, index: int) -> str:
    """The text of `{"content": [{"type": "text", "text": ...}]}`."""
    match item:
        case {"content": [*pieces]} if pieces:
            texts = [piece.get("text") for piece in pieces if isinstance(piece, dict) and piece.get("type") == "text"]
            if len(texts) == len(pieces) and all(isinstance(text, str) for text in texts):
                return "\n".join(cast(list[str], texts))
    refuse(f"inputs.{index}", f"`inputs` must hold content of type text only: number {index} (from 0) has none.")


def _types(body: Body) -> list[str]:
    types = body.get("embedding_types")
    if types is None:
        return []
    if not isinstance(types, list) or not types or not all(each in _TYPES for each in types):
        refuse("embedding_types", f"`embedding_types` must be a list of some of {', '.join(_TYPES)}.")
    return types


def _max_tokens(body: Body, longest: int) -> int | None:
    value = whole_number(body, "max_tokens")
    if value is None:
        return None
    if value < _FEWEST_TOKENS:
        refuse("max_tokens", f"`max_tokens` must be at least {_FEWEST_TOKENS}: the prompt counts.")
    return min(value, longest)


DIALECT = Dialect("cohere", error_body)
_CONTENT = {"type": "object", "properties": {"type": {"const": "text"}, "text": TEXT}, "required": ["type", "text"]}
_INPUT = {
    "type": "object",
    "properties": {"content": {"type": "array", "items": _CONTENT, "minItems": 1}},
    "required": ["content"],
}
_BODY = object_of(
    {
        "model": TEXT,
        "texts": LIST_OF_TEXTS,
        "inputs": {"type": "array", "items": _INPUT, "minItems": 1},
        **ROLE,
        "embedding_types": {"type": "array", "items": one_of(_TYPES), "minItems": 1},
        "output_dimension": COUNT,
        "max_tokens": {"type": "integer", "minimum": _FEWEST_TOKENS},
        "truncate": CUT,
    }
)
ROUTES = [DialectRoute("POST", "/v2/embed", embed_v2, _BODY), DialectRoute("POST", "/v1/embed", embed_v1, _BODY)]
