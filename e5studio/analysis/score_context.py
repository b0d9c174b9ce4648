"""Is a score high? Where it stands among other scores. The score itself is never changed.

E5 models are trained at a temperature of 0.01, so that unrelated texts score 70 and more; the model
cards say that only the order matters. What helps to read one number is its company.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from e5studio.errors import VectorError

MIN_OTHERS = 5
"""A place among fewer says nothing."""


@dataclass(frozen=True)
class Place:
    """Where a score stands among others.

    Attributes:
        percentile: Share of the others below it, ties counting half, 0 to 1.
        z_score: (score - mean of the others) / their standard deviation; None where they are all alike.
        n_others: How many there are.
    """

    percentile: float
    z_score: float | None
    n_others: int


def place_among(score: float, others: ArrayLike) -> Place | None:
    """The place of a score among others; None where there are fewer than `MIN_OTHERS`.

    Args:
        score: On any scale.
        others: On the same scale, any shape; the score itself is not among them, NaN is passed over.

    Raises:
        VectorError: The score is NaN or infinite.
    """
    if not np.isfinite(score):
        raise VectorError(f"score={score!r} has no place among numbers.")
    known = np.asarray(others, np.float64).ravel()
    known = known[np.isfinite(known)]
    if len(known) < MIN_OTHERS:
        return None
    below = np.count_nonzero(known < score) + np.count_nonzero(known == score) / 2
    spread = float(known.std(ddof=1))
    z_score = float(score - known.mean()) / spread if spread > 1e-9 * max(1.0, float(np.abs(known).max())) else None
    return Place(float(below / len(known)), z_score, len(known))
