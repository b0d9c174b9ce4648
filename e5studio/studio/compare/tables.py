"""Comparisons -> tables, and the columns of saved files. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from e5studio.analysis.ranking import ranks
from e5studio.studio.compare.comparison import PROMPT_NAMES, Comparison, PromptGrid, mean_reciprocal_rank, moves
from e5studio.studio.serving.table_files import Columns
from e5studio.studio.widgets.table_data import MAX_ROWS, TableView, numbered_texts

MAX_MOVES = 200
"""Pairs in the table; the saved file holds all."""


def moves_table(comparison: Comparison) -> TableView:
    """The pairs that change most."""
    listed = moves(comparison, MAX_MOVES)
    first = comparison.first
    n_all = int(np.isfinite(comparison.counted[0]).sum())
    rows = [
        [
            move.row,
            move.column,
            *(round(score, 4) for score in move.scores),
            round(move.scores[1] - move.scores[0], 4),
            *move.ranks,
        ]
        for move in listed
    ]
    is_alike = first.is_self or first.prompt_mode == "symmetric"
    one, other = ("Text", "Compared with") if is_alike else ("Query", "Passage")
    part = f"the {len(rows)} that move most of {n_all:,}" if len(rows) < n_all else "those that move most first"
    return TableView(
        columns=[
            {"title": one, "hint": "Sort as on the page", "kind": "text", "texts": 0},
            {"title": other, "hint": "Sort as on the page", "kind": "text", "texts": 1},
            {"title": "A", "hint": "Score under A", "kind": "number", "is_best_high": True},
            {"title": "B", "hint": "Score under B", "kind": "number", "is_best_high": True},
            {"title": "Change", "hint": "B minus A, points", "kind": "number", "is_best_high": True, "is_signed": True},
            {"title": "Rank A", "hint": "Rank within the row under A", "kind": "whole"},
            {"title": "Rank B", "hint": "Rank within the row under B", "kind": "whole"},
        ],
        rows=rows,
        caption=f"Pairs under A and B, {part}",
        texts=[
            numbered_texts(first.queries.labels, first.queries.texts),
            numbered_texts(first.passages.labels, first.passages.texts),
        ],
        order="given",
        pick="cell",
    )


def grid_table(grid: PromptGrid) -> TableView:
    """What each pair of prompts changes."""
    is_paired = any(cell.right_ranks is not None for cell in grid.cells)
    n = len(grid.usual.queries)
    rows: list[list[Any]] = []
    for cell in grid.cells:
        row = [
            PROMPT_NAMES[cell.left],
            PROMPT_NAMES[cell.right],
            round(100 * cell.n_same_best / n, 4),
            None if np.isnan(cell.lead) else round(cell.lead, 4),
        ]
        if cell.right_ranks is not None:
            first = 100 * float((cell.right_ranks == 1).mean())
            row += [round(first, 4), round(mean_reciprocal_rank(cell.right_ranks), 6)]
        rows.append(row)
    number: dict[str, Any] = {"kind": "number", "is_best_high": True}
    percent: dict[str, Any] = {"kind": "percent", "is_best_high": True}
    lead = "How far the form's best match is ahead of the others, points, mean of the queries"
    columns: list[dict[str, Any]] = [
        {"title": "Before queries", "hint": "Prompt of the queries", "kind": "word"},
        {"title": "Before passages", "hint": "Prompt of the passages", "kind": "word"},
        {"title": "Same best", "hint": "Queries whose best match is the same as in the form", **percent},
        {"title": "Lead", "hint": lead, "digits": 2, **number},
    ]
    if is_paired:
        columns += [
            {"title": "Right first", "hint": "Queries whose right passage comes first", **percent},
            {"title": "MRR", "hint": "Mean of 1 / rank of the right passages", "digits": 3, **number},
        ]
    return TableView(
        columns=columns,
        rows=rows,
        caption="What each pair of prompts changes; marked is the one of the form",
        order="given",
        marked=[index for index, cell in enumerate(grid.cells) if cell.is_usual],
    )


def comparison_columns(comparison: Comparison) -> Columns:
    """A row for each pair (none of a text with itself): labels, texts, both scores, the change and both ranks."""
    one, other = comparison.counted
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
        "change": (other - one)[rows, columns],
        "rank_a": ranks(one)[rows, columns],
        "rank_b": ranks(other)[rows, columns],
    }


def grid_columns(grid: PromptGrid) -> Columns:
    """A row for each pair under each pair of prompts."""
    usual = grid.usual
    rows, columns = np.nonzero(np.isfinite(grid.cells[0].scores))
    n = len(rows)
    return {
        "before_queries": [PROMPT_NAMES[cell.left] for cell in grid.cells for _ in range(n)],
        "before_passages": [PROMPT_NAMES[cell.right] for cell in grid.cells for _ in range(n)],
        "row": [usual.queries.labels[row] for row in rows] * len(grid.cells),
        "column": [usual.passages.labels[column] for column in columns] * len(grid.cells),
        "score": np.concatenate([cell.scores[rows, columns] for cell in grid.cells]),
        "rank": np.concatenate([ranks(cell.scores)[rows, columns] for cell in grid.cells]),
    }
