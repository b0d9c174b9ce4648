"""The table beside the map."""

from __future__ import annotations

from collections.abc import Collection

from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.map.placing import TextMap
from e5studio.studio.widgets.table_data import MAX_ROWS, Table, numbered_texts


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
