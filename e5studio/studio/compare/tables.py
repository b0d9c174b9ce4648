"""Comparisons -> tables, and the columns of saved files. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from e5studio.studio.compare.comparison import PROMPT_NAMES, Comparison, PromptGrid, mean_reciprocal_rank
from e5studio.studio.compare.names import names
from e5studio.studio.formatting import listed
from e5studio.studio.serving.table_files import Columns
from e5studio.studio.widgets.table_data import MAX_ROWS, TableView, numbered_texts


def first_table(comparison: Comparison) -> TableView:
    """What comes first for each query under both settings; queries for which it changes stand on top, marked."""
    first, firsts, others = comparison.first, comparison.firsts(), comparison.other_firsts()
    rows = [*others, *(row for row in range(len(first.queries)) if row not in set(others))]
    is_alike = first.is_self or first.prompt_mode == "symmetric"
    titles = [f"First {name}" for name in names(comparison)]
    return TableView(
        columns=[
            {"title": "Text" if is_alike else "Query", "hint": "Sort as on the page", "kind": "text", "texts": 0},
            *({"title": title, "hint": f"What comes {title.lower()}", "kind": "text", "texts": 1} for title in titles),
        ],
        rows=[[row, *firsts[row]] for row in rows],
        caption="What comes first for each, those that change on top",
        texts=[
            numbered_texts(first.queries.labels, first.queries.texts),
            numbered_texts(first.passages.labels, first.passages.texts),
        ],
        order="given",
        pick="cell",
        marked=list(range(len(others))),
    )


def prompt_table(grid: PromptGrid) -> TableView:
    """What each pair of prompts changes."""
    n = len(grid.of_form.queries)
    rows: list[list[Any]] = []
    for pair in grid.pairs:
        share = 100 * (1 - len(pair.other_firsts) / n)
        row = [PROMPT_NAMES[pair.left], PROMPT_NAMES[pair.right], round(share, 4), listed(pair.other_firsts)]
        if pair.right_ranks is not None:
            row.append(round(mean_reciprocal_rank(pair.right_ranks), 6))
        rows.append(row)
    number: dict[str, Any] = {"is_best_high": True, "digits": 3}
    same = "Queries for which the same passage comes first as with the prompts of the form"
    columns: list[dict[str, Any]] = [
        {"title": "Before queries", "hint": "Prompt of the queries", "kind": "word"},
        {"title": "Before passages", "hint": "Prompt of the passages", "kind": "word"},
        {"title": "Same first", "hint": same, "kind": "percent", "is_best_high": True},
        {"title": "Another first", "hint": "For which queries another passage comes first", "kind": "word"},
    ]
    if grid.pairs[0].right_ranks is not None:
        columns.append({"title": "MRR", "hint": "Mean of 1 / rank of the right passages", "kind": "number", **number})
    return TableView(
        columns=columns,
        rows=rows,
        caption="What each pair of prompts changes; marked is the one of the form",
        order="given",
        marked=[index for index, pair in enumerate(grid.pairs) if pair.is_usual],
    )


def comparison_columns(comparison: Comparison) -> Columns:
    """A row for each pair (none of a text with itself): labels, texts, and both scores and ranks."""
    one, other = comparison.counted
    before, after = comparison.ranks
    rows, columns = np.nonzero(np.isfinite(one))
    first = comparison.first
    texts: Columns = {
        "row_text": [first.queries.texts[row] for row in rows],
        "column_text": [first.passages.texts[column] for column in columns],
    }
    return {
        "row": [first.queries.labels[row] for row in rows],
        "column": [first.passages.labels[column] for column in columns],
        **(texts if len(rows) <= 10 * MAX_ROWS else {}),
        "score_a": one[rows, columns],
        "score_b": other[rows, columns],
        "rank_a": before[rows, columns],
        "rank_b": after[rows, columns],
    }
