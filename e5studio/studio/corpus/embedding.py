"""A corpus -> its vectors, in work that can be stopped at any batch and goes on from there.

Texts are embedded in the order and the batches in which the encoder would embed them all at once, so it takes no
longer than that; the processor is free for other visitors between any two batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from e5studio.encoder import E5Encoder, PreparedTexts
from e5studio.errors import NonFiniteError
from e5studio.prompts import Prompt
from e5studio.studio.corpus.corpus import Corpus, CorpusSetting, EmbeddedCorpus
from e5studio.studio.corpus.vector_store import PartialVectors, RowArray, TokenStats, VectorStore
from e5studio.studio.engine.catalog import offered
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.prompt_modes import prompt_arguments, valid_prompt_mode

_TOKENIZED_AT_ONCE = 1024
_SECONDS_UNTIL_SPEED = 1.0
_FEW_NAMED = 10


@dataclass(frozen=True)
class EmbeddingNews:
    """How far the work is.

    Attributes:
        doing: In words.
        share: Of the tokens that are done (of a download, its bytes); None where it is not known.
        n_done: Texts whose vectors are there, those from before counted.
        n_texts: Of the corpus.
        texts_per_second: Since this work began to embed; None until it can be told.
        seconds_left: As the tokens so far took; None until it can be told.
    """

    doing: str
    share: float | None
    n_done: int
    n_texts: int
    texts_per_second: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class EmbeddedTexts:
    """Texts that all have their vectors.

    Attributes:
        rows: The vectors, and what was read of each text.
        fresh: Rows that were embedded for it, each different text once.
        seconds: What that took, without loading the model.
    """

    rows: PartialVectors
    fresh: RowArray
    seconds: float

    @property
    def n_embedded(self) -> int:
        """Texts that were embedded for it; the others' vectors were there already."""
        return self.rows.n_texts(self.fresh)

    @property
    def n_truncated(self) -> int:
        """Texts longer than the model reads."""
        return int(np.count_nonzero(self.rows.read.n_dropped))


OnNews = Callable[[EmbeddingNews], None]
"""What it raises, such as StoppedError, stops the work; what is done by then stays kept."""


def embed_corpus(
    engine: Engine, corpus: Corpus, setting: CorpusSetting, kept: VectorStore, on_news: OnNews
) -> EmbeddedCorpus:
    """Embed the texts of a corpus that have no vectors yet, the longest first.

    Args:
        engine: Where encoders come from.
        corpus: The texts.
        setting: How they are embedded; a use that the model does not know becomes its usual one.
        kept: The visitor's vectors; each batch is added as soon as it is computed.
        on_news: Told of every batch.

    Raises:
        E5StudioError: Anything that a person can put right; the message says how.
        StoppedError: `on_news` asked to stop.
    """
    meta = offered(setting.model)
    setting = replace(setting, prompt_mode=valid_prompt_mode(meta.prompt_kind, setting.prompt_mode))
    arguments = prompt_arguments(meta.prompt_kind, setting.prompt_mode, "passage", setting.instruction)

    def stage(share: float | None, doing: str) -> None:
        on_news(EmbeddingNews(doing, share, 0, len(corpus)))

    with engine.corpus_encoder(meta, stage, setting.dtype, setting.backend) as encoder:
        prompt = encoder.resolve_prompt(**arguments)
        found = embed_documents(encoder, corpus, prompt, kept, on_news)
        spec = encoder.spec
    return EmbeddedCorpus(
        corpus=corpus,
        setting=setting,
        meta=meta,
        spec=spec,
        prompt=prompt.text,
        vectors=found.rows.whole(),
        n_tokens=found.rows.read.n_tokens,
        n_truncated=found.n_truncated,
        n_dropped=found.rows.read.n_dropped,
        unknown_share=found.rows.read.unknown_share,
        n_embedded=found.n_embedded,
        seconds=found.seconds,
    )


def embed_documents(
    encoder: E5Encoder, corpus: Corpus, prompt: Prompt, kept: VectorStore, on_news: OnNews
) -> EmbeddedTexts:
    """The part of `embed_corpus` for who holds the encoder."""
    return embed_texts(
        encoder, corpus.documents, prompt, kept, on_news, lambda row: f"the text on line {corpus.lines[row]:,}"
    )


