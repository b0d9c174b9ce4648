"""The routes of text-embeddings-inference, which Hugging Face's client and inference endpoints use, too.

`/similarity` puts each side's own prompt in front: the source sentence is the query, the sentences are passages, unless
`prompt_name` says that both are the same. What was cut stands in headers: the answers have no room for it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from e5studio import __version__
from e5studio.server.dialects.inputs import is_ids, texts_or_ids
from e5studio.server.fields import Body, check_number, choice, dimensions_field, flag, refuse, text_field, texts_field
from e5studio.server.preparation import Cut, TextPart, estimated_tokens
from e5studio.server.request_errors import ErrorKind, RequestError
from e5studio.server.roles import instruction_of, prompt_of, said_role
from e5studio.server.schemas import COUNT, FLAG, ROLE, TEXTS, TEXTS_OR_IDS, TOKEN_IDS, object_of, one_of
from e5studio.server.served_models import NamedModel, loaded
from e5studio.server.service import Call, Dialect, DialectRoute
from e5studio.server.vector_formats import as_base64, finished
from e5studio.similarity import cos_sim

_ERROR_TYPES: dict[ErrorKind, str] = {
    "empty": "Empty",
    "overloaded": "Overloaded",
    "unavailable": "Unhealthy",
    "unsupported": "Backend",
    "non_finite": "Backend",
    "failed": "Backend",
}
_ENCODINGS = ("float", "base64")
_DIRECTIONS: dict[str, Cut] = {"right": "end", "left": "start"}
_WHOLE_TEXT = 10_000_000  # tokens
_MAX_TOKENS = 16_384  # each has a vector in the answer
_MAX_CHARACTERS = 400_000  # each token has an object in the answer


def error_body(error: RequestError, status: int) -> dict[str, Any]:
    """A message and a type."""
    return {"error": error.message, "error_type": _ERROR_TYPES.get(error.kind, "Validation")}


async def embed(call: Call) -> Any:
    """`POST /embed`: a list of vectors, also for one text."""
    named = call.first_model()
    dimensions = dimensions_field(call.body, ("dimensions",), named.model.meta.embed_dim)
    is_base64 = choice(call.body, "encoding_format", _ENCODINGS, "float") == "base64"
    part = await _inputs(call, named)
    [embedded] = await call.embed(named, [part])
    vectors = finished(embedded.vectors, dimensions=dimensions, normalize=flag(call.body, "normalize", True))
    return as_base64(vectors) if is_base64 else vectors


async def embed_or_compare(call: Call) -> Any:
    """`POST /`: as `/embed`, or as `/similarity` if that is what the inputs are."""
    return await (similarity(call) if isinstance(call.body.get("inputs"), dict) else embed(call))


async def embed_all(call: Call) -> list[Any]:
    """`POST /embed_all`: the vectors of each text's tokens, not normalised."""
    named = call.first_model()
    part = await _inputs(call, named)
    if estimated_tokens(named.model.max_tokens, [part]) > _MAX_TOKENS:
        raise RequestError("too_large", f"The vectors of at most about {_MAX_TOKENS:,} tokens are sent at once.")
    [tokens] = (await call.token_vectors(named, [part])).of_parts
    return [each.vectors for each in tokens]


async def similarity(call: Call) -> Any:
    """`POST /similarity`: the cosine of a sentence with each of several."""
    named = call.first_model()
    inputs, parameters = _object(call.body, "inputs"), _object(call.body, "parameters")
    source = texts_field(inputs, "source_sentence", max_items=1)
    sentences = texts_field(inputs, "sentences", max_items=call.service.max_items)
    said = {**call.body, **parameters}
    role, instruction = said_role(named, said), instruction_of(said)
    if role is not None:
        prompts = (prompt_of(named.model, role, instruction),) * 2
    else:
        prompts = prompt_of(named.model, "query", instruction), prompt_of(named.model, "document")
    cut = _cut(parameters)
    left, right = await call.embed(
        named,
        [
            TextPart(source, prompts[0], "inputs.source_sentence", cut),
            TextPart(sentences, prompts[1], "inputs.sentences", cut),
        ],
    )
    return cos_sim(left.vectors, right.vectors)[0]


async def tokenize(call: Call) -> list[list[dict[str, Any]]]:
    """`POST /tokenize`: the tokens of each text, with a prompt in front if one is named."""
    named = call.first_model()
    texts = texts_field(call.body, "inputs", max_items=call.service.max_items)
    if sum(map(len, texts)) > _MAX_CHARACTERS:
        raise RequestError("too_large", f"Texts of at most {_MAX_CHARACTERS:,} characters are tokenised at once.")
    add_special = flag(call.body, "add_special_tokens", True)
    role, instruction = said_role(named, call.body), instruction_of(call.body)
    prompt = prompt_of(named.model, role or "none", instruction)
    encoder = loaded(named.model).encoder

    def tokens(text: str) -> list[dict[str, Any]]:
        read = encoder.token_offsets(text, prompt=prompt, max_tokens=_WHOLE_TEXT)
        columns = zip(read.ids.tolist(), read.tokens, read.special.tolist(), read.offsets.tolist(), strict=True)
        return [
            {
                "id": token_id,
                "text": token,
                "special": special,
                "start": None if special else start,
                "stop": None if special else stop,
            }
            for token_id, token, special, (start, stop) in columns
            if add_special or not special
        ]

    return await asyncio.to_thread(lambda: [tokens(text) for text in texts])


