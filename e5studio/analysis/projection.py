"""Vectors -> points in two or three dimensions: PCA, t-SNE, a chosen axis. UMAP stands in `umap_projection`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.errors import MissingDependencyError, VectorError
from e5studio.similarity import FloatArray, RealArray, as_rows, ignoring_underflow, require_finite, unit_rows

MIN_TSNE_POINTS = 5
"""t-SNE also weighs a point's neighbours against the rest."""

# As van der Maaten and Hinton (2008). With scikit-learn's 12 and its steps of at least 50, fewer than some 400 points
# fly apart in three dimensions (a divergence of 1 instead of 0.03) or, with small steps, fall together.
_EXAGGERATION = 4.0
_POINTS_PER_RATE = 48  # scikit-learn's rule for many points: the step grows with their number

_BLOCK_CELLS = 1 << 21


@dataclass(frozen=True)
class Projection:
    """Points on a map, and the settings that produced them.

    Attributes:
        coordinates: float32, shape (n, n_components).
        method: "pca", "umap", "tsne" or "axis".
        explained_variance: PCA and axis: the share of the variance along each axis, 0 to 1. Others: None.
        n_neighbors: UMAP: the neighbourhood used, the point itself included; smaller in a small set.
        min_dist: UMAP: how close points may lie.
        seed: UMAP and t-SNE: the seed, or None if every run gives another map.
        perplexity: t-SNE: the perplexity used; smaller in a small set.
    """

    coordinates: FloatArray
    method: Literal["pca", "umap", "tsne", "axis"]
    explained_variance: tuple[float, ...] | None = None
    n_neighbors: int | None = None
    min_dist: float | None = None
    seed: int | None = None
    perplexity: float | None = None


@ignoring_underflow
def pca(embeddings: ArrayLike, n_components: int) -> Projection:
    """Project on the axes along which the vectors differ most.

    The same vectors always give the same map: of each axis, the component of largest size points up.
    Axes without variance (one or two points, copies) are zero.

    Args:
        embeddings: Shape (n, dim); centred, not normalised. n may be 0 or 1.
        n_components: Axes, at least 1.

    Raises:
        VectorError: `embeddings` is not an array of real vectors, or n_components is below 1.
        NonFiniteError: A vector holds NaN or infinity; `indices` says which.
    """
    rows = as_rows(embeddings)
    check_components(n_components)
    require_finite(rows)
    coordinates = np.zeros((len(rows), n_components), np.float32)
    shares = np.zeros(n_components)
    mean = rows.mean(axis=0, dtype=np.float64) if len(rows) else np.zeros(rows.shape[1])
    axes, variances, total = _principal_axes(rows, mean, n_components)
    for part in row_parts(len(rows), rows.shape[1]):
        coordinates[part, : axes.shape[1]] = (rows[part] - mean) @ axes
    shares[: axes.shape[1]] = variances / total
    return Projection(coordinates, "pca", explained_variance=tuple(shares.tolist()))


@ignoring_underflow
def tsne(embeddings: ArrayLike, n_components: int, *, perplexity: float = 30.0, seed: int = 0) -> Projection:
    """A map that keeps near neighbours together, by cosine (van der Maaten and Hinton, 2008).

    Neither distances between groups nor their sizes mean anything on it. Starts from PCA.

    Args:
        embeddings: Shape (n, dim), n at least 5; need not be normalised.
        n_components: 2 or 3.
        perplexity: Approximate number of neighbours that count; at least 1. Reduced to (n - 1) / 3.
        seed: The same seed gives the same map.

    Raises:
        VectorError: Too few points, or an argument out of its range.
        NonFiniteError: A vector holds NaN or infinity; `indices` says which.
        MissingDependencyError: scikit-learn is not installed.
    """
    rows = unit_rows(as_rows(embeddings))
    if len(rows) < MIN_TSNE_POINTS:
        raise VectorError(f"t-SNE needs at least {MIN_TSNE_POINTS} points and got {len(rows)}. Add texts, or use PCA.")
    if n_components not in (2, 3):
        raise VectorError(f"n_components is {n_components}; t-SNE draws 2 or 3 axes.")
    if not perplexity >= 1:
        raise VectorError(f"perplexity is {perplexity}; give at least 1.")
    used = min(float(perplexity), (len(rows) - 1) / 3)
    manifold = import_sklearn("manifold")
    if (rows == rows[0]).all():  # a start from PCA would divide by their spread
        return Projection(np.zeros((len(rows), n_components), np.float32), "tsne", seed=seed, perplexity=used)
    model = manifold.TSNE(
        n_components,
        perplexity=used,
        metric="cosine",
        init="pca",
        random_state=seed,
        early_exaggeration=_EXAGGERATION,
        learning_rate=max(len(rows) / _POINTS_PER_RATE, 1.0),
    )
    coordinates: FloatArray = np.ascontiguousarray(model.fit_transform(rows), np.float32)
    return Projection(coordinates, "tsne", seed=seed, perplexity=used)


