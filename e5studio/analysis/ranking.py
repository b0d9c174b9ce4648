"""How two settings order the same texts: ranks, what moved, and how well the orders agree.

A setting is a model, a prompt or a precision. Rows are queries, columns passages. Which setting is better can only be
said with relevance judgements (`e5studio.analysis.retrieval_metrics`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.analysis.correlation import scipy_stats
from e5studio.errors import VectorError
from e5studio.similarity import ignoring_underflow

Scores = NDArray[np.float32]
Ranks = NDArray[np.int32]
Values = NDArray[np.float64]


def ranks(scores: ArrayLike) -> Ranks:
    """The rank of each score in its row, 1 the highest; equal scores by position, NaN last."""
    known = np.asarray(scores)
    order = np.argsort(-known, axis=1, kind="stable")
    ranked = np.empty(known.shape, np.int32)
    np.put_along_axis(ranked, order, np.arange(1, known.shape[1] + 1, dtype=np.int32)[None, :], axis=1)
    return ranked


@ignoring_underflow
def softmax(scores: ArrayLike, temperature: float) -> Scores:
    """Each row's cosines x 100 as shares of 100 %, at a temperature such as that of the model's training; 0 for NaN."""
    logits = np.asarray(scores, np.float64) / 100 / temperature
    logits = np.where(np.isnan(logits), -np.inf, logits)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Scores = (100 * weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def kendall_tau(first: ArrayLike, second: ArrayLike) -> Values:
    """Kendall's tau-b of each row, -1 (reversed) to 1 (the same order).

    (pairs in the same order - pairs in the other) / sqrt((pairs not tied in the first) * (not tied in the second)):
    M. G. Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945.

    Args:
        first: Scores, shape (n_queries, n_passages); NaN where a pair doesn't count.
        second: Scores of the same pairs.

    Returns:
        Shape (n_queries,); NaN where a row has fewer than two passages or one side holds them all equal.

    Raises:
        VectorError: The shapes differ.
        MissingDependencyError: scipy is not installed.
    """
    one, other = _checked_pair(first, second)
    taus = np.full(len(one), np.nan)
    for row, (a, b) in enumerate(zip(one, other, strict=True)):
        both = np.isfinite(a) & np.isfinite(b)
        if np.count_nonzero(both) >= 2 and np.ptp(a[both]) and np.ptp(b[both]):
            taus[row] = scipy_stats().kendalltau(a[both], b[both]).statistic
    return taus


def top_k_overlap(first: ArrayLike, second: ArrayLike, k: int) -> Values:
    """For each row the share of the first's k best passages that are among the second's, 0 to 1.

    Args:
        first: Scores, shape (n_queries, n_passages); NaN where a pair doesn't count.
        second: Scores of the same pairs.
        k: Number of best passages; all passages of a row that has fewer.

    Raises:
        VectorError: The shapes differ, or k is below 1.
    """
    one, other = _checked_pair(first, second)
    if k < 1:
        raise VectorError(f"k is {k}, but at least one passage must count as best.")
    is_there = np.isfinite(one) & np.isfinite(other)
    n_best = np.minimum(k, is_there.sum(axis=1))
    among = [(ranks(side) <= n_best[:, None]) & is_there for side in (one, other)]
    with np.errstate(invalid="ignore"):
        shares: Values = (among[0] & among[1]).sum(axis=1) / n_best
    return shares


def _checked_pair(first: ArrayLike, second: ArrayLike) -> tuple[Values, Values]:
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.ndim != 2 or one.shape != other.shape:
        raise VectorError(
            f"Give two score matrices of the same pairs, (n_queries, n_passages) each; got {one.shape} and "
            f"{other.shape}."
        )
    return one, other
