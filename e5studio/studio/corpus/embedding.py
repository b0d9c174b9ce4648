"""Embeds a corpus in a run that can be stopped at any batch and resumed.

Order and batches are those of the encoder over all texts at once, so it takes no longer than that; other visitors
can use the processor between any two batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from e5studio.encoder import E5Encoder
from e5studio.errors import NonFiniteError
from e5studio.prepared_texts import PreparedTexts
from e5studio.prompts import Prompt
from e5studio.similarity import FloatArray
from e5studio.studio.corpus.corpus import Corpus, CorpusSetting, EmbeddedCorpus
from e5studio.studio.corpus.vector_store import PartialVectors, RowArray, TokenStats, VectorStore
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.prompt_modes import prompt_arguments, valid_prompt_mode
from e5studio.studio.formatting import listed

_TOKENIZED_AT_ONCE = 1024
_SECONDS_UNTIL_SPEED = 1.0
_MAX_NAMED = 10


@dataclass(frozen=True)
class EmbeddingProgress:
    """How far a run is.

    Attributes:
        doing: The present step, in words.
        share: Of all tokens embedded (while downloading, of the bytes); None if unknown.
        n_done: Texts with vectors, those from earlier runs included.
        n_texts: Of the corpus.
        texts_per_second: Since this run began to embed; None in its first second.
        seconds_left: At the speed so far; None in its first second.
    """

    doing: str
    share: float | None
    n_done: int
    n_texts: int
    texts_per_second: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class EmbeddedTexts:
    """Texts with all their vectors.

    Attributes:
        vectors: The vectors, and what the model reads of each text.
        new_rows: Rows that this run embedded, each different text once.
        seconds: What that took, without loading the model.
    """

    vectors: PartialVectors
    new_rows: RowArray
    seconds: float

    @property
    def n_embedded(self) -> int:
        """Texts that this run embedded; the others' vectors were known."""
        return self.vectors.n_texts(self.new_rows)

    @property
    def n_truncated(self) -> int:
        """Texts longer than the model reads."""
        return int(np.count_nonzero(self.vectors.tokens.n_dropped))


OnEmbeddingProgress = Callable[[EmbeddingProgress], None]
"""What it raises, such as StoppedError, stops the run; vectors computed so far stay in the store."""


def embed_corpus(
    engine: Engine, corpus: Corpus, setting: CorpusSetting, store: VectorStore, on_progress: OnEmbeddingProgress
) -> EmbeddedCorpus:
    """Embed the texts of a corpus that have no vectors yet, the longest first.

    Args:
        engine: Gives the encoder.
        corpus: The texts.
        setting: How to embed them; a prompt mode that the model lacks becomes its usual one.
        store: The visitor's vectors; receives each batch once it is computed.
        on_progress: Called for every batch.

    Raises:
        E5StudioError: Anything that a person can put right; the message says how.
        StoppedError: `on_progress` stopped the run.
    """
    meta = engine.catalog.offered(setting.model)
    setting = replace(setting, prompt_mode=valid_prompt_mode(meta.prompt_kind, setting.prompt_mode))
    arguments = prompt_arguments(meta.prompt_kind, setting.prompt_mode, "passage", setting.instruction)

    def on_stage(share: float | None, doing: str) -> None:
        on_progress(EmbeddingProgress(doing, share, 0, len(corpus)))

    with engine.corpus_encoder(meta, on_stage, setting.dtype, setting.backend, corpus.texts) as encoder:
        prompt = encoder.resolve_prompt(**arguments)
        documents = embed_documents(encoder, corpus, prompt, store, on_progress)
        spec = encoder.spec
        reads_end_spaces = encoder.reads_end_spaces
    tokens = documents.vectors.tokens
    return EmbeddedCorpus(
        corpus=corpus,
        setting=setting,
        meta=meta,
        spec=spec,
        prompt=prompt.text,
        vectors=documents.vectors.complete(),
        n_tokens=tokens.n_tokens,
        n_truncated=documents.n_truncated,
        n_dropped=tokens.n_dropped,
        unknown_share=tokens.unknown_share,
        reads_end_spaces=reads_end_spaces,
        n_embedded=documents.n_embedded,
        seconds=documents.seconds,
    )


def embed_documents(
    encoder: E5Encoder,
    corpus: Corpus,
    prompt: Prompt,
    store: VectorStore,
    on_progress: OnEmbeddingProgress,
    known: FloatArray | None = None,
) -> EmbeddedTexts:
    """As `embed_corpus`, with an encoder at hand, and `known` as in `embed_texts`."""
    return embed_texts(
        encoder,
        corpus.documents,
        prompt,
        store,
        on_progress,
        lambda row: f"the text on line {corpus.lines[row]:,}",
        known,
    )


