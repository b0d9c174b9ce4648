"""How a set of vectors lies: the cosines of its random pairs, and how many directions it really uses.

Figures, no verdict: what is high or low depends on the model and on how many vectors there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.similarity import FloatArray, RealArray, as_rows, pairwise_cos_sim, unit_rows

_PAIRS_AT_ONCE = 2_000
_ROWS_AT_ONCE = 4_096
_NO_VARIANCE = 1e-10  # of unit vectors that are equal but for float32's rounding


@dataclass(frozen=True)
class PairCosines:
    """Cosines of pairs of different vectors of a set.

    Attributes:
        cosines: float32 (m,).
        is_all: These are all pairs, not some drawn at random.
    """

    cosines: FloatArray
    is_all: bool

    @property
    def mean(self) -> float:
        """Of all pairs looked at: the measure of anisotropy of Ethayarajh (EMNLP 2019)."""
        return float(self.cosines.mean(dtype=np.float64))

    @property
    def spread(self) -> float:
        """Standard deviation."""
        return float(self.cosines.std(dtype=np.float64))


def pair_cosines(embeddings: ArrayLike, *, max_pairs: int = 20_000, seed: int = 0) -> PairCosines:
    """Cosines of all pairs of vectors, or of as many drawn at random; no vector meets itself.

    Args:
        embeddings: Shape (n, dim); need not be normalised. Rows of zeros stand for no text and are left out.
        max_pairs: With more pairs than that, so many are drawn, with replacement.
        seed: The same seed draws the same pairs.

    Raises:
        VectorError: `embeddings` is no array of real vectors.
        NonFiniteError: A vector holds NaN or infinity; `indices` says which.
    """
    rows = _without_zeros(as_rows(embeddings))
    n = len(rows)
    is_all = n * (n - 1) // 2 <= max_pairs
    if is_all:
        one, other = np.triu_indices(n, 1)
    else:
        draw = np.random.default_rng(seed)
        one = draw.integers(n, size=max_pairs)
        other = (one + draw.integers(1, n, size=max_pairs)) % n
    cosines = np.empty(len(one), np.float32)
    for start in range(0, len(one), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        cosines[part] = pairwise_cos_sim(rows[one[part]], rows[other[part]])
    return PairCosines(cosines, is_all)


def effective_rank(embeddings: ArrayLike) -> float:
    """In how many directions vectors vary, counted by their share: exp of the entropy of the singular values.

    O. Roy and M. Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007. Here of the
    vectors at unit length with their mean taken away; without that, the one direction that all E5 vectors share
    would count most. At most min(n - 1, dim).

    Args:
        embeddings: Shape (n, dim); need not be normalised. Rows of zeros are left out.

    Returns:
        1.0 where all vary in one direction; 0.0 where they do not vary at all.

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


def _gram_of_centred(rows: RealArray) -> NDArray[np.float64]:
    """The smaller of X Xᵀ and Xᵀ X, whose eigenvalues are the squared singular values; in blocks, in float64."""
    mean = np.zeros(rows.shape[1])
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        mean += unit_rows(rows[start : start + _ROWS_AT_ONCE]).sum(axis=0, dtype=np.float64)
    mean /= len(rows)
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
