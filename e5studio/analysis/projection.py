"""Vectors -> points in two or three dimensions (PCA, UMAP, t-SNE, a chosen axis), and how far to trust them.

The only module that imports umap, and only when a UMAP is computed.
"""

from __future__ import annotations

import importlib
import os
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from e5studio.analysis.neighbours import OnProgress, nearest_neighbours
from e5studio.errors import MissingDependencyError, VectorError
from e5studio.similarity import FloatArray, RealArray, TopK, as_rows, ignoring_underflow, require_finite, unit_rows

MIN_TSNE_POINTS = 5
"""t-SNE also weighs a point's neighbours against the rest."""

MIN_UMAP_POINTS = 5
"""UMAP balances neighbours against the rest; with fewer points there is no rest."""

# As van der Maaten and Hinton (2008). With scikit-learn's 12 and its steps of at least 50, fewer than some 400 points
# fly apart in three dimensions (a divergence of 1 instead of 0.03) or, with small steps, fall together.
_EXAGGERATION = 4.0
_POINTS_PER_RATE = 48  # scikit-learn's rule for many points: the step grows with their number

_BLOCK_CELLS = 1 << 21
_ROUNDING = 1e-6

_MANY_POINTS = 10_000
_EPOCHS_OF_FEW, _EPOCHS_OF_MANY = 500, 200  # as umap itself chooses
_SECONDS_BETWEEN_NEWS = 0.2

# numba ends the process when two threads run its parallel code on its fallback threading layer.
_umap_lock = threading.Lock()
_numba_cache: tempfile.TemporaryDirectory[str] | None = None  # deleted with this process


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
    _check_components(n_components)
    require_finite(rows)
    coordinates = np.zeros((len(rows), n_components), np.float32)
    shares = np.zeros(n_components)
    mean = rows.mean(axis=0, dtype=np.float64) if len(rows) else np.zeros(rows.shape[1])
    axes, variances, total = _principal_axes(rows, mean, n_components)
    for part in _parts(len(rows), rows.shape[1]):
        coordinates[part, : axes.shape[1]] = (rows[part] - mean) @ axes
    shares[: axes.shape[1]] = variances / total
    return Projection(coordinates, "pca", explained_variance=tuple(shares.tolist()))


@ignoring_underflow
def umap(
    embeddings: ArrayLike,
    n_components: int,
    *,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    seed: int | None = None,
    precomputed_knn: TopK | None = None,
    on_epoch: OnProgress | None = None,
) -> Projection:
    """A map that keeps neighbours together, by cosine. Distances between far points mean little on it.

    Exact neighbours and a start from PCA replace UMAP's approximate search and spectral start, because
    compiling those is most of a first map's time. One UMAP runs at a time in a process; others wait.

    Args:
        embeddings: Shape (n, dim), n at least 5; need not be normalised.
        n_components: Axes, at least 1 and at most dim.
        n_neighbors: Size of a neighbourhood, the point itself included; at least 2. Reduced to n - 1.
        min_dist: How close points may lie, 0 to 1.
        seed: Makes the map reproducible, and UMAP use one thread.
        precomputed_knn: From `nearest_neighbours` on the same vectors, at least n_neighbors - 1 of each; None: computed
            here.
        on_epoch: Called with the number of epochs done and of all epochs, also while another UMAP runs; an exception
            that it raises ends the work.

    Raises:
        VectorError: Too few points, or an argument out of its range.
        NonFiniteError: A vector holds NaN or infinity; `indices` says which.
        MissingDependencyError: umap-learn is not installed.
    """
    rows = unit_rows(as_rows(embeddings))
    _check_components(n_components)
    _check_umap_arguments(rows.shape, n_components, n_neighbors, min_dist, seed)
    n_neighbors = min(n_neighbors, len(rows) - 1)
    if precomputed_knn is None:
        precomputed_knn = nearest_neighbours(rows, n_neighbors=n_neighbors - 1)
    knn = _umap_knn(precomputed_knn, len(rows), n_neighbors)
    n_epochs = _EPOCHS_OF_FEW if len(rows) <= _MANY_POINTS else _EPOCHS_OF_MANY
    listener = None if on_epoch is None else _EpochListener(on_epoch, n_epochs)
    coordinates: FloatArray = np.zeros((len(rows), n_components), np.float32)
    with _one_at_a_time(listener):
        umap_learn = _import_umap()
        if (rows != rows[0]).any():  # equal vectors belong at one point: a start from PCA would divide by their spread
            model = umap_learn.UMAP(
                n_components=n_components,
                n_neighbors=n_neighbors,
                min_dist=min_dist,
                metric="cosine",
                init="pca",
                precomputed_knn=knn,
                random_state=seed,
                n_epochs=n_epochs,
                # umap warns when it overrides n_jobs because of a seed.
                n_jobs=-1 if seed is None else 1,
                # By default opposite vectors are cut off, and their coordinates are NaN.
                disconnection_distance=np.inf,
                tqdm_kwds=None if listener is None else listener.tqdm_arguments(),
            )
            coordinates = np.ascontiguousarray(model.fit_transform(rows), np.float32)
    return Projection(coordinates, "umap", n_neighbors=n_neighbors, min_dist=min_dist, seed=seed)


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
    _check_components(n_components)
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


