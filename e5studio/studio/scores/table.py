"""The table beside the score matrix."""

from __future__ import annotations

import numpy as np

from e5studio.analysis.ranking import ranks, softmax
from e5studio.studio.charts.matrix import MAX_ROWS_WITH_OUTLINES
from e5studio.studio.engine.doubts import doubts
from e5studio.studio.engine.prompt_modes import side_labels
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.scores.text import SHARE_NOTE
from e5studio.studio.widgets.table_data import MAX_ROWS, TableView, numbered_texts

_N_FIRST = 3


def score_table(result: ScoreResult) -> TableView:
    """All pairs with their scores, for each query the best first.

    Where the matrix has more cells than a page can hold, the table lists the best of each query and its caption says
    so. It shows a few of each query at first; where the heat map outlines nothing, the best alone.
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
    n_first = _N_FIRST if n_rows <= MAX_ROWS_WITH_OUTLINES else 1
    of_queries, of_passages = doubts(result)
    return TableView(
        columns=_columns(result),
        rows=rows,
        caption=caption,
        texts=[
            numbered_texts(result.queries.labels, result.queries.texts, of_queries),
            numbered_texts(result.passages.labels, result.passages.texts, of_passages),
        ],
        pick="cell",
        marked=[index for index, row in enumerate(rows) if row[3] == 1],
        first=[index for index, row in enumerate(rows) if row[3] <= n_first],
        is_grouped=True,
        note=SHARE_NOTE,
    )


def _columns(result: ScoreResult) -> list[dict[str, object]]:
    is_alike = result.is_self or result.prompt_mode == "symmetric"
    one, other = ("Text", "Compared with") if is_alike else ("Query", "Passage")
    left = side_labels(result.prompt_mode).left.lower()
    share_hint = f"Softmax over the row at temperature {result.meta.temperature}, the one used in training"
    score_hint = "Cosine \N{MULTIPLICATION SIGN} 100; sort by it"
    return [
        {"title": one, "hint": f"Sort by {left}", "kind": "text", "texts": 0},
        {"title": other, "hint": f"Sort by the other {'text' if is_alike else 'side'}", "kind": "text", "texts": 1},
        {"title": "Score", "hint": score_hint, "kind": "score", "is_best_high": True},
        {"title": "Rank", "hint": "Rank among all that this row's text was compared with", "kind": "whole"},
        {"title": "Share of row", "hint": share_hint, "kind": "share", "is_best_high": True},
    ]
