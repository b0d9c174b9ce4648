"""Our own routes: `/v1/score`, the matrix of the model cards, and `/v1/explain`, the words of a score."""

from __future__ import annotations

from typing import Any

import numpy as np

from e5studio.analysis.attribution import Words, gather_words, word_shares
from e5studio.prepared_texts import TokenEmbeddings
from e5studio.prompts import Prompt
from e5studio.server.dialects.openai import error_body
from e5studio.server.fields import Body, choice, cut_field, refuse, text_field, texts_field
from e5studio.server.preparation import TextPart
from e5studio.server.request_errors import RequestError
from e5studio.server.roles import instruction_of, prompt_of
from e5studio.server.schemas import CUT, INSTRUCTION, TEXT, TEXTS, object_of, one_of
from e5studio.server.served_models import NamedModel
from e5studio.server.service import Call, Dialect, DialectRoute
from e5studio.similarity import scores

_USES = ("retrieval", "symmetric", "none")
_MAX_SCORES = 1_000_000


async def score(call: Call) -> dict[str, Any]:
    """`POST /v1/score`: cosine x 100 of every query with every passage, or of queries with each other."""
    body, max_items = call.body, call.service.max_items
    named = call.model_of_body()
    queries = texts_field(body, "queries", max_items=max_items)
    prompts, cut = _prompts(named, body), cut_field(body)
    parts = [TextPart(queries, prompts[0], "queries", cut)]
    if body.get("passages") is not None or prompts[0] != prompts[1]:
        passages = texts_field(body, "passages", max_items=max_items)
        parts.append(TextPart(passages, prompts[1], "passages", cut))
    n_scores = len(queries) * len(parts[-1].texts)
    if n_scores > _MAX_SCORES:
        refuse("queries", f"That are {n_scores:,} scores; {_MAX_SCORES:,} are taken at once.")
    embedded = await call.embed(named, parts)
    matrix = scores(embedded[0].vectors, embedded[-1].vectors)
    return {
        "object": "scores",
        "model": named.requested,
        "scores": matrix,
        "best": matrix.argmax(axis=1),
        "prompts": {"queries": prompts[0].text, "passages": prompts[1].text},
        "fingerprint": call.fingerprint,
        "usage": {"prompt_tokens": call.n_tokens, "total_tokens": call.n_tokens},
        "truncated": call.truncated(),
        "warnings": call.warnings(),
    }


async def explain(call: Call) -> dict[str, Any]:
    """`POST /v1/explain`: the share of each pair of words in the score of a query with a passage."""
    body = call.body
    named = call.model_of_body()
    model = named.model
    if model.meta.pooling != "mean":
        raise RequestError(
            "unsupported", f"{model.name} takes the vector of its last token, so that no sum of words makes up a score."
        )
    texts = [_text(body, name) for name in ("query", "passage")]
    prompts = _prompts(named, body)
    parts = [
        TextPart([text], prompt, name) for text, prompt, name in zip(texts, prompts, ("query", "passage"), strict=True)
    ]
    read = await call.token_vectors(named, parts)
    tokens = [of_text for [of_text] in read.of_parts]
    words = [_words(text, each) for text, each in zip(texts, tokens, strict=True)]
    shares = word_shares(tokens[0].vectors, tokens[1].vectors, *words)
    return {
        "object": "explanation",
        "model": named.requested,
        "score": 100 * shares.cosine,
        "shares": np.ascontiguousarray(100 * shares.shares),
        "query": _listed(words[0]),
        "passage": _listed(words[1]),
        "prompts": {"query": prompts[0].text, "passage": prompts[1].text},
        "fingerprint": read.fingerprint,
    }


def _prompts(named: NamedModel, body: Body) -> tuple[Prompt, Prompt]:
    instruction = instruction_of(body)
    use = choice(body, "use", _USES, "retrieval")
    query = prompt_of(named.model, "none" if use == "none" else "query", instruction)
    return query, query if use != "retrieval" else prompt_of(named.model, "document")


def _text(body: Body, name: str) -> str:
    text = text_field(body, name)
    if text is None:
        refuse(name, f"`{name}` is missing: one text.")
    return text


def _words(text: str, tokens: TokenEmbeddings) -> Words:
    return gather_words(text, tokens.offsets, tokens.in_prompt, tokens.special)


def _listed(words: Words) -> list[dict[str, Any]]:
    return [
        {"text": name, "part": part, "start": start, "end": end}
        for name, part, (start, end) in zip(words.names, words.parts, words.spans.tolist(), strict=True)
    ]


DIALECT = Dialect("own", error_body)
_PROMPTS = {**INSTRUCTION, "use": one_of(_USES)}
_SCORE = object_of(
    {"model": TEXT, "queries": TEXTS, "passages": TEXTS, **_PROMPTS, "truncate": CUT, "truncation": CUT},
    required=("queries",),
)
_EXPLAIN = object_of({"model": TEXT, "query": TEXT, "passage": TEXT, **_PROMPTS}, required=("query", "passage"))
ROUTES = [
    DialectRoute("POST", "/v1/score", score, _SCORE),
    DialectRoute("POST", "/v1/explain", explain, _EXPLAIN),
]
