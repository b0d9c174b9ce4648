"""Searches an embedded corpus, and finds which words of the hits carry their scores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from e5studio.analysis.attribution import WordShares, word_shares
from e5studio.encoder import E5Encoder
from e5studio.errors import FingerprintMismatchError, TextError, VectorError
from e5studio.prepared_texts import TokenEmbeddings
from e5studio.prompts import Prompt, resolve_prompt
from e5studio.similarity import FloatArray
from e5studio.studio.corpus.corpus import EmbeddedCorpus
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.progress import ignore_progress
from e5studio.studio.engine.prompt_modes import prompt_arguments
from e5studio.studio.why.explanation import TextReading, common_part, text_reading
from e5studio.text_checks import find_bad_texts

_STEPS = (0.25, 0.5, 0.75)  # shares of the strongest word from which a word counts as weak, clear, strong


@dataclass(frozen=True)
class SearchHit:
    """A passage near the query.

    Attributes:
        row: Of the corpus.
        label: Its name.
        score: Cosine x 100.
        text: The passage.
        title: Its title, or "".
    """

    row: int
    label: str
    score: float
    text: str
    title: str


@dataclass(frozen=True)
class SearchResult:
    """The hits of a query.

    Attributes:
        query: As typed; the name of the text in a search for more like it.
        prompt: In front of it.
        like: Row of the text that the others are compared with; None for a query that was typed.
        hits: The best first.
        scores: Cosine x 100 of every text of the corpus, (n,), which may colour a map.
        is_truncated: Whether the query is longer than the model reads.
        seconds: What it took, without loading the model.
        of: Key of the embedded corpus.
        n_matching: How many texts the filter leaves to find.
    """

    query: str
    prompt: Prompt
    hits: tuple[SearchHit, ...]
    scores: FloatArray
    is_truncated: bool
    seconds: float
    of: str
    n_matching: int
    like: int | None = None


@dataclass(frozen=True)
class CarryingWords:
    """Which words of a passage carry its score for a query.

    Attributes:
        row: Of the corpus.
        passage: The embedded text with its title, as the model reads it.
        shares: What each of `passage.words` adds to the score, in points, (n_words,); they add up to the score. None
            for models that pool the last token, where no sum over words gives the score.
        beyond_common: The same without what all texts of the corpus share, so that it has both signs; None where
            `shares` is.
    """

    row: int
    passage: TextReading
    shares: NDArray[np.float64] | None
    beyond_common: NDArray[np.float64] | None

    @property
    def strengths(self) -> dict[int, int]:
        """Index of a word -> 1, 2 or 3 as it carries the score weakly to strongly, negative where it lowers it."""
        if self.beyond_common is None or not len(self.beyond_common):
            return {}
        values = np.where(self._is_word, self.beyond_common, 0.0)
        strongest = float(np.abs(values).max()) or 1.0
        steps = np.sign(values) * np.searchsorted(_STEPS, np.abs(values) / strongest, side="right")
        return {index: int(steps[index]) for index in np.flatnonzero(steps).tolist()}

    def excerpt_start(self, max_characters: int) -> int:
        """Where to begin a long passage, so that the words that carry most of the score are in sight."""
        values = self.beyond_common
        if values is None or len(self.passage.text) <= max_characters:
            return 0
        starts, gains = self.passage.words.spans[self._is_word, 0], np.maximum(values[self._is_word], 0)
        if not len(starts):
            return 0
        sums = np.concatenate([[0.0], np.cumsum(gains)])
        in_excerpt = sums[np.searchsorted(starts, starts + max_characters)] - sums[:-1]
        best = int(in_excerpt.argmax())
        # The beginning tells what a text is about: it gives way only where another part is clearly better.
        return int(starts[best]) if in_excerpt[best] > 1.25 * in_excerpt[0] else 0

    @property
    def _is_word(self) -> NDArray[np.bool_]:
        return np.array([part == "word" for part in self.passage.words.parts])


def search_corpus(
    engine: Engine,
    embedded: EmbeddedCorpus,
    query: str,
    instruction: str | None = None,
    top_k: int = 10,
    among: NDArray[np.bool_] | None = None,
) -> SearchResult:
    """Find the passages nearest to a query.

    Args:
        engine: Gives the encoder.
        embedded: The corpus.
        query: In words.
        instruction: The task, for models that take one; that of the corpus' setting where None or blank.
        top_k: How many passages; all where there are fewer.
        among: Which texts may be found, (n,); all if None.

    Raises:
        TextError: There is no query.
        FingerprintMismatchError: The encoder is no longer the one that made the vectors.
    """
    _check_query(query)
    prompt = query_prompt(embedded, instruction)
    setting = embedded.setting
    with engine.encoder(embedded.meta, ignore_progress, setting.dtype, setting.backend) as encoder:
        if encoder.spec.fingerprint != embedded.fingerprint:
            raise FingerprintMismatchError(
                "The model is no longer loaded as it was when the texts were embedded. Embed them again."
            )
        started = time.perf_counter()
        prepared = encoder.prepare([query], prompt=prompt)
        vector = encoder.embed_prepared(prepared)
    scores = embedded.vectors @ (100 * vector[0])
    result = SearchResult(
        query=query,
        prompt=prompt,
        hits=(),
        scores=scores,
        is_truncated=bool(prepared.report.truncated),
        seconds=time.perf_counter() - started,
        of=embedded.key,
        n_matching=0,
    )
    return with_hits(embedded, result, top_k, among)


def search_like(
    embedded: EmbeddedCorpus, row: int, top_k: int = 10, among: NDArray[np.bool_] | None = None
) -> SearchResult:
    """Find the texts nearest to one of them, itself left out.

    Args:
        embedded: The corpus.
        row: Of the text.
        top_k: How many texts; all where there are fewer.
        among: Which texts may be found, (n,); all if None.
    """
    started = time.perf_counter()
    scores = embedded.vectors @ (100 * embedded.vectors[row])
    prompt = Prompt(embedded.prompt)
    seconds = time.perf_counter() - started
    result = SearchResult(embedded.corpus.label(row), prompt, (), scores, False, seconds, embedded.key, 0, row)
    return with_hits(embedded, result, top_k, among)


def with_hits(
    embedded: EmbeddedCorpus, result: SearchResult, top_k: int, among: NDArray[np.bool_] | None = None
) -> SearchResult:
    """The best hits of a search among some texts; of equal scores, the earlier text comes first."""
    rows = np.arange(len(result.scores)) if among is None else np.flatnonzero(among)
    rows = rows[rows != result.like] if result.like is not None else rows
    best = rows[np.argsort(-result.scores[rows], kind="stable")[:top_k]]
    hits = tuple(_hit(embedded, row, float(result.scores[row])) for row in best.tolist())
    return replace(result, hits=hits, n_matching=len(rows))


def query_prompt(embedded: EmbeddedCorpus, instruction: str | None = None) -> Prompt:
    """The prompt in front of a query to this corpus."""
    kind, setting = embedded.meta.prompt_kind, embedded.setting
    task = (instruction or "").strip() or setting.instruction
    return resolve_prompt(kind, **prompt_arguments(kind, setting.prompt_mode, "query", task))


def carrying_words(
    engine: Engine, embedded: EmbeddedCorpus, query: str, rows: Sequence[int], instruction: str | None = None
) -> tuple[CarryingWords, ...]:
    """Which words of some passages carry their scores for a query.

    Args:
        engine: Gives the encoder.
        embedded: The corpus.
        query: In words.
        rows: Of the corpus.
        instruction: That of the search.

    Raises:
        TextError: There is no query.
        VectorError: There is no such row.
        BackendError: No back end here gives the vectors of tokens.
    """
    _check_query(query)
    wrong = [row for row in rows if not 0 <= row < len(embedded.corpus)]
    if wrong:
        raise VectorError(f"The corpus has {len(embedded.corpus):,} texts and none at {wrong[0]}. Search again.")
    prompt = query_prompt(embedded, instruction)
    with engine.encoder_with_tokens(embedded.meta) as encoder:
        query_tokens = encoder.token_embeddings(query, prompt=prompt)
        return tuple(_carrying(encoder, embedded, query, query_tokens, row) for row in rows)


def _carrying(
    encoder: E5Encoder, embedded: EmbeddedCorpus, query: str, query_tokens: TokenEmbeddings, row: int
) -> CarryingWords:
    document = embedded.corpus.document(row)
    tokens = encoder.token_embeddings(document, prompt=embedded.prompt)
    passage = text_reading(embedded.corpus.label(row), document, tokens)
    if embedded.meta.pooling != "mean":
        return CarryingWords(row, passage, None, None)
    words = text_reading("", query, query_tokens).words, passage.words
    pair = query_tokens.vectors, tokens.vectors
    shares = word_shares(*pair, *words)
    centred = word_shares(*pair, *words, centre=common_part(embedded.mean, pair))
    return CarryingWords(row, passage, _points(shares), _points(centred))


def _points(shares: WordShares) -> NDArray[np.float64]:
    points: NDArray[np.float64] = 100 * shares.shares.sum(axis=0)
    return points


def _hit(embedded: EmbeddedCorpus, row: int, score: float) -> SearchHit:
    corpus = embedded.corpus
    title = corpus.titles[row] if corpus.titles else ""
    return SearchHit(row, corpus.label(row), score, corpus.texts[row], title)


def _check_query(query: str) -> None:
    if find_bad_texts([query]):
        raise TextError("There is no query. Write what you are looking for.", [0])
