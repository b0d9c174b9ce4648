"""The geometry of a set of vectors: cosines of its random pairs, and its effective number of directions.

Whether a number is high or low depends on the model and on the number of vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.similarity import FloatArray, RealArray, as_rows, ignoring_underflow, pairwise_cos_sim, unit_rows

_MAX_PAIRS = 20_000
_PAIRS_AT_ONCE = 2_000
_ROWS_AT_ONCE = 4_096
_NO_VARIANCE = 1e-10  # of equal unit vectors, from float32's rounding


@dataclass(frozen=True)
class PairCosines:
    """Cosines of pairs of different vectors of a set.

    Attributes:
        cosines: float32 (m,).
        is_all: Whether these are all pairs, not a random sample.
    """

    cosines: FloatArray
    is_all: bool

    @property
    def mean(self) -> float:
        """Mean cosine: the anisotropy of Ethayarajh (EMNLP 2019)."""
        return float(self.cosines.mean(dtype=np.float64))

    @property
    def spread(self) -> float:
        """Standard deviation."""
        return float(self.cosines.std(dtype=np.float64))


@ignoring_underflow
def pair_cosines(embeddings: ArrayLike) -> PairCosines:
    """Cosines of all pairs of different vectors, or of 20,000 random pairs, the same on each call.

    Args:
        embeddings: Shape (n, dim); need not be normalised. Rows of zeros stand for no text and are ignored.

    Raises:
        VectorError: `embeddings` is not an array of real vectors.
        NonFiniteError: A vector holds NaN or infinity; `indices` says which.
    """
    rows = _without_zeros(as_rows(embeddings))
    n = len(rows)
    is_all = n * (n - 1) // 2 <= _MAX_PAIRS
    if is_all:
        one, other = np.triu_indices(n, 1)
    else:
        draw = np.random.default_rng(0)
        one = draw.integers(n, size=_MAX_PAIRS)
        other = (one + draw.integers(1, n, size=_MAX_PAIRS)) % n
    cosines = np.empty(len(one), np.float32)
    for start in range(0, len(one), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        cosines[part] = pairwise_cos_sim(rows[one[part]], rows[other[part]])
    return PairCosines(cosines, is_all)


@ignoring_underflow
def effective_rank(embeddings: ArrayLike) -> float:
    """The effective number of directions in which vectors vary: exp of the entropy of the singular values.

    O. Roy and M. Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007. Computed of
    the vectors at unit length minus their mean; otherwise the one direction that all E5 vectors share would
    dominate. At most min(n - 1, dim).

    Args:
        embeddings: Shape (n, dim); need not be normalised. Rows of zeros are ignored.

    Returns:
        1.0 if all vary in one direction; 0.0 if they do not vary.

    Raises:
        VectorError, NonFiniteError: As `pair_cosines`.
    """
    rows = _without_zeros(as_rows(embeddings))
    if len(rows) < 2:
        return 0.0
    squares = np.linalg.eigvalsh(_gram_of_centred(rows)).clip(0)
    if squares.sum() <= _NO_VARIANCE * len(rows):
        return 0.0
    values = np.sqrt(squares)
    shares = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def mean_vector(embeddings: RealArray, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean of some vectors at unit length, in blocks."""
    total = np.zeros(embeddings.shape[1])
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        total += unit_rows(embeddings[rows[start : start + _ROWS_AT_ONCE]]).sum(axis=0, dtype=np.float64)
    return total / len(rows)


def _gram_of_centred(rows: RealArray) -> NDArray[np.float64]:
    """The smaller of X Xᵀ and Xᵀ X, whose eigenvalues are the squared singular values; in blocks, in float64."""
    mean = mean_vector(rows, np.arange(len(rows)))
    if len(rows) <= min(rows.shape[1], _ROWS_AT_ONCE):
        centred = unit_rows(rows) - mean
        return centred @ centred.T
    gram = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        centred = unit_rows(rows[start : start + _ROWS_AT_ONCE]) - mean
        gram += centred.T @ centred
    return gram


def _without_zeros(rows: RealArray) -> RealArray:
    is_there = rows.any(axis=1)
    return rows if is_there.all() else rows[is_there]
