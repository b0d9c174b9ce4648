"""Where the answers of each query stand under a setting, what stands above them, and who wins of two. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from e5studio.similarity import FloatArray

N_ABOVE = 3
"""Texts that are shown above an answer."""

_QUERIES_AT_ONCE = 256


@dataclass(frozen=True)
class AnswerRanks:
    """The best-placed answer of each query, and the texts at the top.

    Attributes:
        ranks: Of the answer, from 1, (n,); of equal scores, the answer comes first.
        answers: Its row, (n,).
        scores: Its cosine x 100, (n,).
        top_rows: The texts of the highest scores, (n, N_ABOVE), or fewer columns in a smaller corpus.
        top_scores: Their cosine x 100.
    """

    ranks: NDArray[np.int64]
    answers: NDArray[np.int64]
    scores: FloatArray
    top_rows: NDArray[np.int64]
    top_scores: FloatArray

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
    top_rows, top_scores = np.zeros((n, depth), np.int64), np.zeros((n, depth), np.float32)
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
    return AnswerRanks(ranks, answers, answer_scores, top_rows, top_scores)


def duel(first: AnswerRanks, second: AnswerRanks) -> Duel:
    """Compare two settings on the same queries."""
    gain = first.ranks - second.ranks
    wins, losses = np.flatnonzero(gain > 0), np.flatnonzero(gain < 0)
    return Duel(
        wins=wins[np.argsort(-gain[wins], kind="stable")],
        losses=losses[np.argsort(gain[losses], kind="stable")],
        n_ties=int((gain == 0).sum()),
    )
