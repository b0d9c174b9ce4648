"""Sentences of the Map tab."""

from __future__ import annotations

from collections.abc import Sequence

from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.formatting import shown
from e5studio.studio.widgets.nodes import Node


def point(result: ScoreResult, label: str, neighbours: Sequence[tuple[str, str, float]] = ()) -> list[Node]:
    """One text of the map in full, and the texts nearest to it in truth."""
    labels, texts = result.points
    if label not in labels:
        return []
    index = labels.index(label)
    nodes: list[Node] = [["dl", "e5-pair", ["dt", "", label], ["dd", "", shown(texts[index])]]]
    if not neighbours:
        return nodes
    entries: list[Node] = []
    for name, text, score in neighbours:
        number = f"{score:.1f}".replace("-", "\N{MINUS SIGN}")
        entries += [["dt", "", f"{name} {number}"], ["dd", "", shown(text, 200)]]
    title = "Nearest in all dimensions, with cosine \N{MULTIPLICATION SIGN} 100, joined by lines"
    return [*nodes, ["h3", "", title], ["dl", "e5-pair e5-near", *entries]]
