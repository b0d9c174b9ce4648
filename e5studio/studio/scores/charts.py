"""The figure of a score matrix."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from e5studio.studio.charts.figure import Figure
from e5studio.studio.charts.matrix import heat_map
from e5studio.studio.engine.doubts import doubts
from e5studio.studio.engine.prompt_modes import side_labels
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.scores.order import Indices, Order, Shading, matrix_order


def ordered_heat_map(result: ScoreResult, order: Order, shading: Shading = "all") -> Figure:
    """The matrix with its rows and columns in an order; a click on a cell still names its texts."""
    names = side_labels(result.prompt_mode)
    rows, columns = matrix_order(result, order)
    scores = result.counted  # a text is always 100 to itself, which would drown the rest
    position = np.argsort(columns)
    best = [result.best[row] for row in rows]
    of_queries, of_passages = doubts(result)
    figure = heat_map(
        scores[np.ix_(rows, columns)],
        [result.queries.texts[row] for row in rows],
        [result.passages.texts[column] for column in columns],
        [result.queries.labels[row] for row in rows],
        [result.passages.labels[column] for column in columns],
        [None if column is None else int(position[column]) for column in best],
        (names.left, names.left if result.is_self else names.right),
        is_by_row=shading == "row",
        doubts=(_moved(of_queries, rows), _moved(of_passages, columns)),
    )
    figure["title"] = f"Cosine \N{MULTIPLICATION SIGN} 100 with {result.meta.short_name}"
    figure["hover"] |= {"row_places": rows.tolist(), "column_places": columns.tolist()}
    return figure


def _moved(doubts: Mapping[int, str], order: Indices) -> dict[int, str]:
    return {drawn: doubts[index] for drawn, index in enumerate(order.tolist()) if index in doubts}
