"""Ollama's routes for embeddings. They have no field for the role, so the model's name says it: e5-small-v2-query.

`input_type` is understood as well: some programs, such as Open WebUI, send it as an extra field.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from e5studio import __version__
from e5studio.server.fields import cut_field, dimensions_field, refuse, text_field, texts_field
from e5studio.server.preparation import TextPart
from e5studio.server.request_errors import RequestError
from e5studio.server.schemas import COUNT, CUT, ROLE, TEXT, TEXTS, object_of
from e5studio.server.served_models import NamedModel, ServedModel, loaded
from e5studio.server.service import Call, Dialect, DialectRoute
from e5studio.server.vector_formats import finished

_API_VERSION = "0.6.3"  # of which these routes are


def error_body(error: RequestError, status: int) -> dict[str, Any]:
    """A message."""
    return {"error": error.message}


async def embed(call: Call) -> dict[str, Any]:
    """`POST /api/embed`."""
    begin = time.perf_counter()
    named = _named(call)
    dimensions = dimensions_field(call.body, ("dimensions",), named.model.meta.embed_dim)
    prompt = call.service.roles.prompt(named, call.body)
    texts = texts_field(call.body, "input", max_items=call.service.max_items)
    [embedded] = await call.embed(named, [TextPart(texts, prompt, "input", cut_field(call.body, ("truncate",)))])
    return {
        "model": named.requested,
        "embeddings": finished(embedded.vectors, dimensions=dimensions),
        "total_duration": int((time.perf_counter() - begin) * 1e9),
        "load_duration": 0,
        "prompt_eval_count": call.n_tokens,
        "prompt": prompt.text,
        "truncated": call.truncated(),
        "warnings": call.warnings(),
    }


async def embed_one(call: Call) -> dict[str, Any]:
    """`POST /api/embeddings`: the older route, for one text."""
    named = _named(call)
    prompt = call.service.roles.prompt(named, call.body)
    text = text_field(call.body, "prompt")
    if text is None:
        refuse("prompt", "`prompt` is missing: the text to embed.")
    [embedded] = await call.embed(named, [TextPart([text], prompt, "prompt", cut_field(call.body, ("truncate",)))])
    return {"embedding": finished(embedded.vectors)[0]}


async def tags(call: Call) -> dict[str, Any]:
    """`GET /api/tags`: each model, and its names that say a role."""
    return {"models": [_tag(loaded(model), name) for model in call.service.models for name in model.names()]}


async def show(call: Call) -> dict[str, Any]:
    """`POST /api/show`."""
    name = text_field(call.body, "model") or text_field(call.body, "name")
    model = loaded(call.find_model(name).model)
    meta = model.meta
    return {
        "license": meta.license,
        "details": _details(model),
        "model_info": {
            "general.architecture": meta.model_type,
            "general.parameter_count": meta.n_parameters,
            f"{meta.model_type}.context_length": model.max_tokens,
            f"{meta.model_type}.embedding_length": meta.embed_dim,
            f"{meta.model_type}.block_count": meta.n_layers,
        },
        "capabilities": ["embedding"],
        "modified_at": _date(model),
    }


async def version(call: Call) -> dict[str, Any]:
    """`GET /api/version`: of the routes, and of this server."""
    return {"version": _API_VERSION, "server": f"e5studio {__version__}"}


def _named(call: Call) -> NamedModel:
    return call.model_of_body()


def _tag(model: ServedModel, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "modified_at": _date(model),
        "size": model.encoder.n_bytes,
        "digest": model.fingerprint,
        "details": _details(model),
    }


def _details(model: ServedModel) -> dict[str, Any]:
    meta = model.meta
    return {
        "parent_model": "",
        "format": "safetensors",
        "family": meta.model_type,
        "families": [meta.model_type],
        "parameter_size": f"{meta.n_parameters / 1e6:.0f}M",
        "quantization_level": model.spec.dtype,
    }


def _date(model: ServedModel) -> str:
    return datetime.fromtimestamp(model.created, UTC).isoformat()


DIALECT = Dialect("ollama", error_body)
_BODY = object_of({"model": TEXT, "input": TEXTS, **ROLE, "truncate": CUT, "dimensions": COUNT}, required=("input",))
_BODY_OF_ONE = object_of({"model": TEXT, "prompt": TEXT, **ROLE, "truncate": CUT}, required=("prompt",))
ROUTES = [
    DialectRoute("POST", "/api/embed", embed, _BODY),
    DialectRoute("POST", "/api/embeddings", embed_one, _BODY_OF_ONE),
    DialectRoute("GET", "/api/tags", tags),
    DialectRoute("POST", "/api/show", show, object_of({"model": TEXT, "name": TEXT})),
    DialectRoute("GET", "/api/version", version),
]
