"""Results -> the tables beside the plots, as plain data for `components.data_table`. Pure.

A table holds texts once and refers to them: a cell of kind "text" is a place in `texts[column["texts"]]`. The other
kinds are "score", "number", "percent", "whole" and "word"; None leaves a cell blank. A table whose "order" is "given"
begins as it is, others sorted by their first column.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from e5studio.analysis.ranking import ranks, softmax
from e5studio.studio.boxes import shown
from e5studio.studio.figures.heat import MAX_ROWS_WITH_OUTLINES
from e5studio.studio.handlers import ScoreResult
from e5studio.studio.mapping import TextMap
from e5studio.studio.uses import wording

MAX_ROWS = 1_500
_MAX_TEXT = 600

Table = dict[str, Any]


def score_table(result: ScoreResult) -> Table:
    """All pairs with their scores.

    Where the matrix has more cells than a page can hold, the best of each query are kept and
    the caption says so. Where the heat map outlines nothing, the best alone are shown at first.
    """
    scores = result.counted
    ranked = ranks(scores)
    shares = softmax(scores, result.meta.temperature)
    n_rows, n_columns = scores.shape
    n_kept = max(1, min(n_columns - result.is_self, MAX_ROWS // n_rows))
    rows = [
        [i, int(j), round(float(scores[i, j]), 4), int(ranked[i, j]), round(float(shares[i, j]), 4)]
        for i in range(n_rows)
        for j in np.argsort(ranked[i])[:n_kept]
    ]
    words = wording(result.use)
    is_alike = result.is_self or result.use == "symmetric"
    one, other = ("Text", "Compared with") if is_alike else ("Query", "Passage")
    softmax_hint = f"Share at temperature {result.meta.temperature}, as in training; compare within one query"
    return {
        "texts": [
            numbered_texts(result.queries.labels, result.queries.texts),
            numbered_texts(result.passages.labels, result.passages.texts),
        ],
        "columns": [
            {"title": one, "hint": f"Sort by {words.left.lower()}", "kind": "text", "texts": 0},
            {"title": other, "hint": f"Sort by the other {'text' if is_alike else 'side'}", "kind": "text", "texts": 1},
            {
                "title": "Score",
                "hint": "Cosine \N{MULTIPLICATION SIGN} 100; sort by it",
                "kind": "score",
                "is_best_high": True,
            },
            {"title": "Rank", "hint": "Place among all that this row's text was compared with", "kind": "whole"},
            {"title": "Softmax", "hint": softmax_hint, "kind": "percent", "is_best_high": True},
        ],
        "rows": rows,
        "pick": "cell",
        "marked": [place for place, row in enumerate(rows) if row[3] == 1],
        "marked_only": "Best of each only",
        "is_marked_only": n_rows > MAX_ROWS_WITH_OUTLINES,
        "caption": _caption(result, n_kept),
    }


def map_table(result: ScoreResult, placed: TextMap, members: Collection[str] | None = None) -> Table:
    """The texts of a map, each with its true nearest neighbour and what the map keeps of its neighbourhood.

    Args:
        result: Whose texts they are.
        placed: Where they lie.
        members: Labels of the texts to list; all if None.
    """
    labels, texts = result.points
    n_tokens = [int(n) for report in result.reports for n in report.n_tokens]
    asked = [place for place, label in enumerate(labels) if members is None or label in members]
    listed = asked[:MAX_ROWS]
    rows = [
        [
            place,
            int(placed.neighbours.ids[place, 0]),
            round(100 * float(placed.neighbours.scores[place, 0]), 4),
            round(100 * float(placed.kept[place]), 4),
            n_tokens[place],
        ]
        for place in listed
    ]
    of = f"the first {len(listed):,} of " if len(listed) < len(asked) else ""
    return {
        "texts": [numbered_texts(labels, texts)],
        "columns": [
            {"title": "Text", "hint": "Sort as on the page", "kind": "text", "texts": 0},
            {"title": "Nearest text", "hint": "Nearest in all dimensions", "kind": "text", "texts": 0},
            {
                "title": "Score",
                "hint": "Cosine \N{MULTIPLICATION SIGN} 100 with the nearest text",
                "kind": "number",
                "is_best_high": True,
            },
            {"title": "Kept", "hint": "Share of its true neighbours that lie near it on the map", "kind": "percent"},
            {"title": "Tokens", "hint": "Tokens read of it, prompt included", "kind": "whole", "is_best_high": True},
        ],
        "rows": rows,
        "pick": "point",
        "marked": [],
        "marked_only": "",
        "is_marked_only": False,
        "caption": f"Texts of the map: {of}{len(asked):,}",
    }


def numbered_texts(labels: Sequence[str], texts: Sequence[str]) -> list[list[str]]:
    """Labels and texts as a table holds them."""
    return [[label, shown(text, _MAX_TEXT)] for label, text in zip(labels, texts, strict=True)]


def _caption(result: ScoreResult, n_kept: int) -> str:
    n_columns = len(result.passages) - result.is_self
    if n_kept < n_columns:
        return f"Scores, the best {n_kept} of {n_columns:,} for each row"
    return "Scores of all pairs"
