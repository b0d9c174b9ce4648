"""How far a map can be trusted: whether its neighbours are the true ones. Draws and places nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.analysis.projection import row_parts
from e5studio.errors import VectorError
from e5studio.similarity import FloatArray, TopK, as_rows, ignoring_underflow, require_finite, unit_rows

_ROUNDING = 1e-6


@ignoring_underflow
def trustworthiness(
    embeddings: ArrayLike, coordinates: ArrayLike, n_neighbors: int, *, rows_of: ArrayLike | None = None
) -> float:
    """How far neighbours on the map are true neighbours, 0 to 1 (Venna and Kaski, 2001).

    1 - 2 / (n k (2n - 3k - 1)) * sum of (r(i, j) - k) over the k nearest points j of i on the map
    whose rank r(i, j) by cosine exceeds k. Vectors of equal cosine share the best of their ranks.
    Compares all pairs (those of `rows_of` with all), in blocks.

    Args:
        embeddings: Shape (n, dim).
        coordinates: The map of the same vectors, shape (n, n_components).
        n_neighbors: k, at least 1 and less than n / 2.
        rows_of: The points i, (m,): a random sample estimates the mean over all. None: all.

    Raises:
        VectorError: n_neighbors is out of range, or the arrays differ in length.
        NonFiniteError: An array holds NaN or infinity; `indices` says where.
    """
    rows, points = unit_rows(as_rows(embeddings)), as_rows(coordinates, "coordinates").astype(np.float64)
    require_finite(points, "coordinates")
    n = len(rows)
    if len(points) != n:
        raise VectorError(f"There are {n} embeddings and {len(points)} coordinates; each vector needs its point.")
    if not 1 <= n_neighbors < n / 2:
        raise VectorError(
            f"n_neighbors is {n_neighbors}, but trustworthiness of {n} points is defined from 1 neighbour "
            f"to fewer than {n / 2:g}."
        )
    own = _rows_or_all(rows_of, n)
    excess = sum(_excess_of_ranks(rows, points, own[part], n_neighbors) for part in row_parts(len(own), n))
    return 1 - 2 * excess / (len(own) * n_neighbors * (2 * n - 3 * n_neighbors - 1))


def kept_neighbours(
    neighbours: TopK, coordinates: ArrayLike, *, rows_of: ArrayLike | None = None
) -> NDArray[np.float64]:
    """For each point the share of its k true neighbours that are among the k nearest on the map, 0 to 1.

    Args:
        neighbours: From `nearest_neighbours`, k of each.
        coordinates: The map of the same vectors, shape (n, n_components).
        rows_of: The points of these neighbours, (m,); None: all.

    Returns:
        Shape (m,).

    Raises:
        VectorError: The arrays differ in length.
    """
    points = as_rows(coordinates, "coordinates").astype(np.float64)
    own = _rows_or_all(rows_of, len(points))
    n, k = neighbours.ids.shape
    if len(own) != n:
        raise VectorError(f"There are neighbours of {n} vectors and {len(own)} coordinates; each needs its point.")
    if not k:
        return np.ones(n)
    shares = np.empty(n)
    for part in row_parts(n, len(points)):
        apart = _squares_apart(points, own[part])
        near = np.argpartition(apart, k - 1, axis=1)[:, :k]
        shares[part] = (neighbours.ids[part, :, None] == near[:, None]).any(axis=2).mean(axis=1)
    return shares


def _rows_or_all(rows_of: ArrayLike | None, n: int) -> NDArray[np.int64]:
    return np.arange(n) if rows_of is None else np.asarray(rows_of, np.int64)


def _squares_apart(points: NDArray[np.float64], own: NDArray[np.int64]) -> NDArray[np.float64]:
    """Squared distances of some points from all, infinite from themselves."""
    apart = np.zeros((len(own), len(points)))
    for axis in points.T:
        apart += np.square(axis[own, None] - axis)
    apart[np.arange(len(own)), own] = np.inf
    return apart


def _excess_of_ranks(rows: FloatArray, points: NDArray[np.float64], own: NDArray[np.int64], k: int) -> int:
    """Sum of (rank by cosine - k), where positive, over the k nearest on the map of the points of one block."""
    each = np.arange(len(own))
    nearest = np.argpartition(_squares_apart(points, own), k - 1, axis=1)[:, :k]
    cosines = rows[own] @ rows.T
    cosines[each, own] = -np.inf
    excess = 0
    for column in nearest.T:
        level = cosines[each, column] + np.float32(_ROUNDING)
        ranks = 1 + np.count_nonzero(cosines > level[:, None], axis=1)
        excess += int(np.maximum(ranks - k, 0).sum())
    return excess
