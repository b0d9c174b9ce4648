"""How the score matrix is shown: the order of its rows and columns, and what its colours compare."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from e5studio.studio.engine.result import ScoreResult

Order = Literal["written", "score", "group"]
ORDERS: tuple[Order, ...] = get_args(Order)
Shading = Literal["row", "all"]
SHADINGS: tuple[Shading, ...] = get_args(Shading)
Indices = NDArray[np.intp]


def matrix_order(result: ScoreResult, order: Order) -> tuple[Indices, Indices]:
    """Indices of rows and columns in this order.

    "score" begins with the row that has the highest best score, and puts each column at its best row, so that the best
    matches run along the diagonal; "group" puts texts of one k-means group together.
    """
    n_rows, n_columns = result.scores.shape
    if order == "group":
        return _by_group(result, n_rows, n_columns)
    if order == "score":
        return _by_score(result)
    return np.arange(n_rows), np.arange(n_columns)


def valid_order(order: Any) -> Order:
    """The order of this name, or the default."""
    return next((each for each in ORDERS if each == order), "written")


def valid_shading(shading: Any, result: ScoreResult) -> Shading:
    """The shading of this name, or the result's usual one: E5's scores lie close, so only those of a row compare."""
    usual: Shading = "row" if result.meta.prompt_kind != "none" and len(result.passages) > 1 else "all"
    return next((each for each in SHADINGS if each == shading), usual)


def _by_score(result: ScoreResult) -> tuple[Indices, Indices]:
    scores = result.counted
    rows = np.argsort(-np.nanmax(scores, axis=1), kind="stable")
    if result.is_self:
        return rows, rows
    position = np.empty(len(rows), np.intp)
    position[rows] = np.arange(len(rows))
    best_row = position[scores.argmax(axis=0)]
    return rows, np.lexsort((-scores.max(axis=0), best_row))


def chosen_shading(shading: str, result: ScoreResult | None) -> str | None:
    """The shading of a result, where it is not the usual one and so was chosen; else None."""
    return None if result is None or shading == valid_shading(None, result) else shading


def _by_group(result: ScoreResult, n_rows: int, n_columns: int) -> tuple[Indices, Indices]:
    labels = result.clusters.labels
    rows = np.argsort(labels[:n_rows], kind="stable")
    columns = rows if result.is_self else np.argsort(labels[n_rows : n_rows + n_columns], kind="stable")
    return rows, columns
