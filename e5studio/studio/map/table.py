"""The table beside the map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from e5studio.studio.engine.doubts import doubts_of_points
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.map.placing import TextMap
from e5studio.studio.widgets.table_data import MAX_ROWS, TableView, numbered_texts

_NEAREST = "Cosine \N{MULTIPLICATION SIGN} 100 with the nearest text"
_COLUMNS: list[dict[str, Any]] = [
    {"title": "Text", "hint": "Sort as on the page", "kind": "text", "texts": 0},
    {"title": "Nearest text", "hint": "Nearest in all dimensions", "kind": "text", "texts": 0},
    {"title": "Score", "hint": _NEAREST, "kind": "number", "is_best_high": True},
    {"title": "Kept", "hint": "Share of its true neighbours that lie near it on the map", "kind": "percent"},
    {"title": "Tokens", "hint": "Tokens read of it, prompt included", "kind": "whole", "is_best_high": True},
]


def map_table(result: ScoreResult, text_map: TextMap) -> TableView:
    """The texts of a map, each with its true nearest neighbour and what the map keeps of its neighbourhood."""
    labels, texts = result.points
    n_tokens = [int(n) for report in result.reports for n in report.n_tokens]
    rows = [
        [
            index,
            int(text_map.neighbours.ids[index, 0]),
            round(100 * float(text_map.neighbours.scores[index, 0]), 4),
            round(100 * float(text_map.neighbours_kept[index]), 4),
            n_tokens[index],
        ]
        for index in range(min(len(labels), MAX_ROWS))
    ]
    part = f"the first {len(rows):,} of " if len(rows) < len(labels) else ""
    return TableView(
        columns=_COLUMNS,
        rows=rows,
        caption=f"Texts of the map: {part}{len(labels):,}",
        texts=[numbered_texts(labels, texts, doubts_of_points(result))],
        pick="point",
    )


def hit_table(labels: Sequence[str], texts: Sequence[str], hits: Mapping[int, float]) -> TableView:
    """The texts that a search found, the best first, with their scores."""
    return TableView(
        columns=[
            {"title": "Passage", "hint": "Nearest to what was searched", "kind": "text", "texts": 0},
            {"title": "Rank", "hint": "As the map has it", "kind": "whole"},
            {"title": "Score", "hint": "Cosine \N{MULTIPLICATION SIGN} 100 with the query", "kind": "number"},
        ],
        rows=[[index, index + 1, round(score, 4)] for index, score in enumerate(hits.values())],
        caption=f"The {len(hits)} passages nearest to the query",
        texts=[numbered_texts([labels[row] for row in hits], [texts[row] for row in hits])],
        order="given",
        pick="point",
    )


def chosen_table(labels: Sequence[str], texts: Sequence[str], chosen: Sequence[object]) -> TableView:
    """The texts in a loop.

    Args:
        labels: Of all texts.
        texts: All texts.
        chosen: Labels of those in the loop, from a browser; unknown ones are left out.
    """
    names = {label for label in chosen if isinstance(label, str)}
    members = [row for row, label in enumerate(labels) if label in names]
    listed = members[:MAX_ROWS]
    return TableView(
        columns=[{"title": f"{len(members):,} in the loop", "hint": "Sort as on the page", "kind": "text", "texts": 0}],
        rows=[[index] for index in range(len(listed))],
        caption=f"Texts in the loop: {len(members):,}",
        texts=[numbered_texts([labels[row] for row in listed], [texts[row] for row in listed])],
        pick="point",
    )