def embed_texts(
    encoder: E5Encoder,
    texts: Sequence[str],
    prompt: Prompt,
    kept: VectorStore,
    on_news: OnNews,
    name_of: Callable[[int], str],
) -> EmbeddedTexts:
    """Embed those of some texts that have no vectors yet, the longest first.

    Args:
        encoder: Embeds.
        texts: All of them.
        prompt: Stands in front of each.
        kept: Where vectors are kept, each batch as soon as it is computed.
        on_news: Told of every batch.
        name_of: What an error calls the text at some place.

    Raises:
        NonFiniteError: The model gave no usable vector for a text; `indices` says which.
        StoppedError: `on_news` asked to stop.
    """
    started = time.perf_counter()
    rows = kept.rows(encoder.spec.fingerprint, prompt.text, texts, encoder.spec.embed_dim)
    due = rows.due()
    if len(due):
        prepared = _prepare(encoder, [texts[row] for row in due], prompt, rows, due, on_news)
        _embed(encoder, prepared, rows, due, kept, _Progress(rows, due, prepared, on_news), name_of)
    rows.whole()
    return EmbeddedTexts(rows, due, time.perf_counter() - started)


class _Progress:
    """News of batches as they are done."""

    def __init__(self, rows: PartialVectors, due: RowArray, prepared: PreparedTexts, on_news: OnNews) -> None:
        self._on_news = on_news
        self._lengths = prepared.batch.lengths
        self._copies = np.bincount(rows.twins, minlength=len(rows))[due]  # texts that each of the due ones stands for
        self._n_texts = len(rows)
        self._n_before = len(rows) - int(self._copies.sum())
        self._n_tokens = int(self._lengths.sum())
        self._texts_done = self._tokens_done = 0
        self._started = time.perf_counter()

    def add(self, places: RowArray) -> None:
        """Tell of a batch of the texts that were due."""
        self._texts_done += int(self._copies[places].sum())
        self._tokens_done += int(self._lengths[places].sum())
        seconds = time.perf_counter() - self._started
        can_tell = seconds >= _SECONDS_UNTIL_SPEED
        self._on_news(
            EmbeddingNews(
                "Embedding",
                self._tokens_done / self._n_tokens,
                self._n_before + self._texts_done,
                self._n_texts,
                self._texts_done / seconds if can_tell else None,
                (self._n_tokens - self._tokens_done) / self._tokens_done * seconds if can_tell else None,
            )
        )


def _prepare(
    encoder: E5Encoder, texts: Sequence[str], prompt: Prompt, rows: PartialVectors, due: RowArray, on_news: OnNews
) -> PreparedTexts:
    """The texts as tokens, some at a time, so that this can be stopped as well."""
    n_before = len(rows) - rows.n_texts(due)
    parts = []
    for start in range(0, len(texts), _TOKENIZED_AT_ONCE):
        on_news(EmbeddingNews(f"Cutting texts into tokens: {start:,} of {len(texts):,}", None, n_before, len(rows)))
        parts.append(encoder.prepare(texts[start : start + _TOKENIZED_AT_ONCE], prompt=prompt))
    return PreparedTexts.joined(parts)


def _embed(
    encoder: E5Encoder,
    prepared: PreparedTexts,
    rows: PartialVectors,
    due: RowArray,
    kept: VectorStore,
    progress: _Progress,
    name_of: Callable[[int], str],
) -> None:
    n_dropped = np.zeros(len(due), np.int32)
    for cut in prepared.report.truncated:
        n_dropped[cut.index] = cut.n_dropped
    read = TokenStats(prepared.batch.lengths, n_dropped, prepared.report.unknown_share)
    try:
        # The texts that are due all differ, so the row of each among the prepared ones is its place.
        for places, vectors in encoder.embed_batches(prepared, np.arange(len(due))):
            rows.keep(due[places], vectors, read.of(places))
            kept.note_use()
            progress.add(places)
    except NonFiniteError as error:
        spoilt = [int(due[index]) for index in error.indices]
        named = ", ".join(map(name_of, spoilt[:_FEW_NAMED]))
        raise NonFiniteError(
            f"The model gave no usable vector for {named}. Leave it out, or take another precision or model.", spoilt
        ) from error
