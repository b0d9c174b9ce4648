"""A score result -> the rows of the table beside the heat map. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from e5studio.studio.boxes import TextList, shown
from e5studio.studio.figures import MAX_ROWS_WITH_OUTLINES
from e5studio.studio.handlers import ScoreResult, ranks, softmax
from e5studio.studio.uses import wording

MAX_ROWS = 1_500
_MAX_TEXT = 600


def score_table(result: ScoreResult) -> dict[str, Any]:
    """The table's content: texts once, then rows of (query, passage, score, rank, share).

    Where the matrix has more cells than a page can hold, the best of each query are kept and
    the caption says so. Where the heat map outlines nothing, the best alone are shown at first.
    """
    scores = result.scores.copy()
    if result.is_self:
        np.fill_diagonal(scores, -np.inf)
    ranked = ranks(scores)
    shares = softmax(scores, result.meta.temperature)
    n_rows, n_columns = scores.shape
    n_kept = max(1, min(n_columns - result.is_self, MAX_ROWS // n_rows))
    rows = [
        [i, int(j), round(float(scores[i, j]), 2), int(ranked[i, j]), round(float(shares[i, j]), 2)]
        for i in range(n_rows)
        for j in np.argsort(ranked[i])[:n_kept]
    ]
    words = wording(result.use)
    is_alike = result.is_self or result.use == "symmetric"
    one, other = ("Text", "Compared with") if is_alike else ("Query", "Passage")
    return {
        "queries": _texts(result.queries),
        "passages": _texts(result.passages),
        "rows": rows,
        "headings": [
            [one, f"Sort by {words.left.lower()}"],
            [other, f"Sort by the other {'text' if is_alike else 'side'}"],
            ["Score", "Cosine \N{MULTIPLICATION SIGN} 100; sort by it"],
            ["Rank", "Place among all that this row's text was compared with"],
            ["Softmax", f"Share at temperature {result.meta.temperature}, as in training; compare within one query"],
        ],
        "caption": _caption(result, n_kept),
        "best_only": n_rows > MAX_ROWS_WITH_OUTLINES,
    }


def _texts(box: TextList) -> list[list[str]]:
    return [[label, shown(text, _MAX_TEXT)] for label, text in zip(box.labels, box.texts, strict=True)]


def _caption(result: ScoreResult, n_kept: int) -> str:
    n_columns = len(result.passages) - result.is_self
    if n_kept < n_columns:
        return f"Scores, the best {n_kept} of {n_columns:,} for each row"
    return "Scores of all pairs"
