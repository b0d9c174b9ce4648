"""How well scores agree with people's: Spearman's and Pearson's correlation."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.errors import MissingDependencyError, VectorError

Values = NDArray[np.float64]


def pearson(scores: ArrayLike, gold: ArrayLike) -> float:
    """Pearson's correlation of two rows of numbers, -1 to 1.

    Raises:
        VectorError: They differ in length, have NaN or fewer than 2 numbers, or one is constant.
    """
    left, right = checked_pair(scores, gold)
    return float(correlate(left, right))


def spearman(scores: ArrayLike, gold: ArrayLike) -> float:
    """Spearman's correlation: Pearson's of the ranks, equal values sharing their mean rank. Errors as `pearson`."""
    left, right = checked_pair(scores, gold)
    return float(correlate(ranks(left), ranks(right)))


def ranks(values: Values) -> Values:
    """Ranks along the last axis, from 1; equal values share their mean rank."""
    ranked: Values = scipy_stats().rankdata(values, axis=-1)
    return ranked


def correlate(left: Values, right: Values) -> Values:
    """Pearson's correlation along the last axis; NaN where one side is constant. For resampling, unchecked."""
    a = left - left.mean(axis=-1, keepdims=True)
    b = right - right.mean(axis=-1, keepdims=True)
    products = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations: Values = np.clip((a * b).sum(axis=-1) / products, -1, 1)
    return correlations


def checked_pair(scores: ArrayLike, gold: ArrayLike) -> tuple[Values, Values]:
    """Both as float64, if a correlation of them exists; errors as `pearson`."""
    left, right = np.asarray(scores, np.float64), np.asarray(gold, np.float64)
    if left.ndim != 1 or left.shape != right.shape:
        raise VectorError(f"Give two rows of numbers of one length; got shapes {left.shape} and {right.shape}.")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise VectorError("Some of the numbers are NaN or infinite, and a correlation of them does not exist.")
    if len(left) < 2 or np.ptp(left) == 0 or np.ptp(right) == 0:
        raise VectorError(
            f"A correlation needs two pairs or more that differ; got {len(left)}"
            f"{', all with one value on a side' if len(left) > 1 else ''}."
        )
    # Squares of numbers near 1 neither overflow nor vanish, and a correlation does not depend on the scale.
    return left / np.abs(left).max(), right / np.abs(right).max()


def scipy_stats() -> Any:
    """The module `scipy.stats`, loaded when it is first needed; a MissingDependencyError if it is not installed."""
    try:
        return importlib.import_module("scipy.stats")
    except ImportError as error:
        raise MissingDependencyError(
            'Correlations, intervals and tests need scipy. Install it with: pip install "e5studio[eval]"'
        ) from error