def warm_umap() -> threading.Thread:
    """Import and compile UMAP in the background, which takes seconds, so that the first map does not wait for it.

    Returns:
        The started thread. It ends without an error if umap-learn is not installed; `umap` raises it.
    """
    thread = threading.Thread(target=_compile_umap, name="e5studio-warm-umap", daemon=True)
    thread.start()
    return thread


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
    excess = sum(_excess_of_ranks(rows, points, own[part], n_neighbors) for part in _parts(len(own), n))
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
    for part in _parts(n, len(points)):
        apart = _squares_apart(points, own[part])
        near = np.argpartition(apart, k - 1, axis=1)[:, :k]
        shares[part] = (neighbours.ids[part, :, None] == near[:, None]).any(axis=2).mean(axis=1)
    return shares


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
        for part in _parts(len(rows), rows.shape[1]):
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


def _umap_knn(neighbours: TopK, n: int, n_neighbors: int) -> tuple[NDArray[np.int64], FloatArray]:
    """Ids and cosine distances in umap's format: shape (n, n_neighbors), every point is its own first neighbour."""
    if neighbours.ids.shape[0] != n or neighbours.ids.shape[1] < n_neighbors - 1:
        raise VectorError(
            f"precomputed_knn has shape {neighbours.ids.shape}, but {n} points with n_neighbors={n_neighbors} need "
            f"({n}, {n_neighbors - 1}): the point itself counts as one."
        )
    ids = np.column_stack([np.arange(n), neighbours.ids[:, : n_neighbors - 1]])
    distances = np.zeros(ids.shape, np.float32)
    np.clip(1 - neighbours.scores[:, : n_neighbors - 1], 0, None, out=distances[:, 1:])
    return ids, distances


class _EpochListener:
    """Receives umap's progress bar as its file: umap reports epochs and can be stopped only there."""

    def __init__(self, on_epoch: OnProgress, n_epochs: int) -> None:
        self._on_epoch = on_epoch
        self._n_epochs = n_epochs

    def tqdm_arguments(self) -> dict[str, Any]:
        """Make the bar write only the number of epochs, to this object."""
        # With "miniters" no other thread draws the bar, where an error would be lost.
        return {
            "disable": False,
            "file": self,
            "bar_format": "{n}",
            "miniters": 1,
            "mininterval": _SECONDS_BETWEEN_NEWS,
            "leave": False,
        }

    def write(self, drawn: str) -> None:
        """Receive the output of the bar: a number, or blanks when it is removed."""
        if not drawn.strip().isdecimal():
            return
        try:
            self.tell(int(drawn))
        except BaseException:
            # `tqdm.refresh` holds the lock of all bars and releases it only if drawing succeeds: every other thread
            # that shows progress, such as one that loads a model, would wait forever.
            tqdm.get_lock().release()  # type: ignore[no-untyped-call]
            raise

    def tell(self, n_done: int) -> None:
        self._on_epoch(n_done, self._n_epochs)


@contextmanager
def _one_at_a_time(listener: _EpochListener | None) -> Iterator[None]:
    """Wait for another thread's UMAP; the listener can cancel the wait."""
    while not _umap_lock.acquire(timeout=-1 if listener is None else _SECONDS_BETWEEN_NEWS):
        if listener is not None:
            listener.tell(0)
    try:
        yield
    finally:
        _umap_lock.release()


def _import_umap() -> Any:
    # Neither warning concerns users: tensorflow is not needed here, and only umap's `transform` needs a search index
    # beside the neighbours. The filters stay: restoring them would undo other threads' changes.
    warnings.filterwarnings("ignore", "Tensorflow not installed; ParametricUMAP", ImportWarning)
    warnings.filterwarnings("ignore", r"precomputed_knn\[2\] \(knn_search_index\) is not", UserWarning)
    try:
        return _import_with_cache("umap")
    except ModuleNotFoundError as error:
        if error.name != "umap":
            raise
        raise MissingDependencyError(
            "UMAP needs the package umap-learn, which is not installed. "
            'Run: pip install "e5studio[studio]". PCA works without it.'
        ) from error


def _import_with_cache(module: str) -> Any:
    """Import a module that numba compiles, also where it cannot write to the package's folder or the user's cache."""
    global _numba_cache
    try:
        return importlib.import_module(module)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
    from numba import config

    _numba_cache = tempfile.TemporaryDirectory(prefix="e5studio-numba-", ignore_cleanup_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = _numba_cache.name
    config.reload_config()
    return importlib.import_module(module)


def _compile_umap() -> None:
    rows = np.eye(8, dtype=np.float32)
    try:
        # numba compiles by type, not by shape: this covers 2 and 3 axes, with and without a seed.
        for seed in (0, None):
            umap(rows, 2, seed=seed)
    except MissingDependencyError:
        return


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


def _parts(n: int, columns: int) -> list[slice]:
    step = max(1, _BLOCK_CELLS // max(1, columns))
    return [slice(start, start + step) for start in range(0, n, step)]


def _check_components(n_components: int) -> None:
    if n_components < 1:
        raise VectorError(f"n_components is {n_components}, but a map needs at least one axis.")


def _check_umap_arguments(
    shape: tuple[int, ...], n_components: int, n_neighbors: int, min_dist: float, seed: int | None
) -> None:
    n, dim = shape
    if n < MIN_UMAP_POINTS:
        raise VectorError(f"UMAP needs at least {MIN_UMAP_POINTS} points and got {n}. Add texts, or use PCA.")
    if n_components > dim:
        raise VectorError(f"n_components is {n_components}, but the vectors have only {dim} dimensions.")
    if n_neighbors < 2:
        raise VectorError(f"n_neighbors is {n_neighbors}; it counts the point itself, so give at least 2.")
    if not 0 <= min_dist <= 1:
        raise VectorError(f"min_dist is {min_dist}; give a number from 0 (dense) to 1 (even).")
    if seed is not None and not 0 <= seed < 2**32:
        raise VectorError(f"seed is {seed}; give a whole number from 0 to {2**32 - 1}, or None.")
