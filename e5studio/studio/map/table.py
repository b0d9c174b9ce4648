"""The table beside the map."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

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


def map_table(result: ScoreResult, text_map: TextMap, members: Collection[str] | None = None) -> TableView:
    """The texts of a map, each with its true nearest neighbour and what the map keeps of its neighbourhood.

    Args:
        result: Whose texts they are.
        text_map: Where they lie.
        members: Labels of the texts to list; all if None.
    """
    labels, texts = result.points
    n_tokens = [int(n) for report in result.reports for n in report.n_tokens]
    chosen = [index for index, label in enumerate(labels) if members is None or label in members]
    listed = chosen[:MAX_ROWS]
    rows = [
        [
            index,
            int(text_map.neighbours.ids[index, 0]),
            round(100 * float(text_map.neighbours.scores[index, 0]), 4),
            round(100 * float(text_map.neighbours_kept[index]), 4),
            n_tokens[index],
        ]
        for index in listed
    ]
    part = f"the first {len(listed):,} of " if len(listed) < len(chosen) else ""
    return TableView(
        columns=_COLUMNS,
        rows=rows,
        caption=f"Texts of the map: {part}{len(chosen):,}",
        texts=[numbered_texts(labels, texts)],
        pick="point",
    )
