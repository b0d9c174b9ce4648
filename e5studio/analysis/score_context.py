"""Whether a score is high: its percentile among other scores. The score itself is never changed.

E5 models are trained at a temperature of 0.01, so that unrelated texts score 70 and more; the model
cards say that only the order matters. So a score is compared with others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from e5studio.errors import VectorError

MIN_OTHERS = 5
"""Fewer other scores give no percentile."""


@dataclass(frozen=True)
class Place:
    """The position of a score among others.

    Attributes:
        percentile: Share of the others below it, ties counting half, 0 to 1.
        z_score: (score - mean of the others) / their standard deviation; None if they are all equal.
        n_others: Number of other scores.
    """

    percentile: float
    z_score: float | None
    n_others: int


def place_among(score: float, others: ArrayLike) -> Place | None:
    """The position of a score among others; None if there are fewer than `MIN_OTHERS`.

    Args:
        score: On any scale.
        others: On the same scale, any shape; without the score itself; NaN is ignored.

    Raises:
        VectorError: The score is NaN or infinite.
    """
    if not np.isfinite(score):
        raise VectorError(f"score={score!r} has no position among numbers.")
    known = np.asarray(others, np.float64).ravel()
    known = known[np.isfinite(known)]
    if len(known) < MIN_OTHERS:
        return None
    below = np.count_nonzero(known < score) + np.count_nonzero(known == score) / 2
    spread = float(known.std(ddof=1))
    z_score = float(score - known.mean()) / spread if spread > 1e-9 * max(1.0, float(np.abs(known).max())) else None
    return Place(float(below / len(known)), z_score, len(known))
