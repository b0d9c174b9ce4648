"""Where the answers of each query stand under a setting, what stands above them and why, and who wins of two. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from e5studio.analysis.duplicates import near_threshold
from e5studio.similarity import FloatArray

N_ABOVE = 3
"""Texts that are shown above an answer."""

_QUERIES_AT_ONCE = 256
_WORD = re.compile(r"\w{4,}")  # shorter ones are "can" and "the" in most languages
_N_SAMPLED = 2_000  # texts in which words are counted
_COMMON_SHARE = 0.1


@dataclass(frozen=True)
class AnswerRanks:
    """The best-placed answer of each query, and the texts at the top.

    Attributes:
        ranks: Of the answer, from 1, (n,); of equal scores, the answer comes first.
        answers: Its row, (n,).
        scores: Its cosine x 100, (n,).
        top_rows: The texts of the highest scores, (n, N_ABOVE), or fewer columns in a smaller corpus.
        top_scores: Their cosine x 100.
        likeness: The cosine of each of these texts with the answer.
        near: The cosine from which two texts of the corpus count as nearly the same.
    """

    ranks: NDArray[np.int64]
    answers: NDArray[np.int64]
    scores: FloatArray
    top_rows: NDArray[np.int64]
    top_scores: FloatArray
    likeness: FloatArray
    near: float

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.ranks)

    def n_within(self, k: int) -> int:
        """Queries whose answer is among the first k."""
        return int((self.ranks <= k).sum())

    def worst_first(self) -> NDArray[np.int64]:
        """The queries, those with the deepest answers first."""
        return np.argsort(-self.ranks, kind="stable")


@dataclass(frozen=True)
class Duel:
    """Two settings on the same queries, by the ranks of the answers.

    Attributes:
        wins: Queries whose answer the second setting ranks higher, the largest gain first.
        losses: Queries whose answer it ranks lower, the largest loss first.
        n_ties: All others.
    """

    wins: NDArray[np.int64]
    losses: NDArray[np.int64]
    n_ties: int


def answer_ranks(queries: FloatArray, documents: FloatArray, relevant: Sequence[Sequence[int]]) -> AnswerRanks:
    """Rank the answers of each query.

    Args:
        queries: Unit vectors, (n, dim).
        documents: Unit vectors of the corpus.
        relevant: For each query the rows that answer it, at least one.
    """
    n, depth = len(queries), min(N_ABOVE, len(documents))
    ranks, answers = np.zeros(n, np.int64), np.zeros(n, np.int64)
    answer_scores = np.zeros(n, np.float32)
    top_rows = np.zeros((n, depth), np.int64)
    top_scores, likeness = np.zeros((n, depth), np.float32), np.zeros((n, depth), np.float32)
    for start in range(0, n, _QUERIES_AT_ONCE):
        scores = 100 * (queries[start : start + _QUERIES_AT_ONCE] @ documents.T)
        for query, own in enumerate(scores, start):
            rows = np.asarray(relevant[query])
            answers[query] = rows[own[rows].argmax()]
            answer_scores[query] = own[answers[query]]
            ranks[query] = 1 + np.count_nonzero(own > answer_scores[query])
            top = np.argpartition(-own, depth - 1)[:depth]
            top_rows[query] = top[np.argsort(-own[top], kind="stable")]
            top_scores[query] = own[top_rows[query]]
            likeness[query] = documents[top_rows[query]] @ documents[answers[query]]
    near = near_threshold(_mean_cosine(documents))
    return AnswerRanks(ranks, answers, answer_scores, top_rows, top_scores, likeness, near)


def _mean_cosine(vectors: FloatArray) -> float:
    """Of all pairs of different rows, from the mean of the unit vectors; 1 where there is one row."""
    n = len(vectors)
    of_all = float(np.square(vectors.mean(axis=0, dtype=np.float64)).sum())
    return (n * of_all - 1) / (n - 1) if n > 1 else 1.0


@dataclass(frozen=True)
class Reasons:
    """What can be seen of why a text stands above an answer. None of it proves the cause.

    Attributes:
        is_copy: It is the answer's text again.
        is_near: It is nearly the answer's text.
        n_dropped: Tokens of the answer that the model does not read.
        unknown_share: Of the query's tokens, 0 to 1.
        words: Words of the query that it has and the answer lacks, words of many texts left out.
    """

    is_copy: bool
    is_near: bool
    n_dropped: int
    unknown_share: float
    words: tuple[str, ...]


def common_words(texts: Sequence[str]) -> frozenset[str]:
    """The words of many of the texts, which tell none of them from the others."""
    sample = texts[:: -(-len(texts) // _N_SAMPLED)]
    counts = Counter(word for text in sample for word in _words(text))
    return frozenset(word for word, n in counts.items() if n > max(2, _COMMON_SHARE * len(sample)))


def query_words(query: str, above: str, answer: str, common: Collection[str]) -> tuple[str, ...]:
    """Words of a query, in its order, that the text above the answer has and the answer lacks."""
    only_above = _words(above) - _words(answer)
    words = dict.fromkeys(_WORD.findall(query.casefold()))
    return tuple(word for word in words if word in only_above and word not in common)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


def duel(first: AnswerRanks, second: AnswerRanks) -> Duel:
    """Compare two settings on the same queries."""
    gain = first.ranks - second.ranks
    wins, losses = np.flatnonzero(gain > 0), np.flatnonzero(gain < 0)
    return Duel(
        wins=wins[np.argsort(-gain[wins], kind="stable")],
        losses=losses[np.argsort(gain[losses], kind="stable")],
        n_ties=int((gain == 0).sum()),
    )
