"""How often each vector is among the nearest of others, and how unevenly.

M. Radovanović, A. Nanopoulos and M. Ivanović, "Hubs in space: popular nearest neighbors in high-dimensional data",
JMLR 11, 2010.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def k_occurrences(neighbours: ArrayLike, n: int) -> NDArray[np.int64]:
    """N_k of each of n vectors: the number of nearest-neighbour lists that contain it.

    Args:
        neighbours: Rows of the k nearest of each of m vectors, (m, k), as `TopK.ids`.
        n: Number of vectors.

    Returns:
        Shape (n,); the mean is m k / n.
    """
    return np.bincount(np.asarray(neighbours, np.int64).ravel(), minlength=n)


def skewness(values: ArrayLike) -> float:
    """The third standardised moment: 0 for an even spread, high where a few values are far above the others."""
    known = np.asarray(values, np.float64)
    if not len(known):
        return 0.0
    centred = known - known.mean()
    spread = np.sqrt(np.square(centred).mean())
    return float(np.mean((centred / spread) ** 3)) if spread > 0 else 0.0
