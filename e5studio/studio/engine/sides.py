"""The sides of a computation, such as queries and passages: their texts prepared and embedded, and what they cost."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from e5studio.cache import CachedEncoder, VectorCache, vector_keys
from e5studio.encode_report import EncodeReport
from e5studio.encoder import E5Encoder
from e5studio.errors import TextError
from e5studio.prepared_texts import PreparedTexts
from e5studio.similarity import FloatArray
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.engine.prompt_modes import PromptArguments, SideLabels
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.engine.text_box import TextList

Prepare = Callable[[E5Encoder], Sequence[PreparedTexts]]
"""Gives the prepared texts of each side; on ZeroGPU it is pickled."""

_CHARACTERS_PER_COST = 2_000  # that take as long as all else that a request does


def cost_of(*sides: Sequence[str]) -> float:
    """How much work some texts are, compared with others in the same queue."""
    return 1 + sum(len(text) for texts in sides for text in texts) / _CHARACTERS_PER_COST


def cache_of(results: Sequence[ScoreResult]) -> VectorCache:
    """The vectors of some results; their keys tell encoders and prompts apart."""
    cache = VectorCache()
    for result in results:
        sides = [result.queries] if result.is_self else [result.queries, result.passages]
        keys = [
            key
            for side, report in zip(sides, result.reports, strict=True)
            for key in vector_keys(result.fingerprint, report.prompt.text, side.texts)
        ]
        cache.put_many(dict(zip(keys, result.vectors, strict=True)))
    return cache


def embed_sides(
    cached: CachedEncoder, sides: Sequence[Sequence[str]], prepared: Sequence[PreparedTexts], stage: OnStage
) -> tuple[FloatArray, tuple[EncodeReport, ...], int]:
    """Vectors of all sides below each other, a report of each, and how many texts were embedded."""
    n_new = [cached.n_missing(texts, side.report.prompt) for texts, side in zip(sides, prepared, strict=True)]
    vectors: list[FloatArray] = []
    for number, (texts, side) in enumerate(zip(sides, prepared, strict=True)):

        def on_progress(done: int, of: int, before: int = sum(n_new[:number]), share: int = n_new[number]) -> None:
            if share:
                stage((before + done / of * share) / sum(n_new), "Reading the texts")

        vectors.append(cached.embed_prepared(side, texts, on_progress=on_progress))
    return np.concatenate(vectors), tuple(side.report for side in prepared), sum(n_new)


def with_prompts(lists: Mapping[str, Sequence[str]], arguments: Sequence[PromptArguments]) -> Prepare:
    """Prepares the texts of lists behind the prompt that the encoder's arguments choose for each."""
    return functools.partial(prepare_sides, sides=list(lists.values()), arguments=arguments)


def prepare_sides(
    encoder: E5Encoder, sides: Sequence[Sequence[str]], arguments: Sequence[PromptArguments]
) -> list[PreparedTexts]:
    """The texts of each side as token ids, behind the side's prompt."""
    return [encoder.prepare(texts, **prompt) for texts, prompt in zip(sides, arguments, strict=True)]


def read_box(encoder: E5Encoder, box: TextList, arguments: PromptArguments) -> tuple[TextList, PreparedTexts]:
    """The texts of which the model reads a token; an unreadable one is left out as an empty line is."""
    prepared = encoder.prepare(box.texts, **arguments, allow_empty=True)
    if not prepared.report.empty:
        return box, prepared
    box = box.without_unread(prepared.report.empty)
    return box, encoder.prepare(box.texts, **arguments)


def check_not_empty(queries: TextList, passages: TextList, is_self: bool, labels: SideLabels) -> None:
    """Refuse boxes in which nothing can be scored."""
    left, right = labels.left, labels.right
    if not queries:
        raise TextError(f"There is nothing to read in {left}. Write one text per line, or take an example.")
    if is_self and len(queries) == 1:
        raise TextError(f"There is one text only. Write a second line in {left}, or something in {right}.")
    if not is_self and not passages:
        raise TextError(f"There is nothing to read in {right}. Write one text per line, or take an example.")
