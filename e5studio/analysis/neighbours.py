"""The nearest other vectors of every vector in a set, exactly, by cosine.

They serve the lines on the map, UMAP, and the figure that says how far a map can be trusted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from e5studio.errors import VectorError
from e5studio.similarity import TopK, as_rows, top_k_search


def nearest_neighbours(embeddings: ArrayLike, *, n_neighbors: int) -> TopK:
    """For each vector the others of highest cosine, best first; itself is left out, its copies are not.

    Exact, in blocks, with the ties and the limits of `top_k_search`.

    Args:
        embeddings: Shape (n, dim); need not be normalised.
        n_neighbors: Neighbours of each vector; all n - 1 others where there are fewer.

    Returns:
        Scores and ids, each of shape (n, min(n_neighbors, n - 1)).

    Raises:
        VectorError: `embeddings` is no array of real vectors, or n_neighbors is below 1.
        NonFiniteError: A vector holds NaN or infinity; `indices` says which.
    """
    rows = as_rows(embeddings)
    if n_neighbors < 1:
        raise VectorError(f"n_neighbors is {n_neighbors}, but a vector needs at least one neighbour.")
    found = top_k_search(rows, rows, top_k=n_neighbors + 1)
    itself = found.ids == np.arange(len(rows))[:, None]
    # A vector with many copies of lower id isn't in its own list; then the last of the list is one too many.
    if len(rows):
        itself[~itself.any(axis=1), -1] = True
    shape = (len(rows), max(found.ids.shape[1] - 1, 0))
    return TopK(found.scores[~itself].reshape(shape), found.ids[~itself].reshape(shape))
