"""The nearest other vectors of every vector in a set, exactly, by cosine.

They serve the lines on the map, UMAP, and the figure that says how far a map can be trusted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.errors import VectorError
from e5studio.similarity import RealArray, TopK, as_rows, top_k_search

OnProgress = Callable[[int, int], None]
"""Called with what is done and what there is in all; what it raises ends the work."""

_QUERIES_AT_ONCE = 2048


def nearest_neighbours(
    embeddings: ArrayLike,
    *,
    n_neighbors: int,
    rows_of: ArrayLike | None = None,
    on_progress: OnProgress | None = None,
) -> TopK:
    """For each vector the others of highest cosine, best first; itself is left out, its copies are not.

    Exact, in blocks, with the ties and the limits of `top_k_search`.

    Args:
        embeddings: Shape (n, dim); need not be normalised.
        n_neighbors: Neighbours of each vector; all n - 1 others where there are fewer.
        rows_of: Rows whose neighbours are asked for, (m,); all n if None.
        on_progress: Told of the rows whose neighbours are found.

    Returns:
        Scores and ids, each of shape (m, min(n_neighbors, n - 1)).

    Raises:
        VectorError: `embeddings` is no array of real vectors, or n_neighbors is below 1.
        NonFiniteError: A vector holds NaN or infinity; `indices` says which.
    """
    rows = as_rows(embeddings)
    if n_neighbors < 1:
        raise VectorError(f"n_neighbors is {n_neighbors}, but a vector needs at least one neighbour.")
    asked = np.arange(len(rows)) if rows_of is None else np.asarray(rows_of, np.int64)
    shape = (len(asked), max(min(n_neighbors, len(rows) - 1), 0))
    near = TopK(np.empty(shape, np.float32), np.empty(shape, np.int64))
    for start in range(0, len(asked), _QUERIES_AT_ONCE):
        part = slice(start, start + _QUERIES_AT_ONCE)
        near.scores[part], near.ids[part] = _others(rows, asked[part], shape[1])
        if on_progress is not None:
            on_progress(min(start + _QUERIES_AT_ONCE, len(asked)), len(asked))
    return near


def _others(rows: RealArray, asked: NDArray[np.int64], count: int) -> TopK:
    """The best others of some rows."""
    found = top_k_search(rows[asked], rows, top_k=count + 1)
    itself = found.ids == asked[:, None]
    # A vector with many copies of lower id isn't in its own list; then the last of the list is one too many.
    itself[~itself.any(axis=1), -1] = True
    shape = (len(asked), count)
    return TopK(found.scores[~itself].reshape(shape), found.ids[~itself].reshape(shape))
