"""Aligns one map with another, so that they differ only in the positions of texts, not by a rotation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.errors import VectorError

Points = NDArray[np.float32]


def aligned(points: ArrayLike, onto: ArrayLike) -> Points:
    """The points translated, rotated, mirrored and scaled together to fit other points in least squares.

    Orthogonal Procrustes: the rotation is U V' of the singular value decomposition of points' onto, both centred
    (P. H. Schoenemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 31, 1966).
    Distances among the points keep their ratios.

    Args:
        points: Shape (n, n_dims).
        onto: The same n points on another map, shape (n, n_dims).

    Raises:
        VectorError: The shapes differ, or a coordinate is NaN or infinite.
    """
    moving, fixed = np.asarray(points, np.float64), np.asarray(onto, np.float64)
    if moving.ndim != 2 or moving.shape != fixed.shape:
        raise VectorError(f"Give two maps of the same points; got shapes {moving.shape} and {fixed.shape}.")
    if not (np.isfinite(moving).all() and np.isfinite(fixed).all()):
        raise VectorError("A map with NaN or infinite coordinates cannot be aligned with another.")
    if not len(moving):
        return moving.astype(np.float32)
    centre = fixed.mean(axis=0)
    moving = moving - moving.mean(axis=0)
    size = float((moving * moving).sum())
    left, stretch, right = np.linalg.svd(moving.T @ (fixed - centre))
    scale = float(stretch.sum()) / size if size > 0 else 1.0
    result: Points = (scale * moving @ (left @ right) + centre).astype(np.float32)
    return result