def embed_texts(
    encoder: E5Encoder,
    texts: Sequence[str],
    prompt: Prompt,
    store: VectorStore,
    on_progress: OnEmbeddingProgress,
    name_of: Callable[[int], str],
    known: FloatArray | None = None,
) -> EmbeddedTexts:
    """Embed texts that have no vectors yet, the longest first.

    Args:
        encoder: Embeds.
        texts: All of them.
        prompt: In front of each.
        store: Receives each batch once it is computed.
        on_progress: Called for every batch.
        name_of: Row -> the name of its text in an error.
        known: The vectors of all texts, where the encoder has made them before; the texts are only tokenised then.

    Raises:
        NonFiniteError: The model gave no usable vector for a text; `indices` says which.
        StoppedError: `on_progress` stopped the run.
    """
    started = time.perf_counter()
    vectors = store.open(encoder.spec.fingerprint, prompt.text, texts, encoder.spec.embed_dim)
    missing = vectors.missing_rows()
    if len(missing):
        prepared = _prepare(encoder, texts, prompt, vectors, missing, on_progress)
        if known is not None:
            vectors.add(missing, known[missing], TokenStats.of_report(prepared.report))
            missing = missing[:0]
    if len(missing):
        _embed(
            encoder, prepared, vectors, missing, store, _BatchProgress(vectors, missing, prepared, on_progress), name_of
        )
    vectors.complete()
    return EmbeddedTexts(vectors, missing, time.perf_counter() - started)


class _BatchProgress:
    """Reports each batch."""

    def __init__(
        self, vectors: PartialVectors, missing: RowArray, prepared: PreparedTexts, on_progress: OnEmbeddingProgress
    ) -> None:
        self._on_progress = on_progress
        self._lengths = prepared.batch.lengths
        self._copies = np.bincount(vectors.first_equal_row, minlength=len(vectors))[missing]  # texts equal to each
        self._n_texts = len(vectors)
        self._n_before = len(vectors) - int(self._copies.sum())
        self._n_tokens = int(self._lengths.sum())
        self._texts_done = self._tokens_done = 0
        self._started = time.perf_counter()

    def add(self, batch: RowArray) -> None:
        """Report a batch, given as indices of the missing rows."""
        self._texts_done += int(self._copies[batch].sum())
        self._tokens_done += int(self._lengths[batch].sum())
        seconds = time.perf_counter() - self._started
        has_speed = seconds >= _SECONDS_UNTIL_SPEED
        self._on_progress(
            EmbeddingProgress(
                "Embedding",
                self._tokens_done / self._n_tokens,
                self._n_before + self._texts_done,
                self._n_texts,
                self._texts_done / seconds if has_speed else None,
                (self._n_tokens - self._tokens_done) / self._tokens_done * seconds if has_speed else None,
            )
        )


def _prepare(
    encoder: E5Encoder,
    texts: Sequence[str],
    prompt: Prompt,
    vectors: PartialVectors,
    missing: RowArray,
    on_progress: OnEmbeddingProgress,
) -> PreparedTexts:
    """Tokenise the missing texts in parts, so that this can be stopped, too."""
    n_before = len(vectors) - vectors.n_texts(missing)
    parts = []
    for start in range(0, len(missing), _TOKENIZED_AT_ONCE):
        doing = f"Cutting texts into tokens: {start:,} of {len(missing):,}"
        on_progress(EmbeddingProgress(doing, None, n_before, len(vectors)))
        rows = missing[start : start + _TOKENIZED_AT_ONCE]
        # A text of which the model reads nothing doesn't stop thousands; it counts as unknown from end to end.
        parts.append(encoder.prepare([texts[row] for row in rows], prompt=prompt, allow_empty=True))
    return PreparedTexts.joined(parts)


def _embed(
    encoder: E5Encoder,
    prepared: PreparedTexts,
    vectors: PartialVectors,
    missing: RowArray,
    store: VectorStore,
    progress: _BatchProgress,
    name_of: Callable[[int], str],
) -> None:
    tokens = TokenStats.of_report(prepared.report)
    try:
        # The missing texts all differ, so each has the row of its own index among the prepared ones.
        for batch, batch_vectors in encoder.embed_batches(prepared, np.arange(len(missing))):
            vectors.add(missing[batch], batch_vectors, tokens.of(batch))
            store.note_use()
            progress.add(batch)
    except NonFiniteError as error:
        rows = [int(missing[index]) for index in error.indices]
        raise NonFiniteError(
            f"The model gave no usable vector for {listed(map(name_of, rows), _MAX_NAMED)}. Leave it out, or take "
            "another precision or model.",
            rows,
        ) from error