@ignoring_underflow
def axis_between(embeddings: ArrayLike, start: ArrayLike, end: ArrayLike, n_components: int) -> Projection:
    """A map whose first axis leads from one vector to another, such as from the mean query to the mean passage.

    The other axes are those along which the vectors differ most apart from it.

    Args:
        embeddings: Shape (n, dim).
        start: Shape (dim,).
        end: Shape (dim,), not equal to `start`.
        n_components: Axes, at least 1.

    Raises:
        VectorError: `start` and `end` are not two different vectors of these dimensions.
        NonFiniteError: A vector holds NaN or infinity.
    """
    rows = as_rows(embeddings).astype(np.float64)
    check_components(n_components)
    require_finite(rows)
    ends = np.asarray(start, np.float64), np.asarray(end, np.float64)
    are_vectors = ends[0].shape == ends[1].shape == rows.shape[1:]
    length = float(np.linalg.norm(ends[1] - ends[0])) if are_vectors else 0.0
    if not np.isfinite(length) or length < 1e-9:
        raise VectorError("An axis leads from one vector to a different one, both of shape (dim,).")
    direction = (ends[1] - ends[0]) / length
    centred = rows - rows.mean(axis=0)
    along = centred @ direction
    coordinates = np.zeros((len(rows), n_components), np.float32)
    coordinates[:, 0] = along
    rest = pca(centred - along[:, None] * direction, max(n_components - 1, 1))
    coordinates[:, 1:] = rest.coordinates[:, : n_components - 1]
    total = float((centred**2).sum()) or 1.0
    shares = [float((column.astype(np.float64) ** 2).sum()) / total for column in coordinates.T]
    return Projection(coordinates, "axis", explained_variance=tuple(shares))


def import_sklearn(module: str) -> Any:
    """A module of scikit-learn, loaded when it is first needed; a MissingDependencyError if it is not installed."""
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise MissingDependencyError(
            "t-SNE and clusters need scikit-learn, which is not installed. "
            'Run: pip install "e5studio[studio]". PCA works without it.'
        ) from error


def _principal_axes(
    rows: RealArray, mean: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Unit axes (dim, up to count), the sum of squares along each, and the total."""
    wide = len(rows) <= rows.shape[1]
    products = np.zeros((min(rows.shape),) * 2)
    size = 0.0
    if wide:
        centred = rows - mean
        products += centred @ centred.T
        size = float(np.square(rows, dtype=np.float64).sum())
    else:
        for part in row_parts(len(rows), rows.shape[1]):
            centred = rows[part] - mean
            products += centred.T @ centred
            size += float(np.square(rows[part], dtype=np.float64).sum())
    total = float(np.trace(products))
    # Equal float32 vectors after centring differ by rounding, not variance.
    if total <= 1e-14 * size:
        return np.empty((rows.shape[1], 0)), np.empty(0), 1.0
    values, vectors = np.linalg.eigh(products)
    order = np.argsort(-values)[:count]
    order = order[values[order] > 1e-12 * values[order[0]]]
    axes = centred.T @ vectors[:, order] / np.sqrt(values[order]) if wide else vectors[:, order]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    return axes * np.sign(largest), values[order], total


def row_parts(n: int, columns: int) -> list[slice]:
    """Rows in parts whose products with `columns` others stay small."""
    step = max(1, _BLOCK_CELLS // max(1, columns))
    return [slice(start, start + step) for start in range(0, n, step)]


def check_components(n_components: int) -> None:
    """Refuse a map without axes."""
    if n_components < 1:
        raise VectorError(f"n_components is {n_components}, but a map needs at least one axis.")
