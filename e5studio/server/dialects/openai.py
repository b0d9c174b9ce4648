"""OpenAI's routes: `/v1/embeddings` and `/v1/models`, with the fields of NVIDIA's, Voyage's and Jina's servers.

Their clients differ in how they name the role, the cut of long texts, dimensions and precision, and in where they read
the message of an error; each finds its own names here.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Any

from e5studio.server.dialects.inputs import texts_or_ids
from e5studio.server.fields import Body, choice, cut_field, dimensions_field, flag, refuse
from e5studio.server.preparation import TextPart
from e5studio.server.request_errors import ErrorKind, RequestError
from e5studio.server.schemas import COUNT, CUT, FLAG, ROLE, TEXT, TEXTS_OR_IDS, object_of, one_of
from e5studio.server.served_models import OfferedModel
from e5studio.server.service import Call, Dialect, DialectRoute
from e5studio.server.vector_formats import ELEMENT_TYPES, as_base64, finished, quantized

_PRECISION_FIELDS = ("output_dtype", "embedding_type", "encoding_type")  # Voyage's, NVIDIA's and Jina's, older Jina's
_TYPES_OF_NUMBERS = (*ELEMENT_TYPES, "base64")
_ENCODINGS = ("float", "base64")
_DIMENSION_FIELDS = ("dimensions", "output_dimension")
_TYPES: dict[ErrorKind, str] = {
    "unauthorized": "authentication_error",
    "overloaded": "rate_limit_error",
    "unavailable": "service_unavailable_error",
    "non_finite": "server_error",
    "failed": "server_error",
}
_CODES: dict[ErrorKind, str] = {
    "unauthorized": "invalid_api_key",
    "unknown_model": "model_not_found",
    "overloaded": "rate_limit_exceeded",
    "too_many": "too_many_inputs",
    "empty": "empty_input",
    "non_finite": "non_finite_embedding",
}


def error_body(error: RequestError, status: int) -> dict[str, Any]:
    """The message where OpenAI's, Cohere's, and NVIDIA's, Voyage's and Jina's clients look for it."""
    nested = {
        "message": error.message,
        "type": _TYPES.get(error.kind, "invalid_request_error"),
        "param": error.param,
        "code": _CODES.get(error.kind),
    }
    return {"error": nested, "message": error.message, "detail": error.message}


async def embeddings(call: Call) -> dict[str, Any]:
    """`POST /v1/embeddings`."""
    body = call.body
    named = call.model_of_body()
    _refuse_unsupported(body)
    element_type, is_base64 = _form(body)
    is_normalized = flag(body, "normalized", True) or element_type != "float"
    dimensions = dimensions_field(body, _DIMENSION_FIELDS, named.model.meta.embed_dim)
    prompt = call.service.roles.prompt(named, body)
    texts = await texts_or_ids(call, "input")
    [embedded] = await call.embed(named, [TextPart(texts, prompt, "input", cut_field(body))])
    rows = quantized(finished(embedded.vectors, dimensions=dimensions, normalize=is_normalized), element_type)
    data = as_base64(rows) if is_base64 else rows
    return {
        "object": "list",
        "id": f"embd-{uuid.uuid4().hex}",
        "created": int(time.time()),
        "model": named.requested,
        "data": [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(data)],
        "usage": {"prompt_tokens": call.n_tokens, "total_tokens": call.n_tokens, "completion_tokens": 0},
        "prompt": prompt.text,
        "fingerprint": call.fingerprint,
        "truncated": call.truncated(),
        "warnings": [*call.warnings(), *size_warnings(dimensions, [element_type])],
    }


async def list_models(call: Call) -> dict[str, Any]:
    """`GET /v1/models`: each model, and its names that say a role."""
    cards = [_card(model, name) for model in call.service.models for name in model.names()]
    return {"object": "list", "data": sorted(cards, key=lambda card: card["id"] != card["root"])}


async def one_model(call: Call) -> dict[str, Any]:
    """`GET /v1/models/{id}`."""
    named = call.find_model(call.path["name"])
    return _card(named.model, named.requested)


def size_warnings(dimensions: int | None, element_types: Iterable[str]) -> list[str]:
    """What a client should know that asked for fewer dimensions or for single bits."""
    warnings = []
    if dimensions is not None:
        warnings.append(f"E5 models were not trained for fewer dimensions: the first {dimensions} alone rank worse.")
    if {"binary", "ubinary"} & {*element_types}:
        warnings.append(
            "E5 models were not trained for binary vectors, which rank much worse; int8 ones rank almost as floats do."
        )
    return warnings


def _form(body: Body) -> tuple[str, bool]:
    """The type of the vectors' numbers, and whether they are written as base64."""
    is_base64 = choice(body, "encoding_format", _ENCODINGS, "float") == "base64"
    types = [choice(body, name, _TYPES_OF_NUMBERS, "") for name in _PRECISION_FIELDS]
    form = next(filter(None, types), "float")
    return ("float", True) if form == "base64" else (form, is_base64)


def _refuse_unsupported(body: Body) -> None:
    if flag(body, "late_chunking", False):
        refuse("late_chunking", "This server has no late chunking. Leave `late_chunking` out.")
    if "messages" in body:
        refuse("messages", "This server embeds texts, not chats. Send them as `input`.")


def _card(model: OfferedModel, name: str) -> dict[str, Any]:
    card = {
        "id": name,
        "object": "model",
        "created": model.created,
        "owned_by": model.name.split("/")[0] if "/" in model.name else "local",
        "root": model.name,
        "max_model_len": model.max_tokens,
    }
    return card if model.fingerprint is None else {**card, "fingerprint": model.fingerprint}


DIALECT = Dialect("openai", error_body)
_BODY = object_of(
    {
        "model": TEXT,
        "input": TEXTS_OR_IDS,
        **ROLE,
        "encoding_format": one_of(_ENCODINGS),
        **dict.fromkeys(_PRECISION_FIELDS, one_of(_TYPES_OF_NUMBERS)),
        **dict.fromkeys(_DIMENSION_FIELDS, COUNT),
        "truncate": CUT,
        "truncation": CUT,
        "normalized": FLAG,
        "late_chunking": {"const": False},
    },
    required=("input",),
)
ROUTES = [
    DialectRoute("POST", "/v1/embeddings", embeddings, _BODY),
    DialectRoute("GET", "/v1/models", list_models),
    DialectRoute("GET", "/v1/models/{name:path}", one_model),
]
