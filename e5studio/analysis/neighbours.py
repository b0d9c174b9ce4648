"""The nearest other vectors of every vector in a set, exactly, by cosine.

Used for the lines on the map, UMAP and trustworthiness.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.errors import VectorError
from e5studio.similarity import RealArray, TopK, as_rows, top_k_search

OnProgress = Callable[[int, int], None]
"""Called with the number done and the number of all; an exception that it raises ends the work."""

_QUERIES_AT_ONCE = 2048


def nearest_neighbours(
    embeddings: ArrayLike,
    *,
    n_neighbors: int,
    rows_of: ArrayLike | None = None,
    on_progress: OnProgress | None = None,
) -> TopK:
    """For each vector the other vectors of highest cosine, best first; copies of it count as others.

    Exact, in blocks, with the ties and the limits of `top_k_search`.

    Args:
        embeddings: Shape (n, dim); need not be normalised.
        n_neighbors: Neighbours of each vector; all n - 1 others if there are fewer.
        rows_of: Rows whose neighbours to find, (m,); None: all n.
        on_progress: Called with the number of rows done and of all.

    Returns:
        Scores and ids, each of shape (m, min(n_neighbors, n - 1)).

    Raises:
        VectorError: `embeddings` is not an array of real vectors, or n_neighbors is below 1.
        NonFiniteError: A vector holds NaN or infinity; `indices` says which.
    """
    rows = as_rows(embeddings)
    if n_neighbors < 1:
        raise VectorError(f"n_neighbors is {n_neighbors}, but a vector needs at least one neighbour.")
    queries = np.arange(len(rows)) if rows_of is None else np.asarray(rows_of, np.int64)
    shape = (len(queries), max(min(n_neighbors, len(rows) - 1), 0))
    near = TopK(np.empty(shape, np.float32), np.empty(shape, np.int64))
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        part = slice(start, start + _QUERIES_AT_ONCE)
        near.scores[part], near.ids[part] = _others(rows, queries[part], shape[1])
        if on_progress is not None:
            on_progress(min(start + _QUERIES_AT_ONCE, len(queries)), len(queries))
    return near


def _others(rows: RealArray, queries: NDArray[np.int64], count: int) -> TopK:
    """The best others of some rows."""
    best = top_k_search(rows[queries], rows, top_k=count + 1)
    itself = best.ids == queries[:, None]
    # A vector with many copies of lower id is not in its own list; then the last of the list is dropped.
    itself[~itself.any(axis=1), -1] = True
    shape = (len(queries), count)
    return TopK(best.scores[~itself].reshape(shape), best.ids[~itself].reshape(shape))
