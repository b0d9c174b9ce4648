"""In which order the rows and columns of the score matrix are drawn. Knows no Gradio, and changes no score."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from e5studio.studio.engine.result import ScoreResult

Order = Literal["written", "score", "group"]
ORDERS: tuple[Order, ...] = get_args(Order)
Places = NDArray[np.intp]


def matrix_order(result: ScoreResult, order: Order) -> tuple[Places, Places]:
    """The places of rows and columns in the order asked for.

    "score" puts rows with the highest best score first, and each column where the row that it suits best stands, so
    that the best matches run along the diagonal; "group" puts texts of one k-means group together.
    """
    n_rows, n_columns = result.scores.shape
    if order == "group":
        return _by_group(result, n_rows, n_columns)
    if order == "score":
        return _by_score(result)
    return np.arange(n_rows), np.arange(n_columns)


def valid_order(order: Any) -> Order:
    """The order of this name, or the usual one."""
    return next((each for each in ORDERS if each == order), "written")


def _by_score(result: ScoreResult) -> tuple[Places, Places]:
    scores = result.counted
    rows = np.argsort(-np.nanmax(scores, axis=1), kind="stable")
    if result.is_self:
        return rows, rows
    place_of_row = np.empty(len(rows), np.intp)
    place_of_row[rows] = np.arange(len(rows))
    suits = place_of_row[scores.argmax(axis=0)]
    return rows, np.lexsort((-scores.max(axis=0), suits))


def _by_group(result: ScoreResult, n_rows: int, n_columns: int) -> tuple[Places, Places]:
    labels = result.clusters.labels
    rows = np.argsort(labels[:n_rows], kind="stable")
    columns = rows if result.is_self else np.argsort(labels[n_rows : n_rows + n_columns], kind="stable")
    return rows, columns
