"""UMAP: a map that keeps neighbours together. The only module that imports umap, and only when a map is computed."""

from __future__ import annotations

import importlib
import os
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from e5studio.analysis.neighbours import OnProgress, nearest_neighbours
from e5studio.analysis.projection import Projection, check_components
from e5studio.errors import MissingDependencyError, VectorError
from e5studio.similarity import FloatArray, TopK, as_rows, ignoring_underflow, unit_rows

MIN_UMAP_POINTS = 5
"""UMAP balances neighbours against the rest; with fewer points there is no rest."""

_MANY_POINTS = 10_000
_EPOCHS_OF_FEW, _EPOCHS_OF_MANY = 500, 200  # as umap itself chooses
_SECONDS_BETWEEN_NEWS = 0.2

# numba ends the process when two threads run its parallel code on its fallback threading layer.
_umap_lock = threading.Lock()
_numba_cache: tempfile.TemporaryDirectory[str] | None = None  # deleted with this process


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
    check_components(n_components)
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


def warm_umap() -> threading.Thread:
    """Import and compile UMAP in the background, which takes seconds, so that the first map does not wait for it.

    Returns:
        The started thread. It ends without an error if umap-learn is not installed; `umap` raises it.
    """
    thread = threading.Thread(target=_compile_umap, name="e5studio-warm-umap", daemon=True)
    thread.start()
    return thread


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