async def decode(call: Call) -> list[str]:
    """`POST /decode`: the texts of token ids."""
    encoder = loaded(call.first_model().model).encoder
    ids = call.body.get("ids")
    lists = [ids] if is_ids(ids) else ids
    if not isinstance(lists, list) or not all(map(is_ids, lists)):
        refuse("ids", "`ids` must be a list of token ids, or a list of such lists.")
    check_number(lists, "ids", call.service.max_items)
    skip_special = flag(call.body, "skip_special_tokens", True)
    return await asyncio.to_thread(lambda: [encoder.decode(each, skip_special=skip_special) for each in lists])


async def info(call: Call) -> dict[str, Any]:
    """`GET /info`: of the first model; `/v1/models` lists all."""
    model = loaded(call.first_model().model)
    spec, service = model.spec, call.service
    return {
        "model_id": model.name,
        "model_sha": spec.revision,
        "model_dtype": spec.dtype,
        "served_model_name": model.name,
        "model_type": {"embedding": {"pooling": spec.pooling}},
        "max_concurrent_requests": service.max_concurrent,
        "max_input_length": spec.max_tokens,
        "max_batch_tokens": model.encoder.token_budget,
        "max_batch_requests": None,
        "max_client_batch_size": service.max_items,
        "auto_truncate": True,
        "tokenization_workers": 2,
        "version": __version__,
        "sha": None,
        "docker_label": None,
        "backend": spec.backend,
        "fingerprint": model.fingerprint,
    }


async def not_this_kind(call: Call) -> Any:
    """Routes of other kinds of models."""
    raise RequestError("unsupported", "The model is an embedding model: it has no such route. Use /embed.")


async def _inputs(call: Call, named: NamedModel) -> TextPart:
    prompt = call.service.roles.prompt(named, call.body)
    return TextPart(await texts_or_ids(call, "inputs"), prompt, "inputs", _cut(call.body))


def _cut(body: Body) -> Cut:
    value = body.get("truncation_direction")
    if value is not None and not (isinstance(value, str) and value.lower() in _DIRECTIONS):
        refuse("truncation_direction", "`truncation_direction` must be 'Right' or 'Left'.")
    is_cut = flag(body, "truncate", True)
    return _DIRECTIONS[(text_field(body, "truncation_direction") or "right").lower()] if is_cut else "refuse"


def _object(body: Body, name: str) -> Body:
    value = body.get(name)
    if value is None and name == "parameters":
        return {}
    if not isinstance(value, dict):
        refuse(name, f"`{name}` must be an object.")
    return value


DIALECT = Dialect(
    "tei",
    error_body,
    {"invalid": 422, "too_many": 422, "unknown_model": 422, "unsupported": 424, "non_finite": 424, "failed": 424},
)
_CUT = {"truncate": FLAG, "truncation_direction": {"type": "string", "pattern": "^(?i:left|right)$"}}
_INPUTS = {"inputs": TEXTS_OR_IDS, **ROLE, **_CUT}
_EMBED = object_of(
    {**_INPUTS, "dimensions": COUNT, "encoding_format": one_of(_ENCODINGS), "normalize": FLAG}, ("inputs",)
)
_SENTENCES = object_of({"source_sentence": TEXTS, "sentences": TEXTS}, ("source_sentence", "sentences"))
_SIMILARITY = object_of({"inputs": _SENTENCES, "parameters": object_of({**ROLE, **_CUT}), **ROLE}, ("inputs",))
_TOKENIZE = {"inputs": TEXTS, "add_special_tokens": FLAG, **ROLE}
_DECODE = {"ids": {"anyOf": [TOKEN_IDS, {"type": "array", "items": TOKEN_IDS}]}, "skip_special_tokens": FLAG}
ROUTES = [
    DialectRoute("POST", "/embed", embed, _EMBED, "array"),
    DialectRoute("POST", "/", embed_or_compare, {"anyOf": [_EMBED, _SIMILARITY]}, "array"),
    DialectRoute("POST", "/embed_all", embed_all, object_of(_INPUTS, ("inputs",)), "array"),
    DialectRoute("POST", "/similarity", similarity, _SIMILARITY, "array"),
    DialectRoute("POST", "/tokenize", tokenize, object_of(_TOKENIZE, ("inputs",)), "array"),
    DialectRoute("POST", "/decode", decode, object_of(_DECODE, ("ids",)), "array"),
    DialectRoute("GET", "/info", info),
    *(DialectRoute("POST", path, not_this_kind) for path in ("/embed_sparse", "/predict", "/rerank")),
]
