"""The table beside the score matrix."""

from __future__ import annotations

import numpy as np

from e5studio.analysis.ranking import ranks, softmax
from e5studio.studio.charts.matrix import MAX_ROWS_WITH_OUTLINES
from e5studio.studio.engine.prompt_modes import side_labels
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.widgets.table_data import MAX_ROWS, TableView, numbered_texts


def score_table(result: ScoreResult) -> TableView:
    """All pairs with their scores.

    Where the matrix has more cells than a page can hold, the table lists the best of each query and its caption says
    so. Where the heat map outlines nothing, it shows the best alone at first.
    """
    scores = result.counted
    ranked = ranks(scores)
    shares = softmax(scores, result.meta.temperature)
    n_rows, n_columns = scores.shape
    n_listed = max(1, min(n_columns - result.is_self, MAX_ROWS // n_rows))
    rows = [
        [i, int(j), round(float(scores[i, j]), 4), int(ranked[i, j]), round(float(shares[i, j]), 4)]
        for i in range(n_rows)
        for j in np.argsort(ranked[i])[:n_listed]
    ]
    n_others = n_columns - result.is_self
    part = f"Scores, the best {n_listed} of {n_others:,} for each row"
    caption = part if n_listed < n_others else "Scores of all pairs"
    return TableView(
        columns=_columns(result),
        rows=rows,
        caption=caption,
        texts=[
            numbered_texts(result.queries.labels, result.queries.texts),
            numbered_texts(result.passages.labels, result.passages.texts),
        ],
        pick="cell",
        marked=[index for index, row in enumerate(rows) if row[3] == 1],
        marked_only="Best of each only",
        is_marked_only=n_rows > MAX_ROWS_WITH_OUTLINES,
    )


def _columns(result: ScoreResult) -> list[dict[str, object]]:
    is_alike = result.is_self or result.prompt_mode == "symmetric"
    one, other = ("Text", "Compared with") if is_alike else ("Query", "Passage")
    left = side_labels(result.prompt_mode).left.lower()
    softmax_hint = f"Share at temperature {result.meta.temperature}, as in training; compare within one query"
    score_hint = "Cosine \N{MULTIPLICATION SIGN} 100; sort by it"
    return [
        {"title": one, "hint": f"Sort by {left}", "kind": "text", "texts": 0},
        {"title": other, "hint": f"Sort by the other {'text' if is_alike else 'side'}", "kind": "text", "texts": 1},
        {"title": "Score", "hint": score_hint, "kind": "score", "is_best_high": True},
        {"title": "Rank", "hint": "Rank among all that this row's text was compared with", "kind": "whole"},
        {"title": "Softmax", "hint": softmax_hint, "kind": "percent", "is_best_high": True},
    ]
